"""Kaldi tables: UTF-8 text, one ``key value`` a line, sorted by key in C (byte) order, no duplicates.

A table in memory is its text and two integers per row, not a dict; the package's docstring says why. The
format is described at https://kaldi-asr.org/doc/data_prep.html.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.tables.keys import Keys, compared, grouped, same_keys, sorted_order
from lid_toolkit.datadir.tables.scan import Rows, index, lines_of, scan_rows
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

BLOCK_ROWS = 1 << 16

_BAD_KEY = re.compile(r"[\s\0]|^$", re.ASCII)
_BAD_VALUE = re.compile(r"[\r\n\0]|^\s|\s$|^$", re.ASCII)


@dataclass(frozen=True, eq=False)
class Table:
    r"""A sorted table of unique keys.

    Attributes:
        text: the rows as ``key value\n``, sorted by key in byte order.
        starts: (rows + 1,) int64, position in ``text`` of each row; the last is the length of ``text``.
        blanks: (rows,) int64, position in ``text`` of the space after each key.
    """

    text: bytes
    starts: NDArray[np.int64]
    blanks: NDArray[np.int64]

    @staticmethod
    def of_blocks(blocks: Iterable[bytes]) -> Table:
        """Return the table made from pieces of its text: whole rows, sorted, without duplicate keys."""
        stream = io.BytesIO()
        stream.writelines(blocks)
        text = stream.getvalue()
        return Table(text, *index(text))

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
        """Return the row of each key, -1 where it is absent.

        Linear if ``keys`` are in table order, also with repetitions; else a binary search for each key.
        """
        return np.fromiter(self._rows(keys), dtype=np.int64)

    def select(self, rows: NDArray[np.integer] | Iterable[int]) -> Table:
        """Return the table with only these rows, given in ascending order."""
        return Table.of_blocks(row_blocks([self], np.asarray(rows, dtype=np.int64)))

    def bisect(self, key: bytes) -> int:
        """Return the number of keys that are less than ``key``."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._key(middle) < key else (low, middle)
        return low

    def integers(self) -> NDArray[np.int64]:
        """Return the values as (rows,) int64; LidError if one is not a whole number."""
        try:
            return np.fromiter(map(int, self.values()), dtype=np.int64, count=len(self))
        except (ValueError, OverflowError):
            bad = next((k, v) for k, v in self if not re.fullmatch(r"-?\d{1,18}", v))
            raise LidError(f"'{bad[1]}' is not a whole number", where=bad[0]) from None

    def codes(self) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """Return the distinct values in byte order, and for each row the index of its value among them."""
        firsts, codes = grouped(Keys(self.text, self.blanks + 1, self.starts[1:] - 1))
        return tuple(map(self.value, firsts.tolist())), codes

    def same_keys(self, other: Table) -> bool:
        """Return whether both tables have the same keys."""
        return same_keys(self.where, other.where)

    @property
    def where(self) -> Keys:
        """The positions of the keys in the text."""
        return Keys(self.text, self.starts[:-1], self.blanks)

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the text of rows ``begin`` to ``end`` in pieces of whole rows."""
        end = len(self) if end is None else end
        for lo in range(begin, end, BLOCK_ROWS):
            yield self.text[self.starts[lo] : self.starts[min(lo + BLOCK_ROWS, end)]]

    def _lines(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block[:-1].decode().split("\n")

    def _key(self, row: int) -> bytes:
        return self.text[self.starts[row] : self.blanks[row]]

    def _rows(self, keys: Iterable[str]) -> Iterator[int]:
        row, last = -1, None
        for key in keys:
            wanted = key.encode("utf-8", "surrogateescape")
            if wanted != last:
                last = wanted
                is_next = row + 1 < len(self) and self._key(row + 1) == wanted
                row = row + 1 if is_next else self._find(key)
            yield row

    def _find(self, key: str) -> int:
        wanted = key.encode("utf-8", "surrogateescape")
        row = self.bisect(wanted)
        return row if row < len(self) and self._key(row) == wanted else -1


class Scan(NamedTuple):
    """The valid rows of a file, and its faults.

    Attributes:
        table: the valid rows; of rows with the same key, only the first.
        lines: (rows,) the line number of each row, from 1; None if row i is line i + 1.
        faults: all faults for which :func:`read_table` refuses the file.
        contested: rows whose key is repeated with another value.
    """

    table: Table
    lines: NDArray[np.int64] | None
    faults: tuple[Faults, ...]
    contested: NDArray[np.int64]

    def lines_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the line number of each of these rows."""
        return lines_of(self.lines, rows)


