"""Kaldi-style data directories: recordings, their utterances, and the language of each utterance."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.mixtures import UTT2LANGS, check_mixtures
from lid_toolkit.datadir.tables.table import Table, read_table, table_from_pairs, write_blocks
from lid_toolkit.errors import LidError
from lid_toolkit.files import require_directory

PER_UTTERANCE_TABLES = ("utt2spk", "utt2dataset", UTT2LANGS)
"""Optional tables with one line per utterance that every operation copies."""

LENGTHS = "utt2num_samples"
"""In a formatted directory: the number of samples of each utterance."""

BY_LANGUAGE_TABLES = ("lang2utt", "category2utt")
"""Tables of the utterances of each language, made from ``utt2lang``. Equal in content: formatted directories
also have the second, because ESPnet users' scripts read it."""

DIGEST = "audio_digest"
"""In a formatted directory: a digest of the audio, which may change while the tables stay the same."""

SAMPLING_RATE = "sampling_rate"
"""In a formatted directory: the sampling rate of its audio in Hz, which ``utt2num_samples`` counts in."""

FEATURES, FEATURES_DESCRIPTION = "feats.scp", "features.json"
"""In a directory of extracted features: the references to them, and a description of their front end."""

SET_METADATA_FILES = ("audio_format", "feats_type", SAMPLING_RATE, DIGEST)
"""One-word files that describe the whole formatted set."""


@dataclass(frozen=True)
class DataDir:
    """A data directory whose tables agree.

    Attributes:
        path: the directory.
        wav_scp: recording → reference (path, ``ark:offset`` or command ending in ``|``).
        utt2lang: utterance → language label.
        segments: utterance → ``recording start end [channel]`` in seconds, where an end of -1 means the
            end of the recording; None if every recording is one utterance.
        utt2speed: utterance → factor by which formatting plays it faster; None if it plays all unchanged.
        carried: the ``PER_UTTERANCE_TABLES`` that exist.
    """

    path: Path
    wav_scp: Table
    utt2lang: Table
    segments: Table | None = None
    utt2speed: Table | None = None
    carried: Mapping[str, Table] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def tables(self) -> dict[str, Table]:
        """All tables by file name, except ``lang2utt``, which is made from ``utt2lang``."""
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
    """Parsed ``segments``: for each row, its recording's row in ``wav.scp``, and start and end in seconds.

    A row may end with a channel, from 0; without one, or with -1, ``channels`` is -1.
    """

    recordings: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    channels: NDArray[np.int64]


def table_paths(path: str | Path) -> dict[str, Path]:
    """Return by name the files that a data directory is read from; some may not exist."""
    names = ("wav.scp", "utt2lang", "segments", "utt2speed", *PER_UTTERANCE_TABLES)
    return {name: Path(path) / name for name in names}


def other_files(path: Path, known: Iterable[str]) -> list[str]:
    """Return the sorted names of the files in ``path``, without hidden ones and those in ``known``."""
    names = {file.name for file in path.iterdir() if file.is_file() and not file.name.startswith(".")}
    return sorted(names - set(known))


def places(wav_scp: Table) -> Iterator[str]:
    """Yield the references of the recordings with absolute, normalised paths."""
    here = f"{Path.cwd()}/"
    for ref in wav_scp.values():
        place = ref if ref.startswith("/") or ref.endswith("|") else here + ref
        yield os.path.normpath(place) if "//" in place or "/." in place else place


def require_two_dirs(source: Path, target: Path) -> None:
    """Raise LidError if the source and the target are the same directory."""
    if source.resolve() == target.resolve():
        raise LidError("is both the source and the target", where=target, mend="choose another target")


def read_data_dir(path: str | Path) -> DataDir:
    """Read a data directory and check that its tables agree.

    Raises:
        LidError: the directory does not exist; a table is missing or faulty; an utterance is in one table
            but not in another; a label contains spaces; a segment has no recording or ends before it
            starts; a row of ``utt2langs`` is malformed or contradicts ``utt2lang``.
    """
    path = Path(path)
    require_directory(path)
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
        if label.split() != [label]:
            mend = "give each utterance one language"
            raise LidError(f"'{label}' is not a single label", where=paths["utt2lang"], mend=mend)
    if data.segments is not None:
        parse_segments(data.segments, data.wav_scp, paths["segments"])
    if UTT2LANGS in data.carried:
        check_mixtures(data.carried[UTT2LANGS], data.utt2lang, paths[UTT2LANGS])
    return data


