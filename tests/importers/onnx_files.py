"""Tiny ONNX models, written field by field, so that no package is needed and every field can be wrong.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lid_toolkit.package.onnx_format import OnnxRecord

FLOAT, INT64 = 1, 7


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: np.ndarray) -> bytes:
    kind = FLOAT if array.dtype == np.float32 else INT64
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, kind) + field(8, name) + field(9, array.tobytes())


def external_tensor(name: str, place: str) -> bytes:
    """Return a tensor of two numbers whose content is in another file."""
    entry = field(1, "location") + field(2, place)
    return field(1, 2) + field(2, FLOAT) + field(8, name) + field(13, entry) + field(14, 1)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], *attributes: bytes) -> bytes:
    parts = [field(1, name) for name in inputs] + [field(2, name) for name in outputs]
    return b"".join([*parts, field(4, kind), *(field(5, attribute) for attribute in attributes)])


def integers(name: str, values: Sequence[int]) -> bytes:
    return field(1, name) + field(20, 7) + b"".join(field(8, value) for value in values)


def value_info(name: str, kind: int, dims: Sequence[int | str]) -> bytes:
    shape = b"".join(field(1, field(1, dim) if isinstance(dim, int) else field(2, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def model(
    nodes: Sequence[bytes], tensors: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> bytes:
    graph = [field(1, each) for each in nodes] + [field(2, "g")] + [field(5, each) for each in tensors]
    graph += [field(11, each) for each in inputs] + [field(12, each) for each in outputs]
    return field(1, 8) + field(7, b"".join(graph)) + field(8, field(1, "") + field(2, 13))


def moments_model(languages: int, with_lengths: bool = False) -> bytes:
    """Return a model: logits w m + v, where m is the mean of |x| over an utterance, w and v are known.

    With lengths, m is the sum of |x| divided by the length; padding must be zero.
    """
    slope = np.linspace(-40, 40, languages, dtype=np.float32)[None]
    offset = np.cos(np.arange(languages, dtype=np.float32))[None]
    tensors = [tensor("w", slope), tensor("v", offset)]
    nodes = [node("Abs", ["x"], ["a"])]
    inputs = [value_info("x", FLOAT, ["B", "T"])]
    if with_lengths:
        inputs.append(value_info("n", INT64, ["B"]))
        tensors += [tensor("axis", np.array([1], dtype=np.int64))]
        nodes += [
            node("ReduceSum", ["a", "axis"], ["s"]),
            node("Cast", ["n"], ["f"], field(1, "to") + field(20, 2) + field(3, FLOAT)),
            node("Unsqueeze", ["f", "axis"], ["f1"]),
            node("Div", ["s", "f1"], ["m"]),
        ]
    else:
        nodes.append(node("ReduceMean", ["a"], ["m"], integers("axes", [1])))
    nodes += [node("Mul", ["m", "w"], ["p"]), node("Add", ["p", "v"], ["y"])]
    return model(nodes, tensors, inputs, [value_info("y", FLOAT, ["B", languages])])


def bomb() -> bytes:
    """Return a model that makes 2^32 zeros, 16 GiB."""
    tensors = [tensor("size", np.array([2**32], dtype=np.int64))]
    nodes = [
        node("ConstantOfShape", ["size"], ["z"]),
        node("ReduceSum", ["z"], ["s"]),
        node("ReduceMean", ["x"], ["m"], integers("axes", [1])),
        node("Add", ["m", "s"], ["y"]),
    ]
    return model(nodes, tensors, [value_info("x", FLOAT, ["B", "T"])], [value_info("y", FLOAT, ["B", 1])])


def exported_model(record: OnnxRecord) -> bytes:
    """Return a file as ``lid export`` writes it: the moments of :func:`moments_model`, and one embedding."""
    languages = len(record.languages)
    tensors = [
        tensor("w", np.linspace(-40, 40, languages, dtype=np.float32)[None]),
        tensor("v", np.cos(np.arange(languages, dtype=np.float32))[None]),
        tensor("axis", np.array([1], dtype=np.int64)),
        tensor("zero", np.zeros((1, record.embedding_size), np.float32)),
        tensor("unit", np.full((1, record.embedding_size), record.embedding_size**-0.5, np.float32)),
    ]
    nodes = [
        node("Abs", ["waveforms"], ["a"]),
        node("ReduceSum", ["a", "axis"], ["s"]),
        node("Cast", ["lengths"], ["f"], field(1, "to") + field(20, 2) + field(3, FLOAT)),
        node("Unsqueeze", ["f", "axis"], ["f1"]),
        node("Div", ["s", "f1"], ["m"]),
        node("Mul", ["m", "w"], ["p"]),
        node("Add", ["p", "v"], ["y"]),
        node("LogSoftmax", ["y"], ["log_posteriors"], field(1, "axis") + field(20, 2) + field(3, 1)),
        node("Mul", ["m", "zero"], ["z"]),
        node("Add", ["z", "unit"], ["embeddings"]),
    ]
    return with_metadata(exported_graph(nodes, tensors, record), record.to_metadata())


def exported_graph(nodes: Sequence[bytes], tensors: Sequence[bytes], record: OnnxRecord) -> bytes:
    """Return a model with the inputs and outputs of an exported one."""
    inputs = [value_info("waveforms", FLOAT, ["B", "T"]), value_info("lengths", INT64, ["B"])]
    outputs = [
        value_info("log_posteriors", FLOAT, ["B", len(record.languages)]),
        value_info("embeddings", FLOAT, ["B", record.embedding_size]),
    ]
    return model(nodes, tensors, inputs, outputs)


def with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return a model with metadata."""
    return content + b"".join(field(14, field(1, key) + field(2, text)) for key, text in metadata.items())


def moments_scores(wave: np.ndarray, languages: int) -> np.ndarray:
    """Return the log posteriors of :func:`moments_model`."""
    logits = np.linspace(-40, 40, languages) * np.abs(wave).mean() + np.cos(np.arange(languages))
    return logits - np.log(np.exp(logits).sum())


def write(folder: Path, content: bytes, labels: Sequence[str] = ("en", "fr", "jw")) -> Path:
    """Write a model and its labels; return the model."""
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    path = folder / "x.onnx"
    path.write_bytes(content)
    return path
