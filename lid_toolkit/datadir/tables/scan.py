r"""The text of a table made ``key value\n`` rows, and every line named that cannot be a row.

What is only untidy (a byte order mark, Windows line ends, tabs, needless blanks) is mended; what is
broken is left out and reported. The text is worked on in blocks, so that no list of lines is made.
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
    r"""The rows of a text that have a key and a value, in the order they came in.

    Attributes:
        text: the rows as ``key value\n``.
        starts: (rows + 1,) where each row starts in ``text``; the last is its length.
        blanks: (rows,) where the blank after each key is.
        lines: (rows,) the line each came from, from 1; None where row i is line i + 1.
        mended: what was untidy, in words.
        faults: lines that are not UTF-8, hold a NUL byte, or have a key only.
    """

    text: bytes
    starts: NDArray[np.int64]
    blanks: NDArray[np.int64]
    lines: NDArray[np.int64] | None
    mended: tuple[str, ...]
    faults: tuple[Faults, ...]


def lines_of(lines: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the line of each of these rows, ``lines`` being as in :class:`Rows`."""
    return rows + 1 if lines is None else lines[rows]


def scan_rows(raw: bytes, name: str | Path) -> Rows:
    """Return the rows in the bytes of the table called ``name``."""
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
                "give it one, or remove the line",
            )
        )
        kept = np.flatnonzero(blanks >= 0)
        lines = lines_of(lines, kept)
        tidy = b"".join([tidy[starts[row] : starts[row + 1]] for row in kept.tolist()])
        starts, blanks = index(tidy)
    if not faults and tidy != text and tidy[:-1] != text:
        mended.append("tabs, carriage returns or needless blanks")
    return Rows(tidy, starts, blanks, lines, tuple(mended), tuple(faults))


def index(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row starts (rows + 1,) and the first blank of each row (rows,), -1 where there is none."""
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
    r"""Return the rows as ``key value\n`` or ``key\n``, the line of each, and the broken lines.

    The lines are None where every line is a row.
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
    """Return the tidy rows of lines from number ``first`` on, their numbers, and the broken lines."""
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
    r"""Say whether every row is ``key value\n`` with single characters between, or ``key\n``."""
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
    """Yield begin and end of whole lines, some megabytes at a time."""
    begin = 0
    while begin < len(text):
        end = text.find(b"\n", begin + BLOCK_BYTES - 1) + 1 or len(text)
        yield begin, end
        begin = end


def _broken_lines(broken: list[tuple[int, str]], name: str | Path) -> list[Faults]:
    groups = []
    for kind, what, mend in (
        ("NUL byte", "holds a NUL byte", "it is no text table"),
        ("not UTF-8", "not UTF-8", "convert it with iconv"),
    ):
        lines = np.array([line for line, fault in broken if fault == kind], dtype=np.int64)
        if len(lines):
            groups.append(Faults(kind, name, lines, lambda _, what=what: what, mend))  # type: ignore[misc]
    return groups
