r"""Kaldi archives of vectors: embeddings and scores on disk, in float32.

kaldiio reads the vectors. It only gets open files, never references: it would run a reference that ends in
``|`` as a shell command, and unpickle an entry that starts with ``PKL``. Vectors are written here, because it
writes them one by one, which takes minutes for millions.
"""

from __future__ import annotations

import contextlib
import itertools
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
LARGEST_SPAN = 1 << 26
"""Most bytes to read at once: vectors that are farther apart are read one by one."""
LONGEST_OFFSET = 18
"""Most digits of an offset."""


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
    matrix = np.empty((0, 0), dtype=np.float32)
    first = 0
    for block in vector_blocks(table):
        if first == 0:
            matrix = np.empty((len(table), block.shape[1]), dtype=np.float32)
        matrix[first : first + len(block)] = block
        first += len(block)
    return tuple(table.keys()), matrix


def vector_blocks(table: Table) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of a table in its order, as (rows, D) matrices with up to ``ROWS_AT_ONCE`` rows.

    Raises:
        LidError: a missing or damaged entry, or vectors of different lengths.
    """
    refs, width = table.values(), None
    while block := list(itertools.islice(refs, ROWS_AT_ONCE)):
        matrix = read_alike(block)
        if matrix is None or (width is not None and matrix.shape[1] != width):
            matrix = _read_each(block, width)
        width = matrix.shape[1]
        yield matrix


def read_alike(refs: Sequence[str]) -> NDArray[np.float32] | None:
    """Return vectors at ``ark:offset`` as a (rows, D) matrix if all are alike and in one archive; else None.

    Alike are float32 vectors of the same length, as :func:`vector_writer` writes, within ``LARGEST_SPAN``.
    Reading them together takes a tenth of the time.
    """
    paths, offsets = set(), np.empty(len(refs), dtype=np.int64)
    for row, ref in enumerate(refs):
        path, _, offset = ref.rpartition(":")
        paths.add(path)
        if len(paths) > 1 or not offset.isdecimal() or len(offset) > LONGEST_OFFSET:
            return None
        offsets[row] = int(offset)
    marks = len(VECTOR_MARKS[0]) + struct.calcsize("<bi")
    begin = int(offsets.min())
    try:
        with open(paths.pop(), "rb") as stream:  # a memory map would count as memory in use
            stream.seek(int(offsets[0]))
            head = stream.read(marks)
            length = struct.unpack("<i", head[-4:])[0] if len(head) == marks else -1
            if not head.startswith(VECTOR_MARKS[0] + b"\4") or length < 0:
                return None
            size = marks + 4 * length
            span = int(offsets.max()) + size - begin
            if span > LARGEST_SPAN:
                return None
            stream.seek(begin)
            content = np.frombuffer(stream.read(span), np.uint8)
    except (OSError, ValueError):
        return None
    if len(content) < span:
        return None
    entries = content[(offsets - begin)[:, None] + np.arange(size)]
    if (entries[:, :marks] != np.frombuffer(head, np.uint8)).any():
        return None
    return np.ascontiguousarray(entries[:, marks:]).view("<f4").astype(np.float32, copy=False)


def _read_each(refs: Sequence[str], width: int | None) -> NDArray[np.float32]:
    """Return the vectors at ``ark:offset``, one by one; ``width`` is the length they must have, if known."""
    vectors = []
    for ref, vector in zip(refs, vectors_at(refs), strict=True):
        width = len(vector) if width is None else width
        if len(vector) != width:
            raise LidError(f"{len(vector)} values where others have {width}", where=ref)
        vectors.append(vector)
    return np.stack(vectors)


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
    if not colon or not offset.isdecimal() or len(offset) > LONGEST_OFFSET:
        raise LidError("not of the form ark:offset", where=ref)
    return path, int(offset)


def _open(path: str, ref: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise LidError(reason_of(error), where=ref) from None


def _read_at(stream: IO[bytes], offset: int, ref: str) -> NDArray[np.float32]:
    with contextlib.suppress(OSError, struct.error, AssertionError, ValueError):
        stream.seek(offset)
        if stream.read(len(VECTOR_MARKS[0])) in VECTOR_MARKS:
            stream.seek(offset)
            vector, size = read_matrix_or_vector(stream, return_size=True)
            if stream.tell() == offset + size:  # kaldiio returns fewer values where the file is too short
                values: NDArray[np.float32] = vector.astype(np.float32)
                return values
    raise LidError("no complete Kaldi vector at this offset", where=ref, mend="write the archive again")
