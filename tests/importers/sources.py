"""A tiny model of each kind that is imported, all for the same languages, and recordings in them."""

from __future__ import annotations

import shutil
from pathlib import Path

from data.corpus import write_set
from importers.onnx_files import moments_model, write
from importers.test_transformers_models import write_classifier
from importers.test_whisper import write_whisper

from lid_toolkit.datadir.tables.table import read_table, write_table

SPEECHBRAIN = Path(__file__).resolve().parents[1] / "fixtures" / "speechbrain"
SPOKEN = {"low": "ces", "middle": "eng", "high": "spa"}
"""The languages of the recordings; SpeechBrain's model and Whisper know others too."""
KINDS = ("transformers", "whisper", "speechbrain", "onnx")


def write_source(kind: str, folder: Path) -> Path:
    """Write a model of a kind below a folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = list(SPOKEN.values())
    if kind == "onnx":
        return write(folder, moments_model(len(labels)), labels)
    if kind == "transformers":
        write_classifier(folder / kind, "xlsr", id2label=dict(enumerate(labels)), label2id={})
    elif kind == "whisper":
        write_whisper(folder / kind)
    else:
        shutil.copytree(SPEECHBRAIN, folder / kind)
    return folder / kind


def write_spoken(directory: Path, utterances: int) -> Path:
    """Write a formatted set of beeps that are labelled with the languages of the models."""
    write_set(directory, utterances)
    rows = [(key, SPOKEN[label]) for key, label in read_table(directory / "utt2lang")]
    write_table(directory / "utt2lang", rows)
    return directory
