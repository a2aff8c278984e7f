"""Read an ONNX model that maps waveforms to scores of languages, with a file of labels.

The file is checked before onnxruntime opens it: its structure, its size, and that it refers to no other file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import Imported
from lid_toolkit.importers.labels import map_labels
from lid_toolkit.untrusted import Untrusted

SUFFIX = ".onnx"
LABELS = "labels.txt"
DEFAULT_RATE = 16000
LARGEST = 2**31
"""Bytes of an ONNX file; larger ones keep their weights in other files."""
DEEPEST = 30
MOST_FIELDS = 5_000_000
# Fields of the messages in onnx.proto that lead to tensors: message, number of the field, message inside.
INSIDE = {
    ("model", 7): "graph",
    ("model", 25): "function",
    ("function", 7): "node",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("graph", 15): "sparse tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 6): "graph",
    ("attribute", 10): "tensor",
    ("attribute", 11): "graph",
    ("attribute", 22): "sparse tensor",
    ("attribute", 23): "sparse tensor",
    ("sparse tensor", 1): "tensor",
    ("sparse tensor", 2): "tensor",
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of a tensor whose numbers are in another file."""
DAMAGED = "download it again"


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
    beside = (source.parent / LABELS if labels is None else labels).resolve()
    if not beside.is_file():
        mend = f"write the labels in index order, one a line, to {LABELS} beside it, or give --labels"
        raise LidError("its labels are missing", where=source, mend=mend)
    listed = [line.strip() for line in Untrusted(beside.parent).text(beside.name).splitlines()]
    mapped = map_labels([label for label in listed if label])
    if len(mapped.labels) < 2:
        raise LidError("fewer than two labels", where=beside, mend="write one label a line")
    source = source.resolve()
    with Untrusted(source.parent).file(source.name, LARGEST) as path:
        content = path.read_bytes()
    check(content, source)
    description: dict[str, object] = {
        "frontend": "onnx_scores",
        "frontend_conf": {
            "graph_bytes": len(content),
            "outputs": len(mapped.labels),
            "sample_rate": rate or DEFAULT_RATE,
        },
        "specaug": None,
        "normalize": None,
        "encoder": "identity",
        "pooling": "mean",
        "projector": "identity",
        "loss": "linear_softmax",
        "loss_conf": {"bias": False},
        "licence": "other",
    }
    weights = {
        "frontend.graph_n": torch.frombuffer(bytearray(content), dtype=torch.uint8),
        "loss.weight": torch.eye(len(mapped.labels)),  # the log posteriors themselves
    }
    return Imported(description, weights, mapped.labels, rate or DEFAULT_RATE, mapped.kept)


def check(content: bytes, source: Path) -> None:
    """Raise LidError if the content is no ONNX model, or one that refers to other files."""
    view = memoryview(content)
    left = MOST_FIELDS
    waiting = [("model", view, 0)]
    graphs = 0
    while waiting:
        message, part, depth = waiting.pop()
        if depth > DEEPEST:
            raise LidError(f"more than {DEEPEST} levels", where=source, mend="do not use this file")
        try:
            for number, value in fields(part):
                left -= 1
                if left < 0:
                    raise LidError("too many parts", where=source, mend="do not use this file")
                if message == "tensor" and (
                    number == EXTERNAL_DATA or (number == DATA_LOCATION and value == 1)
                ):
                    what = "its weights are in another file, which is not read"
                    raise LidError(what, where=source, mend="save the model as one file")
                inside = INSIDE.get((message, number))
                if inside is not None and isinstance(value, memoryview):
                    graphs += (message, inside) == ("model", "graph")
                    waiting.append((inside, value, depth + 1))
        except ValueError as error:
            raise LidError(f"not an ONNX model: {error}", where=source, mend=DAMAGED) from error
    if graphs != 1:
        raise LidError("not an ONNX model: it has no graph", where=source, mend=DAMAGED)


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message of Protocol Buffers.

    See https://protobuf.dev/programming-guides/encoding.

    Raises:
        ValueError: not such a message.
    """
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            if place >= len(message) or shift > 63:
                raise ValueError("a number is cut off")
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = varint() if kind == 2 else {1: 8, 5: 4}.get(kind)
        if size is None or key >> 3 == 0:
            raise ValueError("a field of an unknown kind")
        if place + size > len(message):
            raise ValueError("a field is cut off")
        yield key >> 3, message[place : place + size]
        place += size
