"""The pretrained encoders that a model was trained from, and their licences, which the model inherits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any

# Licence by the encoder's name on the Hugging Face Hub; the first pattern that matches counts. The
# identifiers are the Hub's, from the metadata of the encoders' model cards. WavLM's card has no such
# metadata; it points to the licence of microsoft/UniSpeech.
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
OPENAI = "openai/whisper-"
WHISPER = (
    "OpenAI publishes the weights of Whisper in its repository github.com/openai/whisper under MIT. The "
    "cards of openai/whisper-* on the Hugging Face Hub say apache-2.0; that of openai/whisper-large-v3-turbo "
    "says mit."
)
"""Two licences are stated for Whisper; the table has what the cards say."""
UNKNOWN = "other"
OWN_DEFAULT = "apache-2.0"
STATED = re.compile(r"[a-z0-9][a-z0-9.-]{1,60}")
"""An identifier of a licence on the Hub."""


@dataclass(frozen=True)
class PretrainedEncoder:
    """A pretrained encoder.

    Attributes:
        name: its name on the Hub, or the name of a folder.
        revision: commit on the Hub; None for a folder.
        licence: the Hub's identifier of its licence, ``other`` if unknown.
    """

    name: str
    revision: str | None
    licence: str


def encoders(description: Mapping[str, Any]) -> list[PretrainedEncoder]:
    """Return the pretrained encoders that the front ends in a model's description were loaded from."""
    from lid_toolkit.models.frontends.pretrained.s3prl_names import checkpoint_name  # imports torch

    conf = description.get("frontend_conf") or {}
    found = set()
    for part in [conf, *conf.get("frontends", [])]:
        upstream = part.get("frontend_conf") or {}
        source = part.get("path_or_url") or (checkpoint_name(upstream) if upstream else None)
        if source:
            revision = (part.get("architecture") or {}).get("revision")
            name = PurePath(source).name if source.startswith(("/", "~", ".")) else source
            found.add(PretrainedEncoder(name, revision, licence_of(source)))
    return sorted(found, key=lambda encoder: encoder.name)


def licence_of(name: str) -> str:
    """Return the licence of the encoder with this name on the Hub; ``other`` if unknown."""
    return next((licence for names, licence in LICENCES.items() if fnmatchcase(name, names)), UNKNOWN)


def model_licence(description: Mapping[str, Any]) -> str:
    """Return the default licence of a model.

    It is the one that an imported model states; else that of its encoders, or ``other`` if their licences
    differ; else that of this toolkit.
    """
    stated = description.get("licence")
    if isinstance(stated, str) and STATED.fullmatch(stated):
        return stated
    found = {encoder.licence for encoder in encoders(description)}
    if not found:
        return OWN_DEFAULT
    return found.pop() if len(found) == 1 else UNKNOWN