def read_sampling_rate(path: Path) -> int:
    """Return the sampling rate of a formatted data directory in Hz.

    Raises:
        LidError: the directory does not record its rate, or the recorded value is not valid.
    """
    file = path / SAMPLING_RATE
    try:
        word = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        what = "missing file: this set does not record its sampling rate"
        raise LidError(what, where=file, redo="formatting") from None
    if not re.fullmatch("[1-9][0-9]{0,8}", word):
        raise LidError(f"'{word}' is not a sampling rate in Hz", where=file, redo="formatting")
    return int(word)


def check_sampling_rate(path: Path, rate: int, setting: str) -> None:
    """Check the rate a model expects against the one a data directory records, if it records one.

    Args:
        path: the directory.
        rate: the rate that the model expects, in Hz.
        setting: the name of the setting with this rate, for the error.

    Raises:
        LidError: the rates differ.
    """
    if (path / SAMPLING_RATE).exists() and read_sampling_rate(path) != rate:
        raise LidError(
            f"{read_sampling_rate(path)} Hz, but {setting} is {rate} Hz",
            where=path / SAMPLING_RATE,
            redo="formatting",
            mend=f"change {setting}",
        )


def write_data_dir(
    path: str | Path,
    wav_scp: Table | Iterable[tuple[str, str]],
    utt2lang: Table,
    optional: Mapping[str, Table] | None = None,
) -> list[Path]:
    """Write the tables of a data directory, including ``lang2utt``, and return their paths.

    ``optional`` holds further tables by file name; see :func:`write_tables`.
    """
    recordings = wav_scp if isinstance(wav_scp, Table) else table_from_pairs(wav_scp, Path(path) / "wav.scp")
    tables = {"utt2lang": utt2lang, **(optional or {}), "wav.scp": recordings}
    blocks = {name: table.blocks() for name, table in tables.items()}
    return write_tables(path, {"lang2utt": lang2utt_blocks(by_language(utt2lang)), **blocks})


def write_tables(path: str | Path, blocks: Mapping[str, Iterable[bytes]]) -> list[Path]:
    """Write the tables of a data directory, each from pieces of its text, and return their paths.

    Other tables of an earlier run are removed. ``wav.scp`` is written last, so a directory whose writer
    was killed has none.
    """
    path = Path(path)
    for name, file in table_paths(path).items():
        if name not in blocks or name == "wav.scp":
            file.unlink(missing_ok=True)
    for name in sorted(blocks, key=lambda name: name == "wav.scp"):
        write_blocks(path / name, blocks[name])
    return [path / name for name in blocks]


def by_language(utt2lang: Table) -> Iterator[tuple[str, Table]]:
    """Yield each language, in byte order, with its rows of ``utt2lang``."""
    labels, codes = utt2lang.codes()
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    for number, label in enumerate(labels):
        yield label, utt2lang.select(order[bounds[number] : bounds[number + 1]])


def lang2utt_blocks(languages: Iterable[tuple[str, Table]]) -> Iterator[bytes]:
    """Yield the lines of ``lang2utt``: each language and its utterances, separated by spaces."""
    for label, rows in languages:
        yield f"{label} {' '.join(rows.keys())}\n".encode()


def read_lengths(path: Path, utterances: Table) -> Table:
    """Read ``utt2num_samples`` of a formatted directory.

    Args:
        path: the directory.
        utterances: another table of the same utterances.

    Raises:
        LidError: the table is missing or faulty, or has other utterances.
    """
    lengths = read_table(path / LENGTHS)
    if not lengths.same_keys(utterances):
        what = "its utterances differ from those of the other tables"
        raise LidError(what, where=path / LENGTHS, redo="formatting")
    return lengths


