"""Kaldi tables: UTF-8 text, one ``key value`` a line, sorted by key in C (byte) order, no duplicates.

A table in memory is its text and two integers a row, not a dict: 2.5 million rows cost the size of
the file and 40 MB, workers forked from a process share all of it, and unpickling is a copy.
The format is described at https://kaldi-asr.org/doc/data_prep.html.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

BOM = b"\xef\xbb\xbf"
NEWLINE, BLANK = ord("\n"), ord(" ")
WORD = 8
BLOCK_ROWS = 1 << 16

_UNTIDY = (b"\t", b"\r", b"\v", b"\f", b" \n", b"\n\n", b"\n ", b"  ")
_BAD_KEY = re.compile(r"[\s\0]|^$", re.ASCII)
_BAD_VALUE = re.compile(r"[\r\n\0]|^\s|\s$|^$", re.ASCII)


@dataclass(frozen=True, eq=False)
class Table:
    r"""A sorted table of unique keys.

    Attributes:
        text: the rows as ``key value\n``, sorted by key in byte order.
        starts: (rows + 1,) int64, where each row starts in ``text``; the last is its length.
        blanks: (rows,) int64, where the blank after each key is in ``text``.
    """

    text: bytes
    starts: NDArray[np.int64]
    blanks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.blanks)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self.keys(), self.values(), strict=True)

    def __getitem__(self, key: str) -> str:
        row = self._find(key)
        if row < 0:
            raise KeyError(key)
        return self.value(row)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) >= 0

    def key(self, row: int) -> str:
        """Return the key of a row."""
        return self._key(range(len(self))[row]).decode()

    def value(self, row: int) -> str:
        """Return the value of a row."""
        row = range(len(self))[row]
        return self.text[self.blanks[row] + 1 : self.starts[row + 1] - 1].decode()

    def keys(self) -> Iterator[str]:
        """Iterate over the keys in order."""
        return (line.split(" ", 1)[0] for line in self._lines())

    def values(self) -> Iterator[str]:
        """Iterate over the values in key order."""
        return (line.split(" ", 1)[1] for line in self._lines())

    def rows(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """Return the row of each key, -1 where it is absent; linear when ``keys`` are in table order."""
        found = []
        row = -1
        for key in keys:
            wanted = key.encode()
            row = row + 1 if row + 1 < len(self) and self._key(row + 1) == wanted else self._find(key)
            found.append(row)
        return np.array(found, dtype=np.int64)

    def select(self, rows: NDArray[np.integer] | Iterable[int]) -> Table:
        """Return the table of these rows only; they must ascend by key."""
        chosen = np.asarray(rows, dtype=np.int64)
        begins, ends = self.starts[chosen], self.starts[chosen + 1]
        lengths = ends - begins
        blocks = []
        for lo in range(0, len(chosen), BLOCK_ROWS):
            spans = zip(
                begins[lo : lo + BLOCK_ROWS].tolist(), ends[lo : lo + BLOCK_ROWS].tolist(), strict=True
            )
            blocks.append(b"".join([self.text[begin:end] for begin, end in spans]))
        text = b"".join(blocks)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return Table(text, starts, starts[:-1] + self.blanks[chosen] - begins)

    def prefixed(self, prefix: str) -> Table:
        """Return the table with ``prefix`` before every key, which keeps their order."""
        mark = prefix.encode()
        text = mark + self.text[:-1].replace(b"\n", b"\n" + mark) + b"\n" if self.text else b""
        shift = np.arange(len(self) + 1, dtype=np.int64) * len(mark)
        return Table(text, self.starts + shift, self.blanks + shift[1:])

    def integers(self) -> NDArray[np.int64]:
        """Return the values as (rows,) int64; raises LidError naming the first that is no whole number."""
        try:
            return np.fromiter(map(int, self.values()), dtype=np.int64, count=len(self))
        except (ValueError, OverflowError):
            bad = next((k, v) for k, v in self if not re.fullmatch(r"-?\d{1,18}", v))
            raise LidError(f"'{bad[1]}' is not a whole number", where=bad[0]) from None

    def codes(self) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """Return the distinct values in byte order, and for each row its value's place among them."""
        seen: dict[str, int] = {}
        raw = np.fromiter(
            (seen.setdefault(value, len(seen)) for value in self.values()), dtype=np.int32, count=len(self)
        )
        names = sorted(seen)
        place = np.zeros(len(seen), dtype=np.int32)
        place[[seen[name] for name in names]] = np.arange(len(names), dtype=np.int32)
        return tuple(names), place[raw]

    def same_keys(self, other: Table) -> bool:
        """Say whether both tables have the same keys."""
        if len(self) != len(other):
            return False
        lengths = self.blanks - self.starts[:-1]
        if not np.array_equal(lengths, other.blanks - other.starts[:-1]):
            return False
        for depth in range(0, int(lengths.max(initial=0)), WORD):
            rows = np.flatnonzero(lengths > depth)
            if not np.array_equal(_words(self, rows, depth), _words(other, rows, depth)):
                return False
        return True

    def _lines(self) -> Iterator[str]:
        for lo in range(0, len(self), BLOCK_ROWS):
            hi = min(lo + BLOCK_ROWS, len(self))
            yield from self.text[self.starts[lo] : self.starts[hi] - 1].decode().split("\n")

    def _key(self, row: int) -> bytes:
        return self.text[self.starts[row] : self.blanks[row]]

    def _find(self, key: str) -> int:
        wanted = key.encode("utf-8", "surrogateescape")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._key(low) == wanted else -1


