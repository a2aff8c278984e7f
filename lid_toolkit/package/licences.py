"""Pretrained encoders that front ends begin with, and their licences, which models made of them inherit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any

# By name on the Hugging Face Hub, the first that fits; identifiers are the Hub's. Sources: the metadata of
# the encoders' model cards; WavLM's card has none and points to the licence of microsoft/UniSpeech.
LICENCES: Mapping[str, str] = {
    "facebook/mms-*": "cc-by-nc-4.0",
    "facebook/wav2vec2-*voxpopuli*": "cc-by-nc-4.0",
    "facebook/wav2vec2-*": "apache-2.0",
    "facebook/hubert-*": "apache-2.0",
    "facebook/w2v-bert-2.0": "mit",
    "microsoft/wavlm-*": "cc-by-sa-3.0",
    "openai/whisper-large-v3-turbo": "mit",
    "openai/whisper-*": "apache-2.0",
    "utter-project/mHuBERT-147*": "cc-by-nc-sa-4.0",
}
UNKNOWN = "other"
OWN_DEFAULT = "apache-2.0"


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder.

    Attributes:
        name: on the Hub, or a folder's.
        revision: commit on the Hub; None for a folder.
        licence: the Hub's identifier, ``other`` where it is not known here.
    """

    name: str
    revision: str | None
    licence: str


def encoders(description: Mapping[str, Any]) -> list[Encoder]:
    """Return the encoders that the front ends of a model's description began with."""
    conf = description.get("frontend_conf") or {}
    found = set()
    for part in [conf, *conf.get("frontends", [])]:
        source = part.get("path_or_url") or (part.get("frontend_conf") or {}).get("path_or_url")
        if source:
            revision = (part.get("architecture") or {}).get("revision")
            name = PurePath(source).name if source.startswith(("/", "~", ".")) else source
            found.add(Encoder(name, revision, licence_of(source)))
    return sorted(found, key=lambda encoder: encoder.name)


def licence_of(name: str) -> str:
    """Return the licence of an encoder by its name on the Hub."""
    return next((licence for names, licence in LICENCES.items() if fnmatchcase(name, names)), UNKNOWN)


def model_licence(origin: Iterable[Encoder]) -> str:
    """Return the licence that a model gets by default: its encoder's, ``other`` if it has several kinds."""
    found = {encoder.licence for encoder in origin}
    if not found:
        return OWN_DEFAULT
    return found.pop() if len(found) == 1 else UNKNOWN