def read_table(path: str | Path, *, allow_empty: bool = False) -> Table:
    """Read a table.

    Unsorted rows, Windows line ends, tabs, a byte order mark, empty lines, and double or trailing spaces
    are corrected in memory, with one warning.

    Raises:
        LidError: the file does not exist or has no rows (unless ``allow_empty``); a row has no value, a
            key occurs twice, or a line is not UTF-8 (with ``file:line``).
    """
    return parse_table(_read_bytes(path), path, allow_empty=allow_empty)


def parse_table(raw: bytes, name: str | Path, *, allow_empty: bool = False) -> Table:
    """Parse the bytes of a table called ``name`` in messages; see :func:`read_table`."""
    scan = scan_bytes(raw, name)
    if scan.faults:
        raise scan.faults[0].error(0)
    if not len(scan.table) and not allow_empty:
        raise LidError("the table is empty", where=name)
    return scan.table


def scan_table(path: str | Path) -> Scan:
    """Read the valid rows and the faults of a table; LidError only if the file does not exist."""
    return scan_bytes(_read_bytes(path), path)


def scan_bytes(raw: bytes, name: str | Path) -> Scan:
    """Scan the bytes of a table called ``name`` in messages; see :func:`scan_table`."""
    rows = scan_rows(raw, name)
    table = Table(rows.text, rows.starts, rows.blanks)
    lines, mended, faults = rows.lines, list(rows.mended), list(rows.faults)
    contested = np.zeros(0, dtype=np.int64)
    if (compared([table.where]) >= 0).any():
        order = sorted_order([table.where])
        if not np.array_equal(order, np.arange(len(order))):
            mended.append("unsorted rows")
        again = _repeats([table], order)
        faults += _duplicates(table, rows, order, again, name)
        contested = _contested(table, order, again)
        kept = np.delete(order, again)
        table = Table.of_blocks(row_blocks([table], kept))
        lines = lines_of(lines, kept)
    if mended:
        logging.warning("%s: corrected while reading: %s", name, ", ".join(mended))
    return Scan(table, lines, tuple(faults), contested)


def _read_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise LidError("does not exist", where=path) from None
    except IsADirectoryError:
        raise LidError("is a directory, not a table", where=path) from None


def table_from_pairs(pairs: Iterable[tuple[str, str]], name: str | Path = "table") -> Table:
    """Make a table from pairs in any order; raises like :func:`write_table`."""
    lines = []
    for key, value in pairs:
        if _BAD_KEY.search(key):
            raise LidError(f"key '{key}' is empty or contains white space", where=name)
        if _BAD_VALUE.search(value):
            what = f"value '{value}' of '{key}' is empty, has a line break, or white space around it"
            raise LidError(what, where=name)
        lines.append(f"{key} {value}\n")
    try:
        text = "".join(lines).encode()
    except UnicodeEncodeError as error:
        raise LidError(
            f"'{error.object[max(0, error.start - 40) : error.end]!a}' is not UTF-8", where=name
        ) from None
    return merge_tables([Table(text, *index(text))], name)


def merge_tables(tables: Sequence[Table], name: str | Path = "table", *, mend: str = "") -> Table:
    """Return one table with the rows of all; LidError if two tables have a key in common."""
    return Table.of_blocks(merged_blocks(tables, name, mend=mend))


