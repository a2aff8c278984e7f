"""Fix a data directory without guessing: keep the utterances on which all its tables agree."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lid_toolkit.datadir.check import Scanned, scan_dir
from lid_toolkit.datadir.datadir import (
    BY_LANGUAGE_TABLES,
    SET_METADATA_FILES,
    by_language,
    lang2utt_blocks,
    other_files,
    scan_segments,
    segment_faults,
)
from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.mixtures import UTT2LANGS, mixture_faults
from lid_toolkit.datadir.tables.table import Table, scan_table, table_from_pairs, write_blocks
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, require_directory, temporary_beside

BACKUPS = ".backup"
Reasons = dict[str, str]
"""For each removed utterance: the reason."""


def fix_data_dir(path: Path, broken: Callable[[Scanned], Mapping[str, str]] | None = None) -> Path | None:
    """Fix ``path`` in place and return the backup of its files, or None if there was nothing to fix.

    An utterance is removed if it is not in every table, has two different rows in one table, not exactly
    one language, an invalid segment, a row of ``utt2langs`` that is malformed or contradicts ``utt2lang``, or
    a recording in ``broken``. The file ``removed`` in the backup lists these utterances and the reasons.
    Equal rows are written once, all tables are sorted, and ``lang2utt`` is made from ``utt2lang``. If only
    ``lang2utt`` exists, ``utt2lang`` is made from it.

    Args:
        path: the directory.
        broken: returns utterances and recordings to remove, each with the reason.

    Raises:
        LidError: the directory or its ``wav.scp`` does not exist, there are no languages, or no utterance
            would be left.
    """
    require_directory(path)
    with locked(path, "fixing"):
        scanned = scan_dir(path)
        tables = _tables(scanned)
        reasons = dict(broken(scanned)) if broken else {}
        mended = _agreed(scanned, tables, reasons)
        if not len(mended["utt2lang"]):
            raise LidError(
                "no utterance would be left", where=path, mend="list the faults with validate_data_dir.py"
            )
        if _unchanged(path, mended):
            logging.info("%s: nothing to fix", path)
            return None
        backup = _back_up(path, reasons)
        if others := other_files(path, {*mended, *BY_LANGUAGE_TABLES, *SET_METADATA_FILES}):
            logging.warning("%s: not changed: %s", path, ", ".join(others))
        for name in sorted(mended, key=lambda name: name == "wav.scp"):
            write_blocks(path / name, mended[name].blocks())
        for name in _inverted(path):
            write_blocks(path / name, lang2utt_blocks(by_language(mended["utt2lang"])))
    kept = len(mended["utt2lang"])
    logging.info("%s: %d utterances kept, %d removed (see %s)", path, kept, len(reasons), backup / "removed")
    return backup


def _tables(scanned: Scanned) -> dict[str, Table]:
    """Return the valid rows of each table except ``lang2utt``."""
    path = scanned.path
    tables = {name: scan.table for name, scan in scanned.scans.items() if name != "lang2utt"}
    if "wav.scp" not in tables:
        raise LidError("does not exist", where=path / "wav.scp", mend="write 'recording reference' lines")
    if "utt2lang" not in tables:
        if not (path / "lang2utt").exists():
            mend = "write 'utterance language' lines"
            raise LidError("does not exist", where=path / "utt2lang", mend=mend)
        tables["utt2lang"] = _languages_of(path / "lang2utt")
    return tables


def _languages_of(lang2utt: Path) -> Table:
    """Return ``utt2lang`` made from ``lang2utt``; LidError if an utterance has two languages."""
    pairs = ((utt, label) for label, utts in scan_table(lang2utt).table for utt in utts.split())
    return table_from_pairs(dict.fromkeys(pairs), lang2utt)


def _agreed(scanned: Scanned, tables: dict[str, Table], reasons: Reasons) -> dict[str, Table]:
    """Return the tables with the utterances common to all; add the reasons for the others to ``reasons``."""
    about = {
        name: table
        for name, table in tables.items()
        if name == "utt2lang" or name in scanned.about_utterances
    }
    for name in about:
        for key, reason in _unsound(scanned, name, about):
            reasons.setdefault(key, reason)
    source = tables[scanned.source]
    keep = np.ones(len(source), dtype=bool)
    for name, table in about.items():
        if not table.same_keys(source):
            keep &= table.rows(source.keys()) >= 0
            _note(reasons, _lacking(table, source), f"not in {name}")
            _note(reasons, _lacking(source, table), f"not in {scanned.source}")
    if reasons:
        rows = source.rows(sorted(reasons, key=str.encode))
        keep[rows[rows >= 0]] = False
    kept = source.select(np.flatnonzero(keep))
    mended = {name: _only(table, kept) for name, table in about.items()}
    if scanned.source == "segments":
        recordings = scan_segments(mended["segments"], tables["wav.scp"])[0].recordings
        mended["wav.scp"] = tables["wav.scp"].select(np.unique(recordings))
    return mended


def _unsound(scanned: Scanned, name: str, tables: Mapping[str, Table]) -> Iterator[tuple[str, str]]:
    """Yield the utterances that the rows of one table rule out, and why."""
    table = tables[name]
    if name in scanned.scans:
        for row in scanned.scans[name].contested.tolist():
            yield table.key(row), f"two different rows in {name}"
    if name == "utt2lang":
        labels, codes = table.codes()
        wrong = [number for number, label in enumerate(labels) if label.split() != [label]]
        for row in np.flatnonzero(np.isin(codes, wrong)).tolist():
            yield table.key(row), f"'{table.value(row)}' is not a single label"
    if name == UTT2LANGS:
        numbers = np.arange(1, len(table) + 1)
        yield from _ruled_out(table, mixture_faults(table, tables["utt2lang"], name, numbers))
    if name == "segments":
        yield from _impossible_segments(scanned, table)


def _impossible_segments(scanned: Scanned, segments: Table) -> Iterator[tuple[str, str]]:
    wav_scp = scanned.scans["wav.scp"]
    parsed, malformed = scan_segments(segments, wav_scp.table)
    numbers = np.arange(1, len(segments) + 1)
    yield from _ruled_out(segments, segment_faults(segments, parsed, malformed, "segments", numbers))
    for row in np.flatnonzero(np.isin(parsed.recordings, wav_scp.contested)).tolist():
        yield segments.key(row), "its recording has two different rows in wav.scp"


def _ruled_out(table: Table, faults: Iterable[Faults]) -> Iterator[tuple[str, str]]:
    """Yield the utterances with faults, and the reasons; a fault's line is its row, counted from 1."""
    for group in faults:
        for number, row in enumerate((group.lines - 1).tolist()):
            yield table.key(row), group.what(number)