def read_table(path: str | Path, *, allow_empty: bool = False) -> Table:
    """Read a table.

    Rows out of order, Windows line ends, tabs, a byte order mark, blank lines and doubled or trailing
    blanks are mended in memory, and one warning line says so.

    Raises:
        LidError: no such file; no rows (unless ``allow_empty``); a row without a value or a key that
            comes twice (named as ``file:line``); text that is not UTF-8.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise LidError("no such file", where=path) from None
    except IsADirectoryError:
        raise LidError("is a directory, not a table", where=path) from None
    try:
        return parse_table(raw, path, allow_empty=allow_empty)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise LidError("not UTF-8", where=f"{path}:{line}", mend="convert it with iconv") from None


def parse_table(raw: bytes, name: str | Path, *, allow_empty: bool = False) -> Table:
    """Parse the bytes of a table called ``name`` in messages; see :func:`read_table`."""
    text = raw.removeprefix(BOM)
    faults = ["a byte order mark"] if len(text) < len(raw) else []
    if not text.isascii():
        text.decode()
    if b"\0" in text:
        raise LidError("holds a NUL byte: not a text table", where=name)
    line_numbers: NDArray[np.int64] | None = None
    if _untidy(text):
        tidy, line_numbers = _tidied(text)
        if tidy not in (text, text + b"\n"):
            faults.append("tabs, carriage returns or needless blanks")
        text = tidy

    def place(row: int) -> str:
        return f"{name}:{row + 1 if line_numbers is None else line_numbers[row]}"

    read = _checked(text, name, place, allow_empty)
    table = _in_order(read, place)
    if table is not read:
        faults.append("rows out of order")
    if faults:
        logging.warning("%s: mended while reading: %s", name, ", ".join(faults))
    return table


def _checked(text: bytes, name: str | Path, place: Callable[[int], str], allow_empty: bool) -> Table:
    starts, blanks = _index(text)
    if len(blanks) == 0 and not allow_empty:
        raise LidError("empty table", where=name)
    missing = np.flatnonzero(blanks < 0)
    if len(missing):
        row = int(missing[0])
        key = text[starts[row] : starts[row + 1] - 1].decode()
        raise LidError(f"key '{key}' has no value", where=place(row))
    return Table(text, starts, blanks)


def table_from_pairs(pairs: Iterable[tuple[str, str]], name: str | Path = "table") -> Table:
    """Make a table from pairs in any order; see :func:`write_table` for what is refused."""
    lines = []
    for key, value in pairs:
        if _BAD_KEY.search(key):
            raise LidError(f"key '{key}' is empty or holds a blank", where=name)
        if _BAD_VALUE.search(value):
            raise LidError(
                f"value '{value}' of '{key}' is empty, spans lines or has blanks around", where=name
            )
        lines.append(f"{key} {value}\n")
    try:
        text = "".join(lines).encode()
    except UnicodeEncodeError as error:
        raise LidError(
            f"'{error.object[max(0, error.start - 40) : error.end]!a}' is not UTF-8", where=name
        ) from None
    return _ordered(text, name)


def merge_tables(tables: Iterable[Table], name: str | Path = "table") -> Table:
    """Return one table with the rows of all; raises LidError if two have a key in common."""
    return _ordered(b"".join(table.text for table in tables), name)


def write_table(path: str | Path, pairs: Iterable[tuple[str, str]] | Table) -> None:
    """Write a table whole, sorted in C order, LF line ends; no pairs make an empty file.

    Raises:
        LidError: a duplicate key; an empty key or one with a blank; a value that is empty, holds a
            line end, or starts or ends with a blank; text that is not UTF-8.
    """
    table = pairs if isinstance(pairs, Table) else table_from_pairs(pairs, path)
    with write_whole(path, "wb") as stream:
        stream.write(table.text)


def _ordered(text: bytes, name: str | Path) -> Table:
    """Return the table of tidy rows in any order, called ``name`` where a key comes twice."""
    return _in_order(Table(text, *_index(text)), lambda row: f"{name}:{row + 1}")


def _untidy(text: bytes) -> bool:
    r"""Say whether some row may not be ``key value\n`` with single characters between."""
    return bool(text) and (
        text.startswith((b" ", b"\n")) or not text.endswith(b"\n") or any(mark in text for mark in _UNTIDY)
    )


def _tidied(text: bytes) -> tuple[bytes, NDArray[np.int64]]:
    r"""Return the rows as ``key value\n``, and the line each came from."""
    rows, numbers = [], []
    for number, line in enumerate(text.split(b"\n"), start=1):
        parts = line.split(None, 1)
        if parts:
            rows.append(b" ".join((parts[0], parts[1].rstrip())) if len(parts) == 2 else parts[0])
            numbers.append(number)
    return b"".join(row + b"\n" for row in rows), np.array(numbers, dtype=np.int64)


def _index(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row starts (rows + 1,) and the first blank of each row (rows,), -1 where there is none."""
    array = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(array == NEWLINE)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends + 1])
    spaces = np.append(np.flatnonzero(array == BLANK), len(text))
    blanks = spaces[np.searchsorted(spaces, starts[:-1])]
    blanks[blanks >= ends] = -1
    return starts, blanks


