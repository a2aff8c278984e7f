r"""Kaldi archives of vectors: embeddings and scores on disk, in float32.

kaldiio reads the vectors. It only gets open files, never references: it would run a reference that ends in
``|`` as a shell command, and unpickle an entry that starts with ``PKL``. Vectors are written here, because it
writes them one by one, which takes minutes for millions.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from kaldiio.matio import read_matrix_or_vector
from numpy.typing import NDArray

from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError, reason_of
from lid_toolkit.files import write_whole

ROWS_AT_ONCE = 1 << 12
VECTOR_MARKS = (b"\0BFV ", b"\0BDV ")
"""How an entry starts that contains a vector, of float32 or float64."""


Keys = Sequence[str]
"""Keys without white space, unique and in byte order over all blocks of a table."""


def write_vectors(
    ark: str | Path, scp: str | Path, blocks: Iterable[tuple[Keys, NDArray[np.floating]]]
) -> None:
    """Write blocks of vectors; see :func:`vector_writer`."""
    with vector_writer(ark, scp) as write:
        for keys, matrix in blocks:
            write(keys, matrix)


@contextlib.contextmanager
def vector_writer(ark: str | Path, scp: str | Path) -> Iterator[Callable[[Keys, NDArray[np.floating]], None]]:
    """Write vectors to ``ark``, many at a time, and their offsets to ``scp``. Both files appear whole.

    Args:
        ark: the archive; its name is written to ``scp`` as given, so a relative path stays relative.
        scp: the table ``key ark:offset``.

    Yields:
        A function of keys and a (keys, D) matrix with their vectors, which are stored as float32.

    Raises:
        LidError: a key is not after the one before it.
    """
    last, end = b"", 0
    with write_whole(ark, "wb") as stream, write_whole(scp) as table:

        def write(keys: Keys, matrix: NDArray[np.floating]) -> None:
            nonlocal last, end
            names = [key.encode() for key in keys]
            for before, name in zip([last, *names], names, strict=False):
                if name <= before:
                    raise LidError(f"key '{name.decode()}' is not after '{before.decode()}'", where=scp)
            size, data = 4 * matrix.shape[1], np.ascontiguousarray(matrix, dtype="<f4").tobytes()
            head = b" " + VECTOR_MARKS[0] + struct.pack("<bi", 4, matrix.shape[1])
            for row, name in enumerate(names):
                stream.write(b"".join((name, head, data[row * size : (row + 1) * size])))
            sizes = np.fromiter(map(len, names), np.int64, len(names))
            ends = end + np.cumsum(sizes + len(head) + size)
            offsets = ends - size - len(head) + 1
            table.writelines(
                f"{key} {ark}:{offset}\n" for key, offset in zip(keys, offsets.tolist(), strict=True)
            )
            if names:
                last, end = names[-1], int(ends[-1])

        yield write


def read_vector(ref: str) -> NDArray[np.float32]:
    """Read the (D,) vector at ``ark:offset``; LidError if there is none."""
    path, offset = _split(ref)
    with _open(path, ref) as stream:
        return _read_at(stream, offset, ref)


def read_vectors(scp: str | Path) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Read all vectors of a table: its keys in order, and a (rows, D) float32 matrix.

    Raises:
        LidError: a missing or damaged entry, or vectors of different lengths.
    """
    table = read_table(scp)
    found = read_alike(table)
    if found is not None:
        return tuple(table.keys()), found
    matrix = np.empty((0, 0), dtype=np.float32)
    for row, vector in enumerate(vectors_at(table.values())):
        if row == 0:
            matrix = np.empty((len(table), len(vector)), dtype=np.float32)
        if len(vector) != matrix.shape[1]:
            what = f"{len(vector)} values where others have {matrix.shape[1]}"
            raise LidError(what, where=table.value(row))
        matrix[row] = vector
    return tuple(table.keys()), matrix


def read_alike(table: Table) -> NDArray[np.float32] | None:
    """Return the vectors of a table as a (rows, D) matrix if all are alike and in one archive; else None.

    Alike are float32 vectors of the same length, as :func:`vector_writer` writes. Reading them together takes
    a tenth of the time.
    """
    paths, offsets = set(), np.empty(len(table), dtype=np.int64)
    for row, ref in enumerate(table.values()):
        path, _, offset = ref.rpartition(":")
        paths.add(path)
        if len(paths) > 1 or not offset.isdecimal():
            return None
        offsets[row] = int(offset)
    try:
        archive = np.memmap(paths.pop(), np.uint8, mode="r")
    except (KeyError, OSError, ValueError):  # no rows, no file, an empty file
        return None
    marks = len(VECTOR_MARKS[0]) + struct.calcsize("<bi")
    if offsets.max() + marks > len(archive):
        return None
    head = archive[offsets[0] : offsets[0] + marks].tobytes()
    if not head.startswith(VECTOR_MARKS[0] + b"\4"):
        return None
    (length,) = struct.unpack("<i", head[-4:])
    if length < 0 or offsets.max() + marks + 4 * length > len(archive):
        return None
    matrix = np.empty((len(table), length), dtype="<f4")
    entry = np.arange(marks + 4 * length)
    for first in range(0, len(table), ROWS_AT_ONCE):
        entries = archive[offsets[first : first + ROWS_AT_ONCE, None] + entry]
        if (entries[:, :marks] != np.frombuffer(head, np.uint8)).any():
            return None
        matrix[first : first + ROWS_AT_ONCE] = np.ascontiguousarray(entries[:, marks:]).view("<f4")
    return matrix.astype(np.float32, copy=False)


def vectors_at(refs: Iterable[str]) -> Iterator[NDArray[np.float32]]:
    """Yield the (D,) vector at each ``ark:offset``.

    Raises:
        LidError: a missing or damaged entry.
    """
    opened = None
    with contextlib.ExitStack() as stack:
        for ref in refs:
            path, offset = _split(ref)
            if path != opened:
                stack.close()
                stream, opened = stack.enter_context(_open(path, ref)), path
            yield _read_at(stream, offset, ref)


def _split(ref: str) -> tuple[str, int]:
    path, colon, offset = ref.rpartition(":")
    if not colon or not offset.isdecimal():
        raise LidError("not of the form ark:offset", where=ref)
    return path, int(offset)


def _open(path: str, ref: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise LidError(reason_of(error), where=ref) from None


def _read_at(stream: IO[bytes], offset: int, ref: str) -> NDArray[np.float32]:
    stream.seek(offset)
    if stream.read(len(VECTOR_MARKS[0])) in VECTOR_MARKS:
        stream.seek(offset)
        with contextlib.suppress(struct.error, AssertionError, ValueError):
            vector, size = read_matrix_or_vector(stream, return_size=True)
            if stream.tell() == offset + size:  # kaldiio returns fewer values where the file is too short
                values: NDArray[np.float32] = vector.astype(np.float32)
                return values
    raise LidError("no complete Kaldi vector at this offset", where=ref, mend="write the archive again")
