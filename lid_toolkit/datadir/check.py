"""Check a data directory: find all faults in its tables, not only the first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.datadir import (
    LENGTHS,
    Segments,
    by_language,
    is_speed,
    scan_segments,
    segment_faults,
    table_paths,
)
from lid_toolkit.datadir.faults import Faults, whole_file
from lid_toolkit.datadir.mixtures import UTT2LANGS, mixture_faults
from lid_toolkit.datadir.tables.table import Scan, Table, scan_table
from lid_toolkit.files import require_directory
from lid_toolkit.languages import case_variants

FIX = "fix_data_dir.py can write it"
LEAVE_OUT = "add it there, or remove it with fix_data_dir.py"

_NO_LENGTH = re.compile(rb"^[^ \n]+ (?!0*[1-9][0-9]{0,17}$)", re.MULTILINE)
"""Start of a row of ``utt2num_samples`` whose value is not a positive int64."""


@dataclass(frozen=True)
class Scanned:
    """The valid rows of the tables of a data directory, and all faults.

    Attributes:
        path: the directory.
        scans: its tables by file name, including ``lang2utt``.
        faults: in single tables, and where tables contradict each other.
        parsed: ``segments`` as :func:`.scan_segments` returns it; None without ``segments`` or ``wav.scp``.
    """

    path: Path
    scans: Mapping[str, Scan]
    faults: tuple[Faults, ...]
    parsed: tuple[Segments, NDArray[np.bool_]] | None = None

    @property
    def source(self) -> str:
        """The table that defines the utterances."""
        return "segments" if "segments" in self.scans else "wav.scp"

    @property
    def about_utterances(self) -> dict[str, Scan]:
        """The tables with one row per utterance."""
        other = {"lang2utt"} | ({"wav.scp"} if self.source == "segments" else set())
        return {name: scan for name, scan in self.scans.items() if name not in other}


def scan_dir(path: Path) -> Scanned:
    """Read a data directory and find the faults in its tables; docs/data.md lists the kinds.

    Raises:
        LidError: the directory does not exist.
    """
    require_directory(path)
    files = {**table_paths(path), **{name: path / name for name in (LENGTHS, "lang2utt")}}
    scans = {name: scan_table(file) for name, file in files.items() if file.is_file()}
    faults = [
        whole_file("missing file", path / name, "does not exist", mend)
        for name, mend in (
            ("wav.scp", "write 'recording reference' lines"),
            ("utt2lang", "write 'utterance language' lines"),
        )
        if name not in scans
    ]
    for name, scan in scans.items():
        faults += scan.faults
        if not len(scan.table) and not scan.faults:
            faults.append(whole_file("empty file", path / name, "has no rows", "add rows, or remove it"))
    parsed = None
    if {"segments", "wav.scp"} <= scans.keys():
        parsed = scan_segments(scans["segments"].table, scans["wav.scp"].table)
    scanned = Scanned(path, scans, (), parsed)
    checks: list[Callable[[Scanned], Iterator[Faults]]] = [_segments, _labels, _mixtures, _values, _lang2utt]
    if {"wav.scp", "utt2lang"} <= scans.keys():
        checks.insert(0, _keys)
    return replace(scanned, faults=(*faults, *(group for check in checks for group in check(scanned))))


def missing_rows(table: Table, keys: Table) -> NDArray[np.int64]:
    """Return the rows of ``keys`` whose key is not in ``table``."""
    if table.same_keys(keys):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(table.rows(keys.keys()) < 0)


def _keys(scanned: Scanned) -> Iterator[Faults]:
    """Yield the utterances that are in one table but not in another."""
    others = [name for name in scanned.about_utterances if name != scanned.source]
    for name in others:
        yield from _missing(scanned, name, scanned.source)
        yield from _missing(scanned, scanned.source, name)


def _missing(scanned: Scanned, lacking: str, having: str) -> Iterator[Faults]:
    scan = scanned.scans[having]
    rows = missing_rows(scanned.scans[lacking].table, scan.table)
    if len(rows):
        yield faults_of_rows(
            "key in one table only",
            scanned.path / having,
            scan,
            rows,
            lambda key, _: f"utterance '{key}' is not in {lacking}",
            LEAVE_OUT,
        )


def _segments(scanned: Scanned) -> Iterator[Faults]:
    if scanned.parsed is not None:
        scan, (parsed, malformed) = scanned.scans["segments"], scanned.parsed
        lines = scan.lines_of(np.arange(len(scan.table)))
        yield from segment_faults(scan.table, parsed, malformed, scanned.path / "segments", lines)


def _labels(scanned: Scanned) -> Iterator[Faults]:
    if "utt2lang" in scanned.scans:
        yield from rows_with_labels(
            scanned,
            lambda label: label.split() != [label],
            "label with spaces",
            lambda key, label: f"'{key}': '{label}' is not a single label",
            "give each utterance one language",
        )
        variants = case_variants(scanned.scans["utt2lang"].table.codes()[0])
        yield from rows_with_labels(
            scanned,
            lambda label: any(label in same for same in variants),
            "label in different case",
            lambda key, label: f"'{key}': language '{label}' also occurs in another case",
            "write a language in one way, for example in lower case",
        )


def _mixtures(scanned: Scanned) -> Iterator[Faults]:
    if {UTT2LANGS, "utt2lang"} <= scanned.scans.keys():
        scan = scanned.scans[UTT2LANGS]
        lines = scan.lines_of(np.arange(len(scan.table)))
        yield from mixture_faults(
            scan.table, scanned.scans["utt2lang"].table, scanned.path / UTT2LANGS, lines
        )


def _values(scanned: Scanned) -> Iterator[Faults]:
    """Yield the rows whose speed or length is not valid."""
    if "utt2speed" in scanned.scans:
        yield from rows_with_labels(
            scanned,
            lambda speed: not is_speed(speed),
            "invalid speed",
            lambda key, speed: f"'{key}': '{speed}' is not a positive number",
            "repeat the speed perturbation",
            table="utt2speed",
        )
    if LENGTHS in scanned.scans:
        scan = scanned.scans[LENGTHS]
        begins = [match.start() for match in _NO_LENGTH.finditer(scan.table.text)]
        if begins:
            yield faults_of_rows(
                "invalid length",
                scanned.path / LENGTHS,
                scan,
                np.searchsorted(scan.table.starts, begins),
                lambda key, length: f"'{key}': '{length}' is not a positive number of samples",
                "repeat the formatting",
            )


def _lang2utt(scanned: Scanned) -> Iterator[Faults]:
    """Yield the lines of ``lang2utt`` that contradict ``utt2lang``."""
    if not {"utt2lang", "lang2utt"} <= scanned.scans.keys():
        return
    scan, path = scanned.scans["lang2utt"], scanned.path / "lang2utt"
    lines: list[int] = []
    messages: list[str] = []
    seen = 0
    for label, rows in by_language(scanned.scans["utt2lang"].table):
        row = int(scan.table.rows([label])[0])
        seen += row >= 0
        listed, expected = scan.table.value(row) if row >= 0 else "", " ".join(rows.keys())
        message = "" if listed == expected else _difference(label, listed.split(), expected.split())
        if message:
            lines.append(int(scan.lines_of(np.array([row]))[0]) if row >= 0 else 0)
            messages.append(message)
    if seen < len(scan.table):
        known = set(scanned.scans["utt2lang"].table.codes()[0])
        for row, label in enumerate(scan.table.keys()):
            if label not in known:
                lines.append(int(scan.lines_of(np.array([row]))[0]))
                messages.append(f"utt2lang has no utterance of '{label}'")
    if messages:
        yield Faults(
            "lang2utt contradicts utt2lang", path, np.array(lines), lambda number: messages[number], FIX
        )


def _difference(label: str, listed: list[str], expected: list[str]) -> str:
    """Return how the listed utterances of a language differ from the expected ones; "" if they do not."""
    if sorted(listed, key=str.encode) == expected:
        return ""
    for wrong, says in (
        (set(listed) - set(expected), "lists '{}'{} under '{}', but utt2lang does not"),
        (set(expected) - set(listed), "'{}'{} is missing under '{}'"),
    ):
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            return says.format(min(wrong), more, label)
    return f"lists an utterance twice under '{label}'"


def rows_with_labels(
    scanned: Scanned,
    is_wrong: Callable[[str], bool],
    kind: str,
    what: Callable[[str, str], str],
    mend: str,
    table: str = "utt2lang",
) -> list[Faults]:
    """Return the faults of the rows with a wrong value, in a table with few distinct values such as labels.

    Args:
        scanned: the directory.
        is_wrong: whether a value is wrong.
        kind: the kind of the faults.
        what: returns the message for a key and its value.
        mend: what the user can do.
        table: the name of the table.
    """
    scan = scanned.scans[table]
    labels, codes = scan.table.codes()
    wrong = [number for number, label in enumerate(labels) if is_wrong(label)]
    if not wrong:
        return []
    rows = np.flatnonzero(np.isin(codes, wrong))
    return [faults_of_rows(kind, scanned.path / table, scan, rows, what, mend)]


def faults_of_rows(
    kind: str,
    path: Path,
    scan: Scan,
    rows: NDArray[np.int64],
    what: Callable[[str, str], str],
    mend: str,
) -> Faults:
    """Return faults in the rows of one table; each message is made from the row's key and value."""
    table = scan.table

    def describe(number: int) -> str:
        row = int(rows[number])
        return what(table.key(row), table.value(row))

    return Faults(kind, path, scan.lines_of(rows), describe, mend)
