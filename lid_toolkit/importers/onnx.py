"""Read an ONNX model that maps waveforms to scores of languages, with a file of labels."""

from __future__ import annotations

from pathlib import Path

import torch

from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import UNKNOWN, Imported, answering
from lid_toolkit.importers.labels import map_labels
from lid_toolkit.untrusted import LABELS, Untrusted

DEFAULT_RATE = 16000
LARGEST_LABELS = 2 * 2**20
"""Bytes of the file of labels; 8,000 names of 100 characters take less."""


def read_onnx(source: Path, labels: Path | None = None, rate: int | None = None) -> Imported:
    """Read an ONNX model from waveforms to logits or log posteriors.

    Its first input is the waveform, (samples,), (B, samples) or (B, 1, samples), float32. A second input, if
    there is one, is the number of valid samples of each, (B,), int64. The first output is (B, languages).

    Args:
        source: the file.
        labels: the file with the labels, one a line, in index order; None for ``labels.txt`` beside it.
        rate: samples per second; None for 16000.

    Raises:
        LidError: damaged, it refers to other files, the labels are missing, or onnxruntime cannot load it.
    """
    mapped = map_labels(listed_labels(source, labels))
    if len(mapped.labels) < 2:
        where = source.with_name(LABELS) if labels is None else labels
        raise LidError("fewer than two labels", where=where, mend="write one label a line")
    with Untrusted(source).onnx(source.name) as path:
        content = path.read_bytes()
    conf = {"graph_bytes": len(content), "outputs": len(mapped.labels), "sample_rate": rate or DEFAULT_RATE}
    weights = {
        "frontend.graph_n": torch.frombuffer(bytearray(content), dtype=torch.uint8),
        "loss.weight": torch.eye(len(mapped.labels)),  # the log posteriors themselves
    }
    description = {**answering("onnx_scores", conf, bias=False), "licence": UNKNOWN}
    return Imported(description, weights, mapped.labels, rate or DEFAULT_RATE, mapped.kept)


def listed_labels(source: Path, labels: Path | None) -> list[str]:
    """Return the lines of the file of labels: of the one that is given, else of that beside the model.

    Raises:
        LidError: there is none, or it is not a text of a plausible size.
    """
    beside = source.with_name(LABELS) if labels is None else labels.resolve()
    if not beside.exists():
        mend = f"write the labels in index order, one a line, to {LABELS} beside it, or give --labels"
        raise LidError("its labels are missing", where=source, mend=mend)
    holder = Untrusted(source if labels is None else beside.parent)
    return [line.strip() for line in holder.text(beside.name, LARGEST_LABELS).splitlines() if line.strip()]