def utterance_speeds(data: DataDir) -> NDArray[np.float64]:
    """Return the speed of each utterance, (utterances,) in the order of ``utt2lang``: 1 by default.

    Raises:
        LidError: a speed is not valid.
    """
    if data.utt2speed is None:
        return np.ones(len(data.utt2lang))
    words, codes_u = data.utt2speed.codes()
    for word in words:
        if not is_speed(word):
            what = f"'{word}' is not a positive number"
            raise LidError(what, where=data.path / "utt2speed", redo="speed perturbation")
    return np.array([float(word) for word in words])[codes_u]


def is_speed(text: str) -> bool:
    """Return whether a value of ``utt2speed`` is valid: a positive, finite number."""
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def parse_segments(segments: Table, wav_scp: Table, name: str | Path = "segments") -> Segments:
    """Parse ``segments``; see :class:`Segments`.

    Raises:
        LidError: a line is not ``utt recording start end [channel]``, a recording is not in ``wav.scp``, or
            the times are not 0 <= start < end.
    """
    parsed, malformed = scan_segments(segments, wav_scp)
    for faults in segment_faults(segments, parsed, malformed, name):
        raise LidError(faults.what(0), where=name, mend=faults.mend)
    return parsed


def scan_segments(segments: Table, wav_scp: Table) -> tuple[Segments, NDArray[np.bool_]]:
    """Parse the valid rows of ``segments``; also return which rows are malformed, (rows,) booleans."""
    starts, ends = np.full(len(segments), np.nan), np.full(len(segments), np.nan)
    malformed = np.zeros(len(segments), dtype=bool)
    channels = np.full(len(segments), -1, dtype=np.int64)

    def recordings() -> Iterator[str]:
        for row, value in enumerate(segments.values()):
            try:
                recording, start, end, *rest = value.split()
                times = float(start), float(end)
                if len(rest) > 1 or not re.fullmatch(r"-1|\d{1,4}", rest[0] if rest else "-1"):
                    raise ValueError
                (starts[row], ends[row]), channels[row] = times, int(rest[0]) if rest else -1
            except ValueError:
                malformed[row] = True
                recording = ""
            yield recording

    return Segments(wav_scp.rows(recordings()), starts, ends, channels), malformed


def segment_faults(
    segments: Table,
    parsed: Segments,
    malformed: NDArray[np.bool_],
    name: str | Path,
    lines: NDArray[np.int64] | None = None,
) -> list[Faults]:
    """Return what is wrong with the rows of ``segments``; ``lines`` are their line numbers, 0 by default."""
    lines = np.zeros(len(segments), dtype=np.int64) if lines is None else lines
    homeless = ~malformed & (parsed.recordings < 0)
    times = (parsed.starts >= 0) & np.isfinite(parsed.ends)
    disorderly = ~malformed & ~(times & ((parsed.ends > parsed.starts) | (parsed.ends == -1)))

    def malformed_what(row: int) -> str:
        return f"'{segments.key(row)} {segments.value(row)}' is not 'utt recording start end [channel]'"

    def homeless_what(row: int) -> str:
        return f"'{segments.key(row)}': wav.scp has no recording '{segments.value(row).split()[0]}'"

    def disorderly_what(row: int) -> str:
        return f"'{segments.key(row)}' starts at {parsed.starts[row]:g} s and ends at {parsed.ends[row]:g} s"

    kinds = (
        ("malformed segment", malformed, malformed_what, "e.g. 'utt1 tape3 12.5 17.25'"),
        ("segment of no recording", homeless, homeless_what, "add the recording, or remove the segment"),
        ("segment without duration", disorderly, disorderly_what, "times must be 0 <= start < end"),
    )
    found = []
    for kind, wrong, what, mend in kinds:
        rows = np.flatnonzero(wrong)
        if len(rows):
            describe = functools.partial(_describe, what, rows)
            found.append(Faults(kind, name, lines[rows], describe, mend))
    return found


def _describe(what: Callable[[int], str], rows: NDArray[np.int64], number: int) -> str:
    return what(int(rows[number]))


def _check_keys(data: DataDir) -> None:
    """Raise LidError unless all tables have the same utterances."""
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
                raise LidError(
                    f"has no row for utterance '{extra[0]}'{more} of {has}",
                    where=data.path / file,
                    mend="validate_data_dir.py lists all faults",
                )
