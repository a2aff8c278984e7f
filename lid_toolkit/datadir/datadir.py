"""Kaldi-style data directories: which recordings, which utterances in them, which language each is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.tables import Table, read_table, write_table
from lid_toolkit.errors import LidError

CARRIED = ("utt2spk", "utt2dataset")
"""Optional tables about utterances that go along unchanged wherever the utterances go."""


@dataclass(frozen=True)
class DataDir:
    """A data directory that is consistent.

    Attributes:
        path: where it lies.
        wav_scp: recording → reference (path, ``ark:offset`` or command ending in ``|``).
        utt2lang: utterance → language label.
        segments: utterance → ``recording start end`` in seconds of the recording, an end of -1 being
            the recording's; None when every recording is one utterance.
        utt2speed: utterance → factor by which it is yet to be played faster; None when none is.
        carried: those of ``CARRIED`` that are there.
    """

    path: Path
    wav_scp: Table
    utt2lang: Table
    segments: Table | None = None
    utt2speed: Table | None = None
    carried: Mapping[str, Table] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def tables(self) -> dict[str, Table]:
        """All tables by file name, but ``lang2utt``, which follows from ``utt2lang``."""
        found = {
            "wav.scp": self.wav_scp,
            "utt2lang": self.utt2lang,
            "segments": self.segments,
            "utt2speed": self.utt2speed,
            **self.carried,
        }
        return {name: table for name, table in found.items() if table is not None}


@dataclass(frozen=True)
class Segments:
    """``segments`` parsed: each row's recording as a row of ``wav.scp``, its start and end in seconds."""

    recordings: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]


def table_paths(path: str | Path) -> dict[str, Path]:
    """Return the files that a data directory is read from, there or not, by name."""
    names = ("wav.scp", "utt2lang", "segments", "utt2speed", *CARRIED)
    return {name: Path(path) / name for name in names}


def read_data_dir(path: str | Path) -> DataDir:
    """Read a data directory and check that its tables agree.

    Raises:
        LidError: no such directory; a faulty or missing table; an utterance in one table and not in
            another; a label with blanks; a segment of no recording, or that ends before it starts.
    """
    path = Path(path)
    if not path.is_dir():
        raise LidError("no such data directory", where=path)
    paths = table_paths(path)
    optional = {
        name: read_table(file)
        for name, file in paths.items()
        if name not in ("wav.scp", "utt2lang") and file.exists()
    }
    data = DataDir(
        path,
        read_table(paths["wav.scp"]),
        read_table(paths["utt2lang"]),
        optional.pop("segments", None),
        optional.pop("utt2speed", None),
        MappingProxyType(optional),
    )
    _check_keys(data)
    for label in data.utt2lang.codes()[0]:
        if len(label.split()) != 1:
            raise LidError(f"'{label}' is not one label", where=paths["utt2lang"], mend="one language each")
    if data.segments is not None:
        parse_segments(data.segments, data.wav_scp, paths["segments"])
    return data


def write_data_dir(
    path: str | Path,
    wav_scp: Table | Iterable[tuple[str, str]],
    utt2lang: Table,
    optional: Mapping[str, Table] | None = None,
) -> list[Path]:
    """Write the tables of a data directory, ``lang2utt`` too, and return their paths.

    ``optional`` holds further tables by file name. Tables of an earlier run that are not among them
    are removed. ``wav.scp`` is written last: a directory cut off half-way has none.
    """
    path = Path(path)
    further = dict(optional or {})
    for name, file in table_paths(path).items():
        if name not in further:
            file.unlink(missing_ok=True)
    tables: dict[str, Table | Iterable[tuple[str, str]]] = {
        "utt2lang": utt2lang,
        "lang2utt": lang2utt(utt2lang),
        **further,
        "wav.scp": wav_scp,
    }
    for name, table in tables.items():
        write_table(path / name, table)
    return [path / name for name in tables]


def lang2utt(utt2lang: Table) -> list[tuple[str, str]]:
    """Return each language with its utterances, separated by blanks."""
    utterances: dict[str, list[str]] = {}
    for utterance, language in utt2lang:
        utterances.setdefault(language, []).append(utterance)
    return [(language, " ".join(keys)) for language, keys in utterances.items()]


def parse_segments(segments: Table, wav_scp: Table, name: object = "segments") -> Segments:
    """Parse ``segments``; see :class:`Segments`.

    Raises:
        LidError: a line that is not ``utt recording start end``, a recording that ``wav.scp`` lacks,
            or times other than 0 <= start < end.
    """
    recordings: list[str] = []
    starts, ends = np.empty(len(segments)), np.empty(len(segments))
    for row, value in enumerate(segments.values()):
        try:
            recording, start, end = value.split()
            starts[row], ends[row] = float(start), float(end)
        except ValueError:
            raise LidError(
                f"'{segments.key(row)} {value}' is not 'utt recording start end'", where=name
            ) from None
        recordings.append(recording)
    rows = _rows_of(recordings, wav_scp)
    for bad in np.flatnonzero(rows < 0)[:1].tolist():
        raise LidError(f"'{segments.key(bad)}': wav.scp has no recording '{recordings[bad]}'", where=name)
    orderly = (starts >= 0) & np.isfinite(ends) & ((ends > starts) | (ends == -1))
    for bad in np.flatnonzero(~orderly)[:1].tolist():
        raise LidError(f"'{segments.key(bad)}' from {starts[bad]:g} s to {ends[bad]:g} s", where=name)
    return Segments(rows, starts, ends)


def _rows_of(keys: list[str], table: Table) -> NDArray[np.int64]:
    """Return each key's row; a key like the one before, as in a run of segments, is looked up once."""
    distinct = list(dict.fromkeys(keys))
    found = dict(zip(distinct, table.rows(distinct).tolist(), strict=True))
    return np.array([found[key] for key in keys], dtype=np.int64)


def _check_keys(data: DataDir) -> None:
    """Raise LidError unless all tables about utterances name the same ones."""
    source = "wav.scp" if data.segments is None else "segments"
    utterances = data.tables[source]
    for name, table in data.tables.items():
        if name in ("wav.scp", source) or table.same_keys(utterances):
            continue
        for lacking, other, file, has in (
            (table, utterances, name, source),
            (utterances, table, source, name),
        ):
            extra = [other.key(row) for row in np.flatnonzero(lacking.rows(other.keys()) < 0).tolist()]
            if extra:
                more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
                raise LidError(f"lacks utterance '{extra[0]}'{more}, which {has} has", where=data.path / file)
