"""Licences of the pretrained encoders that front ends begin with, which models with their weights inherit."""

from __future__ import annotations

from collections.abc import Mapping

# By the beginning of the name on the Hugging Face Hub; identifiers are the Hub's. Sources: the
# encoders' model cards, and for Whisper https://github.com/openai/whisper (README, "License").
UPSTREAM_LICENCES: Mapping[str, str] = {
    "facebook/mms-": "cc-by-nc-4.0",
    "facebook/wav2vec2-": "apache-2.0",
    "facebook/hubert-": "apache-2.0",
    "facebook/w2v-bert-2.0": "mit",
    "openai/whisper-": "mit",
}
UNKNOWN = "other"
OWN_DEFAULT = "apache-2.0"


def upstream_licence(name: str) -> str:
    """Return the licence of an encoder by its name, or ``other`` where it is not known here."""
    return next((licence for start, licence in UPSTREAM_LICENCES.items() if name.startswith(start)), UNKNOWN)


def model_licence(upstream: Mapping[str, str]) -> str:
    """Return the licence a model gets by default: its encoder's, ``other`` if it has several kinds."""
    found = set(upstream.values())
    if not found:
        return OWN_DEFAULT
    return found.pop() if len(found) == 1 else UNKNOWN
