r"""Kaldi archives of float32 vectors: embeddings and scores on disk.

An entry is ``KEY`` and a blank, then the bytes ``\0B``, ``FV `` (``DV `` for float64), ``\4``, the
length as little-endian int32, and the values. A table of ``key ark:offset``, the offset that of
``\0B``, finds them (https://kaldi-asr.org/doc/io.html).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

VECTOR_TYPES: dict[bytes, np.dtype[Any]] = {b"FV ": np.dtype("<f4"), b"DV ": np.dtype("<f8")}
HEAD = struct.Struct("<2s3sbi")


def write_vectors(
    ark: str | Path, scp: str | Path, pairs: Iterable[tuple[str, NDArray[np.floating]]]
) -> None:
    """Write vectors to ``ark`` as they come and, last, their places to ``scp``, each file whole.

    Args:
        ark: the archive; its name goes into ``scp`` as given, so a relative one stays relative.
        scp: the table ``key ark:offset``.
        pairs: keys in any order without repeats, and (D,) vectors, stored as float32.

    Raises:
        LidError: a key that comes twice or holds a blank.
    """
    places: list[tuple[str, str]] = []
    with write_whole(ark, "wb") as stream:
        for key, vector in pairs:
            values = np.ascontiguousarray(vector, dtype="<f4")
            if values.ndim != 1:
                raise ValueError(f"{key}: a vector has one dimension, not shape {values.shape}")
            stream.write(key.encode() + b" ")
            places.append((key, f"{ark}:{stream.tell()}"))
            stream.write(HEAD.pack(b"\0B", b"FV ", 4, len(values)))
            stream.write(values.tobytes())
    write_table(scp, places)


def read_vector(ref: str) -> NDArray[np.float32]:
    """Read the (D,) vector at ``ark:offset``; raises LidError if there is none."""
    path, offset = _split(ref)
    with _open(path, ref) as stream:
        return _read_at(stream, offset, ref)


def read_vectors(scp: str | Path) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Read all vectors of a table: its keys in order, and a (rows, D) float32 matrix.

    Raises:
        LidError: a missing or broken entry, or vectors of different lengths.
    """
    table = read_table(scp)
    matrix = np.empty((0, 0), dtype=np.float32)
    stream: IO[bytes] | None = None
    opened = None
    try:
        for row, ref in enumerate(table.values()):
            path, offset = _split(ref)
            if path != opened or stream is None:
                if stream is not None:
                    stream.close()
                stream, opened = _open(path, ref), path
            vector = _read_at(stream, offset, ref)
            if row == 0:
                matrix = np.empty((len(table), len(vector)), dtype=np.float32)
            if len(vector) != matrix.shape[1]:
                raise LidError(f"{len(vector)} values where others have {matrix.shape[1]}", where=ref)
            matrix[row] = vector
    finally:
        if stream is not None:
            stream.close()
    return tuple(table.keys()), matrix


def _split(ref: str) -> tuple[str, int]:
    path, colon, offset = ref.rpartition(":")
    if not colon or not offset.isdecimal():
        raise LidError("not of the form ark:offset", where=ref)
    return path, int(offset)


def _open(path: str, ref: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise LidError(error.strerror or "cannot be opened", where=ref) from None


def _read_at(stream: IO[bytes], offset: int, ref: str) -> NDArray[np.float32]:
    stream.seek(offset)
    head = stream.read(HEAD.size)
    if len(head) == HEAD.size:
        mark, kind, width, count = HEAD.unpack(head)
        if mark == b"\0B" and kind in VECTOR_TYPES and width == 4 and count >= 0:
            data = stream.read(count * VECTOR_TYPES[kind].itemsize)
            if len(data) == count * VECTOR_TYPES[kind].itemsize:
                vector: NDArray[np.float32] = np.frombuffer(data, dtype=VECTOR_TYPES[kind]).astype(np.float32)
                return vector
    raise LidError("no whole binary Kaldi vector here", where=ref, mend="write the archive again")