def _lacking(table: Table, keys: Table) -> Iterable[str]:
    return (keys.key(row) for row in np.flatnonzero(table.rows(keys.keys()) < 0).tolist())


def _note(reasons: Reasons, keys: Iterable[str], reason: str) -> None:
    for key in keys:
        reasons.setdefault(key, reason)


def _only(table: Table, kept: Table) -> Table:
    return table if table.same_keys(kept) else table.select(table.rows(kept.keys()))


def _unchanged(path: Path, mended: Mapping[str, Table]) -> bool:
    """Return whether every file already has the content that would be written."""
    for name, table in mended.items():
        if not (path / name).exists() or (path / name).read_bytes() != table.text:
            return False
    inverted = b"".join(lang2utt_blocks(by_language(mended["utt2lang"])))
    return all((path / name).exists() and (path / name).read_bytes() == inverted for name in _inverted(path))


def _inverted(path: Path) -> list[str]:
    """Return the names of the tables to make from ``utt2lang``: ``lang2utt``, and others that exist."""
    return [name for name in BY_LANGUAGE_TABLES if name == "lang2utt" or (path / name).exists()]


def _back_up(path: Path, reasons: Reasons) -> Path:
    """Copy the directory's files and the list of removed utterances to a backup; return its path."""
    backups = path / BACKUPS
    backups.mkdir(exist_ok=True)
    temporary = temporary_beside(backups / "new")
    temporary.mkdir()
    for file in path.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy2(file, temporary)
    removed = ((key, " ".join(reason.split())) for key, reason in reasons.items())
    write_blocks(temporary / "removed", table_from_pairs(removed, "removed").blocks())
    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = sum(1 for _ in backups.glob(f"{stamp}*"))
    backup = backups / (f"{stamp}-{number}" if number else stamp)
    temporary.rename(backup)
    return backup
