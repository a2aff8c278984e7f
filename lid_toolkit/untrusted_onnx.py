"""ONNX files of a stranger: checked field by field, then opened and computed with limited memory.

:meth:`lid_toolkit.untrusted.Untrusted.onnx` checks a file. An ONNX file is a message of Protocol Buffers
(https://protobuf.dev/programming-guides/encoding); numbers of fields are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lid_toolkit.errors import LidError

SUFFIX = ".onnx"
LARGEST_ONNX = 2**31
"""Bytes of an ONNX file; larger ones keep their weights in other files."""
LARGEST_ARENA = 8 * 2**30
"""Bytes that onnxruntime may allocate: a model may name sizes that are nonsense."""
DEEPEST = 30
MOST_FIELDS = 5_000_000
LONGEST_REASON = 160
"""Characters of an error of onnxruntime; the last ones say the most."""
CPU = "CPUExecutionProvider"
# Fields of the messages in onnx.proto that lead to tensors: message, number of the field, message inside.
INSIDE = {
    ("model", 7): "graph",
    ("model", 20): "training",
    ("model", 25): "function",
    ("training", 1): "graph",
    ("training", 2): "graph",
    ("function", 7): "node",
    ("function", 11): "attribute",
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
METADATA = 14
"""Field of a model: pairs of a key and a text."""
OTHER_FORMAT = b"ORTM"
"""What bytes 4 to 8 of onnxruntime's own format are; it is not checked here, so it is not opened."""
DAMAGED = "download it again"
DO_NOT_USE = "do not use this file"


def check_file(path: Path, where: object) -> None:
    """Raise LidError as :func:`check`; the file is not read into memory."""
    check(_mapped(path), where)


def metadata_of(path: Path, where: object) -> dict[str, str]:
    """Return the metadata of a file, texts by their keys.

    Raises:
        LidError: it is not an ONNX model, a key is there twice, or a text is not UTF-8.
    """
    found: dict[str, str] = {}
    try:
        entries = [value for number, value in fields(_mapped(path)) if number == METADATA]
        for entry in entries:
            parts = dict(fields(entry)) if isinstance(entry, memoryview) else {}
            key, text = (_text(parts.get(number)) for number in (1, 2))
            if key in found:
                raise ValueError(f"{key!r:.40} is there twice")
            found[key] = text
    except ValueError as error:
        raise LidError(f"its metadata are damaged: {error}", where=where, mend=DAMAGED) from error
    return found


def _mapped(path: Path) -> memoryview:
    """Return the content of a file, which is read when it is looked at."""
    if not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def check(content: memoryview, where: object) -> None:
    """Raise LidError if the content is no ONNX model, or one that refers to other files."""
    left = MOST_FIELDS
    waiting = [("model", content, 0)]
    graphs = 0
    if bytes(content[4:8]) == OTHER_FORMAT:
        raise LidError("not an ONNX model, but one of onnxruntime's own format", where=where, mend=DO_NOT_USE)
    while waiting:
        message, part, depth = waiting.pop()
        if depth > DEEPEST:
            raise LidError(f"more than {DEEPEST} levels", where=where, mend=DO_NOT_USE)
        try:
            for number, value in fields(part):
                left -= 1
                if left < 0:
                    raise LidError("too many parts", where=where, mend=DO_NOT_USE)
                if message == "tensor" and (
                    number == EXTERNAL_DATA or (number == DATA_LOCATION and value == 1)
                ):
                    what = "its weights are in another file, which is not read"
                    raise LidError(what, where=where, mend="save the model as one file")
                inside = INSIDE.get((message, number))
                if inside is not None and isinstance(value, memoryview):
                    graphs += (message, inside) == ("model", "graph")
                    waiting.append((inside, value, depth + 1))
        except ValueError as error:
            raise LidError(f"not an ONNX model: {error}", where=where, mend=DAMAGED) from error
    if graphs != 1:
        raise LidError("not an ONNX model: it has no graph", where=where, mend=DAMAGED)


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message of Protocol Buffers.

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


def open_session(
    model: Path | bytes,
    where: object,
    threads: int | None = None,
    providers: Sequence[Any] = (CPU,),
    mend: str = DAMAGED,
) -> Any:
    """Return onnxruntime's session of a checked model; its memory on the CPU is limited.

    Args:
        model: the file, or its content.
        where: the model in error messages.
        threads: number of threads; None for one for each core.
        providers: what computes, in onnxruntime's names.
        mend: how to mend a model that cannot be loaded.

    Raises:
        LidError: onnxruntime is not installed, or cannot load the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        mend = "pip install 'lid_toolkit[onnx]'"
        raise LidError("onnxruntime is not installed", where=where, mend=mend) from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # what fails is raised too
    # Threads that spin while they wait take the cores from everything else.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.use_env_allocators", "1")
    if threads is not None:
        settings.intra_op_num_threads = threads
    _limit_memory(onnxruntime)
    content = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(content, settings, providers=list(providers))
    except Exception as error:  # its exceptions have no common class but this
        what = f"onnxruntime cannot load the model: {_reason(error)}"
        raise LidError(what, where=where, mend=mend) from error


def run_session(
    session: Any, outputs: Sequence[str] | None, inputs: Mapping[str, Any], where: object, mend: str
) -> list[Any]:
    """Return the outputs of a model by name; None for all.

    Raises:
        LidError: onnxruntime cannot compute them, for example because they need too much memory.
    """
    try:
        return session.run(outputs, dict(inputs))  # type: ignore[no-any-return]
    except Exception as error:  # its exceptions have no common class but this
        what = f"the ONNX model cannot be computed: {_reason(error)}"
        raise LidError(what, where=where, mend=mend) from error


def _text(value: int | memoryview | None) -> str:
    if isinstance(value, int):
        raise ValueError("a number in place of a text")
    return "" if value is None else str(value, "utf-8")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[-LONGEST_REASON:]


@functools.cache
def _limit_memory(onnxruntime: Any) -> None:
    """Limit what onnxruntime may allocate on the CPU in this process; once, since allocators are shared."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": LARGEST_ARENA}))