def _words(table: Table, rows: NDArray[np.int64], depth: int) -> NDArray[np.uint64]:
    """Return 8 bytes of each key from its byte ``depth`` on, as numbers that compare like the bytes.

    What is past the end of a key counts as zeros, which no key holds.
    """
    text = table.text if len(table.text) >= WORD else table.text + bytes(WORD)
    every = np.ndarray(len(text) - WORD + 1, dtype=">u8", buffer=text, strides=(1,))
    places = table.starts[rows] + depth
    left = np.clip(table.blanks[rows] - places, 0, WORD)
    within = np.minimum(places, len(every) - 1)
    words: NDArray[np.uint64] = every[within].astype(np.uint64)
    words <<= (8 * np.minimum(places - within, WORD - 1)).astype(np.uint64)
    past = (8 * np.minimum(WORD - left, WORD - 1)).astype(np.uint64)
    words >>= past
    words <<= past
    words[left == 0] = 0
    return words


def _first_disorder(table: Table) -> int:
    """Return the first row whose key is not less than the next row's; -1 if there is none."""
    rows = np.arange(len(table) - 1, dtype=np.int64)
    lengths = table.blanks - table.starts[:-1]
    first = len(table)
    depth = 0
    while len(rows):
        here, after = _words(table, rows, depth), _words(table, rows + 1, depth)
        depth += WORD
        same = here == after
        wrong = (here > after) | (same & (lengths[rows] <= depth) & (lengths[rows + 1] <= depth))
        first = min([first, *rows[wrong][:1].tolist()])
        rows = rows[same & ~wrong]
    return first if first < len(table) else -1


def _order(table: Table) -> NDArray[np.int64]:
    """Return the rows sorted by key, equal keys as they were: a radix sort from the last word on."""
    order = np.arange(len(table), dtype=np.int64)
    longest = int((table.blanks - table.starts[:-1]).max(initial=0))
    for depth in reversed(range(0, longest, WORD)):
        order = order[np.argsort(_words(table, order, depth), kind="stable")]
    return order


def _in_order(table: Table, place: Callable[[int], str]) -> Table:
    """Return the table sorted; raises LidError if a key comes twice, ``place`` telling where rows are."""
    if _first_disorder(table) < 0:
        return table
    order = _order(table)
    ordered = table.select(order)
    twice = _first_disorder(ordered)
    if twice >= 0:
        first = place(int(order[twice])).rpartition(":")[2]
        raise LidError(
            f"duplicate key '{ordered.key(twice)}' (first at {first})", where=place(int(order[twice + 1]))
        )
    return ordered