def merged_blocks(
    tables: Sequence[Table], name: str | Path = "table", *, repeats: bool = False, mend: str = ""
) -> Iterator[bytes]:
    """Return pieces of the text of one table with the rows of all.

    Args:
        tables: the tables; their rows may be in any order.
        name: the name of the new table in messages.
        repeats: keep one of several equal rows instead of raising.
        mend: advice for the error.

    Raises:
        LidError: a key occurs twice; with ``repeats``, only if its values differ. Raised before the first
            piece is returned.
    """
    order = sorted_order([table.where for table in tables])
    again = _repeats(tables, order)
    for place in again.tolist():
        first, second = (b"".join(row_blocks(tables, order[at : at + 1])) for at in (place - 1, place))
        if not (repeats and first == second):
            raise LidError(f"duplicate key '{second.split(b' ', 1)[0].decode()}'", where=name, mend=mend)
    return row_blocks(tables, np.delete(order, again))


def row_blocks(tables: Sequence[Table], rows: NDArray[np.int64]) -> Iterator[bytes]:
    """Yield pieces of the text of these rows, which are numbered across all tables in turn."""
    bounds = np.cumsum([0, *map(len, tables)])
    for lo in range(0, len(rows), BLOCK_ROWS):
        yield _gathered(tables, bounds, rows[lo : lo + BLOCK_ROWS])


def write_table(path: str | Path, rows: Iterable[tuple[str, str]] | Table) -> None:
    """Write a table, sorted by key in byte order, with LF line ends; the file appears whole.

    Raises:
        LidError: a duplicate key; a key that is empty or contains white space; a value that is empty,
            contains a line break, or starts or ends with white space; text that is not valid UTF-8.
    """
    write_blocks(path, (rows if isinstance(rows, Table) else table_from_pairs(rows, path)).blocks())


def write_blocks(path: str | Path, blocks: Iterable[bytes]) -> None:
    """Write a table from pieces of its text, so that the whole text need not be in memory."""
    with write_whole(path, "wb") as stream:
        stream.writelines(blocks)


def _gathered(tables: Sequence[Table], bounds: NDArray[np.int64], rows: NDArray[np.int64]) -> bytes:
    """Return the text of these rows; each run of adjacent rows is copied at once."""
    source = np.searchsorted(bounds, rows, side="right") - 1
    cuts = np.flatnonzero((np.diff(rows) != 1) | (np.diff(source) != 0)) + 1
    first, last = np.append(0, cuts), np.append(cuts, len(rows)) - 1
    source = source[first]
    begins, ends = np.empty_like(first), np.empty_like(first)
    for number in np.unique(source).tolist():
        starts, here = tables[number].starts, source == number
        begins[here] = starts[rows[first[here]] - bounds[number]]
        ends[here] = starts[rows[last[here]] - bounds[number] + 1]
    texts = [table.text for table in tables]
    spans = zip(source.tolist(), begins.tolist(), ends.tolist(), strict=True)
    return b"".join([texts[number][begin:end] for number, begin, end in spans])


def _repeats(tables: Sequence[Table], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions in a sorted order at which the key equals the previous key."""
    return np.flatnonzero(compared([table.where for table in tables], order) == 0) + 1


def _duplicates(
    table: Table, rows: Rows, order: NDArray[np.int64], again: NDArray[np.int64], name: str | Path
) -> list[Faults]:
    """Return the faults of the rows at positions ``again`` of ``order``, in the order of the file."""
    if not len(again):
        return []
    again = again[np.argsort(order[again])]
    repeated = np.zeros(len(order), dtype=bool)
    repeated[again] = True
    firsts = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(order))))[again]

    lines, first_lines = (lines_of(rows.lines, order[places]) for places in (again, firsts))

    def what(number: int) -> str:
        return f"duplicate key '{table.key(int(order[again[number]]))}' (first in line {first_lines[number]})"

    return [Faults("duplicate key", name, lines, what, "remove one of them")]


def _contested(table: Table, order: NDArray[np.int64], again: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows, numbered without those in ``again``, whose key is repeated with another value."""
    texts = (
        [
            table.text[begin:end]
            for begin, end in zip(table.starts[rows].tolist(), table.starts[rows + 1].tolist(), strict=True)
        ]
        for rows in (order[again - 1], order[again])
    )
    differ = np.fromiter((one != other for one, other in zip(*texts, strict=True)), dtype=bool)
    places = again[differ]
    return np.unique(places - np.searchsorted(again, places, side="right"))
