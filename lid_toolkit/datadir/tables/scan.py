r"""Turn the text of a table into ``key value\n`` rows, and report every line that cannot be a row.

A byte order mark, Windows line ends, tabs and unneeded spaces are corrected; other faulty lines are left
out and reported.

Why in blocks of some megabytes, and not line by line: most tables need no correction at all, and NumPy can
tell so for a whole block in a few passes over its bytes, without a Python object per line. Only a block that
fails this test is split into lines. An example with two blocks:

    "a 1\nb 2\n"      no two separators in a row, none at the start, no tabs: used as it is
    "c  3\r\nd\n"     two spaces and a carriage return: split, and corrected to "c 3\nd\n"

:func:`index` then finds the rows and the first space of each: "a 1\nb 2\nc 3\nd\n" has rows at 0, 4, 8 and
12, and spaces at 1, 5, 9 and -1. The row "d" has a key only, which is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.faults import Faults

BOM = b"\xef\xbb\xbf"
NEWLINE, BLANK = ord("\n"), ord(" ")
BLOCK_BYTES = 1 << 22

_UNTIDY = (b"\t", b"\r", b"\v", b"\f")


@dataclass(frozen=True, eq=False)
class Rows:
    r"""The rows of a text that have a key and a value, in their original order.

    Attributes:
        text: the rows as ``key value\n``.
        starts: (rows + 1,) position of each row in ``text``; the last is the length of ``text``.
        blanks: (rows,) position of the space after each key.
        lines: (rows,) the line number of each row, from 1; None if row i is line i + 1.
        mended: descriptions of what was corrected.
        faults: lines that are not UTF-8, contain a NUL byte, or have no value.
    """

    text: bytes
    starts: NDArray[np.int64]
    blanks: NDArray[np.int64]
    lines: NDArray[np.int64] | None
    mended: tuple[str, ...]
    faults: tuple[Faults, ...]


def lines_of(lines: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the line number of each of these rows; ``lines`` is as in :class:`Rows`."""
    return rows + 1 if lines is None else lines[rows]


def scan_rows(raw: bytes, name: str | Path) -> Rows:
    """Return the rows in the bytes of a table; ``name`` is its name in messages."""
    text = raw.removeprefix(BOM)
    mended = ["a byte order mark"] if len(text) < len(raw) else []
    tidy, lines, broken = _tidied(text)
    starts, blanks = index(tidy)
    faults = _broken_lines(broken, name)
    empty = np.flatnonzero(blanks < 0)
    if len(empty):
        keys = [tidy[starts[row] : starts[row + 1] - 1].decode() for row in empty.tolist()]
        faults.append(
            Faults(
                "empty value",
                name,
                lines_of(lines, empty),
                lambda number: f"key '{keys[number]}' has no value",
                "add one, or remove the line",
            )
        )
        kept = np.flatnonzero(blanks >= 0)
        lines = lines_of(lines, kept)
        tidy = b"".join([tidy[starts[row] : starts[row + 1]] for row in kept.tolist()])
        starts, blanks = index(tidy)
    if not faults and tidy != text and tidy[:-1] != text:
        mended.append("tabs, carriage returns or unneeded spaces")
    return Rows(tidy, starts, blanks, lines, tuple(mended), tuple(faults))


def index(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row starts (rows + 1,) and the first space of each row (rows,), -1 if it has none."""
    array = np.frombuffer(text, dtype=np.uint8)
    all_starts, all_blanks = [np.zeros(1, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for begin, end in _blocks(text):
        block = array[begin:end]
        ends = np.flatnonzero(block == NEWLINE)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])
        spaces = np.append(np.flatnonzero(block == BLANK), end - begin)
        blanks = spaces[np.searchsorted(spaces, starts)] + begin
        blanks[blanks >= ends + begin] = -1
        all_starts.append(ends + begin + 1)
        all_blanks.append(blanks)
    return np.concatenate(all_starts), np.concatenate(all_blanks)


def _tidied(text: bytes) -> tuple[bytes, NDArray[np.int64] | None, list[tuple[int, str]]]:
    r"""Return the rows as ``key value\n`` or ``key\n``, their line numbers, and the faulty lines.

    The line numbers are None if every line is a row.
    """
    pieces: list[bytes] = []
    numbers: list[NDArray[np.int64]] = []
    broken: list[tuple[int, str]] = []
    first, whole = 1, True
    for begin, end in _blocks(text):
        block = text[begin:end]
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        if _is_tidy(block):
            pieces.append(block)
            numbers.append(np.arange(first, first + count))
        else:
            rows, kept, bad = _tidied_lines(block.removesuffix(b"\n").split(b"\n"), first)
            pieces.append(b"".join(rows))
            numbers.append(np.array(kept, dtype=np.int64))
            broken += bad
            whole = False
        first += count
    if whole:
        return text, None, broken
    lines = np.concatenate(numbers)
    return b"".join(pieces), None if len(lines) == first - 1 else lines, broken


def _tidied_lines(lines: list[bytes], first: int) -> tuple[list[bytes], list[int], list[tuple[int, str]]]:
    """Return the corrected rows of lines that start at number ``first``, their numbers, and faulty lines."""
    rows, numbers, broken = [], [], []
    for number, line in enumerate(lines, start=first):
        if fault := _fault_of(line):
            broken.append((number, fault))
            continue
        parts = line.split(None, 1)
        if parts:
            rows.append(
                b" ".join((parts[0], parts[1].rstrip())) + b"\n" if len(parts) == 2 else parts[0] + b"\n"
            )
            numbers.append(number)
    return rows, numbers, broken


def _fault_of(line: bytes) -> str:
    if b"\0" in line:
        return "NUL byte"
    if line.isascii():
        return ""
    try:
        line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return ""


def _is_tidy(block: bytes) -> bool:
    r"""Return whether every line is ``key value\n`` with single spaces, or ``key\n``: nothing to correct."""
    array = np.frombuffer(block, dtype=np.uint8)
    gaps = (array == BLANK) | (array == NEWLINE)
    return (
        block.endswith(b"\n")
        and not gaps[0]
        and not np.any(gaps[1:] & gaps[:-1])
        and not any(mark in block for mark in _UNTIDY)
        and not _fault_of(block)
    )


def _blocks(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of blocks of whole lines, some megabytes each."""
    begin = 0
    while begin < len(text):
        end = text.find(b"\n", begin + BLOCK_BYTES - 1) + 1 or len(text)
        yield begin, end
        begin = end


def _broken_lines(broken: list[tuple[int, str]], name: str | Path) -> list[Faults]:
    groups = []
    for kind, what, mend in (
        ("NUL byte", "contains a NUL byte", "is this a text file?"),
        ("not UTF-8", "not UTF-8", "convert the file with iconv"),
    ):
        lines = np.array([line for line, fault in broken if fault == kind], dtype=np.int64)
        if len(lines):
            groups.append(Faults(kind, name, lines, lambda _, what=what: what, mend))  # type: ignore[misc]
    return groups
