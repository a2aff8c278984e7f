"""Check that the recordings of a data directory exist, can be decoded and are as long as their segments."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.reader import DEFAULT, Reading, audio_info, read_audio
from lid_toolkit.audio.references import COPY_AGAIN, AudioError, file_of, is_pipe, kind_of
from lid_toolkit.audio.silence import require_signal_in
from lid_toolkit.audio.writer import is_too_long
from lid_toolkit.datadir.check import Scanned
from lid_toolkit.datadir.datadir import scan_segments
from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.prepare.formatting.job import LONGEST_OVERSHOOT_S
from lid_toolkit.progress import Progress

CHECKS = ("none", "header", "decode")
CHUNK = 64
KINDS = (
    "missing recording",
    "not a file",
    "empty recording",
    "undecodable recording",
    "no signal",
    "command",
)

Broken: TypeAlias = "tuple[str, str, str]"
"""Why a recording cannot be used: the kind of fault, one of ``KINDS``; the reason; how to mend it."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """The result of reading the recordings of a ``wav.scp``, by row.

    Attributes:
        seconds: (rows,) duration of each, NaN if it cannot be read.
        broken: for each row that cannot be used: why.
    """

    seconds: NDArray[np.float64]
    broken: dict[int, Broken]


def read_recordings(
    wav_scp: Table,
    check: str = "header",
    reading: Reading = DEFAULT,
    *,
    num_jobs: int = 1,
    name: str = "wav.scp",
) -> Recordings:
    """Read the headers of all recordings or, if ``check`` is ``decode``, all samples.

    Only ``decode`` finds recordings without a signal.

    Args:
        wav_scp: the recordings.
        check: ``header`` or ``decode``.
        reading: how to read references.
        num_jobs: number of processes.
        name: name of the set in progress lines.
    """
    seconds = np.full(len(wav_scp), np.nan)
    broken: dict[int, Broken] = {}
    work = functools.partial(_read_chunk, decode=check == "decode", reading=reading)
    title = f"read {'audio' if check == 'decode' else 'headers'} of {name}"
    with Progress(title, len(wav_scp), "rec") as progress:
        row = 0
        for results in _spread(work, _chunks(wav_scp), num_jobs):
            for result in results:
                if isinstance(result, float):
                    seconds[row] = result
                else:
                    broken[row] = result
                row += 1
            progress.advance(len(results), float(np.nansum(seconds[row - len(results) : row])))
    return Recordings(seconds, broken)


def recording_faults(scanned: Scanned, recordings: Recordings) -> list[Faults]:
    """Return the faults of broken recordings, and of segments outside their recording.

    As in formatting, a segment may end up to half a second after its recording.
    """
    scan, path = scanned.scans["wav.scp"], scanned.path / "wav.scp"
    found = []
    groups = {(kind, mend) for kind, _, mend in recordings.broken.values()}
    for kind, mend in sorted(groups, key=lambda group: (KINDS.index(group[0]), group[1])):
        those = [row for row, (has, _, needs) in recordings.broken.items() if (has, needs) == (kind, mend)]
        rows = np.array(those, dtype=np.int64)
        describe = functools.partial(_describe_broken, scan.table, recordings, rows)
        found.append(Faults(kind, path, scan.lines_of(rows), describe, mend))
    return found + (_overlong_segments(scanned, recordings) if "segments" in scanned.scans else [])


def long_ids(scanned: Scanned) -> list[Faults]:
    """Return the utterances whose ids are too long for the name of a file."""
    scan = scanned.scans[scanned.source]
    rows = np.array([row for row, key in enumerate(scan.table.keys()) if is_too_long(key)], dtype=np.int64)
    if not len(rows):
        return []

    def what(number: int) -> str:
        key = scan.table.key(int(rows[number]))
        return f"'{key[:40]}…' is too long for a file name: {len(key.encode())} bytes"

    path = scanned.path / scanned.source
    mend = "shorten it; only the formats wav.ark and flac.ark can hold it"
    return [Faults("id too long", path, scan.lines_of(rows), what, mend)]


def overlong(segments: Table, wav_scp: Table, recordings: Recordings) -> NDArray[np.int64]:
    """Return the rows of segments that start or end after their recording, with a tolerance at the end."""
    parsed, malformed = scan_segments(segments, wav_scp)
    homed = ~malformed & (parsed.recordings >= 0)
    seconds = np.full(len(segments), np.nan)
    seconds[homed] = recordings.seconds[parsed.recordings[homed]]
    return np.flatnonzero((parsed.starts >= seconds) | (parsed.ends > seconds + LONGEST_OVERSHOOT_S))


def _overlong_segments(scanned: Scanned, recordings: Recordings) -> list[Faults]:
    scan, wav_scp = scanned.scans["segments"], scanned.scans["wav.scp"].table
    rows = overlong(scan.table, wav_scp, recordings)
    if not len(rows):
        return []

    def what(number: int) -> str:
        row = int(rows[number])
        recording, start, end = scan.table.value(row).split()[:3]
        seconds = recordings.seconds[int(wav_scp.rows([recording])[0])]
        return f"'{scan.table.key(row)}' from {start} s to {end} s, but '{recording}' is {seconds:.2f} s long"

    path = scanned.path / "segments"
    mend = "correct its times, or remove it"
    return [Faults("segment outside its recording", path, scan.lines_of(rows), what, mend)]


def _describe_broken(table: Table, recordings: Recordings, rows: NDArray[np.int64], number: int) -> str:
    row = int(rows[number])
    return f"'{table.key(row)}': {table.value(row)}: {recordings.broken[row][1]}"


def _chunks(wav_scp: Table) -> Iterator[list[str]]:
    refs = wav_scp.values()
    return iter(lambda: list(itertools.islice(refs, CHUNK)), [])


def _spread(
    work: functools.partial[list[float | Broken]], chunks: Iterator[list[str]], num_jobs: int
) -> Iterator[list[float | Broken]]:
    """Yield the results of chunks in order; a limited number of chunks is submitted at a time."""
    if num_jobs == 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(num_jobs) as pool:
        while batch := list(itertools.islice(chunks, 16 * num_jobs)):
            yield from pool.map(work, batch)


def _read_chunk(refs: Sequence[str], decode: bool, reading: Reading) -> list[float | Broken]:
    """Return for each recording its duration in seconds, or why it cannot be used."""
    return [_read(ref, decode, reading) for ref in refs]


def _read(ref: str, decode: bool, reading: Reading) -> float | Broken:
    try:
        info = audio_info(ref, reading)
        if not decode:
            return info.num_samples / info.rate
        wave, rate = read_audio(ref, reading=reading)
    except AudioError as error:
        kind = _kind(ref, reading)
        return kind, error.what, "fix its path in wav.scp" if kind == KINDS[0] else error.mend or COPY_AGAIN
    try:
        require_signal_in(wave, ref, info.channels if reading.channel is None else 1)
    except AudioError as error:
        return "no signal", error.what, error.mend
    return len(wave) / rate


def _kind(ref: str, reading: Reading) -> str:
    if is_pipe(ref):
        return "undecodable recording" if reading.allow_pipes else "command"
    try:
        refs = ref.split() if reading.multi_columns else [ref]
        found = [os.stat(file_of(one)) for one in refs]  # noqa: PTH116
    except (OSError, ValueError):
        return "missing recording"
    if any(kind_of(status.st_mode) for status in found):
        return "not a file"
    return "undecodable recording" if min(status.st_size for status in found) else "empty recording"


def broken_utterances(scanned: Scanned, check: str, reading: Reading, num_jobs: int) -> dict[str, str]:
    """Return the utterances whose recording or segment cannot be read, each with the reason."""
    wav_scp = scanned.scans["wav.scp"].table
    recordings = read_recordings(wav_scp, check, reading, num_jobs=num_jobs, name=scanned.path.name)
    reasons = {wav_scp.key(row): what for row, (_, what, _) in recordings.broken.items()}
    if "segments" not in scanned.scans:
        return reasons
    segments = scanned.scans["segments"].table
    rows = scan_segments(segments, wav_scp)[0].recordings.tolist()
    broken = {
        segments.key(row): f"recording '{wav_scp.key(recording)}': {recordings.broken[recording][1]}"
        for row, recording in enumerate(rows)
        if recording in recordings.broken
    }
    outside = overlong(segments, wav_scp, recordings).tolist()
    return broken | {segments.key(row): "outside its recording" for row in outside}
