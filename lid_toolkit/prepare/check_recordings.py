"""Check that the recordings of a data directory exist, can be decoded and are as long as their segments."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.reader import DEFAULT, Reading, audio_info, read_audio
from lid_toolkit.audio.references import COPY_AGAIN, AudioError, file_of, is_pipe, kind_of
from lid_toolkit.audio.silence import require_signal_in
from lid_toolkit.audio.writer import is_too_long
from lid_toolkit.datadir.check import Scanned
from lid_toolkit.datadir.datadir import Segments
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

Work = TypeVar("Work")
Result = TypeVar("Result")

Broken: TypeAlias = "tuple[str, str, str]"
"""Why a recording cannot be used: the kind of fault, one of ``KINDS``; the reason; how to mend it."""

Track: TypeAlias = "tuple[int, int]"
"""A recording's row in ``wav.scp``, and a channel of it, from 0; -1 for what the options name."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """The result of reading the recordings of a ``wav.scp``.

    Attributes:
        seconds: (rows,) duration of each recording, NaN if it cannot be read.
        broken: for each channel of a recording that cannot be used: why.
    """

    seconds: NDArray[np.float64]
    broken: dict[Track, Broken]


def read_recordings(
    wav_scp: Table,
    check: str = "header",
    reading: Reading = DEFAULT,
    *,
    segments: Segments | None = None,
    num_jobs: int = 1,
    name: str = "wav.scp",
) -> Recordings:
    """Read the headers of all recordings or, if ``check`` is ``decode``, all samples.

    Only ``decode`` finds recordings without a signal.

    Args:
        wav_scp: the recordings.
        check: ``header`` or ``decode``.
        reading: how to read references.
        segments: segments of the recordings; a channel that they name is read instead of that of ``reading``.
        num_jobs: number of processes.
        name: name of the set in progress lines.
    """
    seconds = np.full(len(wav_scp), np.nan)
    broken: dict[Track, Broken] = {}
    channels = _named_channels(segments) if segments is not None else {}
    work = functools.partial(_read_chunk, decode=check == "decode", reading=reading)
    title = f"read {'audio' if check == 'decode' else 'headers'} of {name}"
    with Progress(title, len(wav_scp), "rec") as progress:
        row = 0
        for results in spread(work, _chunks(wav_scp, channels), num_jobs):
            for of_channels in results:
                for channel, result in of_channels.items():
                    if isinstance(result, float):
                        seconds[row] = result
                    else:
                        broken[row, channel] = result
                row += 1
            progress.advance(len(results), float(np.nansum(seconds[row - len(results) : row])))
    return Recordings(seconds, broken)


def _named_channels(segments: Segments) -> dict[int, list[int]]:
    """Return the channels that segments name, for each recording's row with at least one."""
    pairs_n2 = np.stack((segments.recordings, segments.channels), axis=1)[segments.recordings >= 0]
    rows = set(pairs_n2[pairs_n2[:, 1] >= 0, 0].tolist())
    channels: dict[int, list[int]] = {}
    for row, channel in np.unique(pairs_n2, axis=0).tolist() if rows else ():
        if row in rows:
            channels.setdefault(row, []).append(channel)
    return channels


def recording_faults(scanned: Scanned, recordings: Recordings) -> list[Faults]:
    """Return the faults of broken recordings, and of segments outside their recording.

    As in formatting, a segment may end up to half a second after its recording.
    """
    scan, path = scanned.scans["wav.scp"], scanned.path / "wav.scp"
    found = []
    groups = {(kind, mend) for kind, _, mend in recordings.broken.values()}
    for kind, mend in sorted(groups, key=lambda group: (KINDS.index(group[0]), group[1])):
        those = [
            track for track, (has, _, needs) in recordings.broken.items() if (has, needs) == (kind, mend)
        ]
        rows = np.array([row for row, _ in those], dtype=np.int64)
        describe = functools.partial(_describe_broken, scan.table, recordings, those)
        found.append(Faults(kind, path, scan.lines_of(rows), describe, mend))
    return found + (_overlong_segments(scanned, scanned.parsed[0], recordings) if scanned.parsed else [])


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


def overlong(segments: Segments, recordings: Recordings) -> NDArray[np.int64]:
    """Return the rows of segments that start or end after their recording, with a tolerance at the end."""
    homed = segments.recordings >= 0
    seconds = np.full(len(homed), np.nan)
    seconds[homed] = recordings.seconds[segments.recordings[homed]]
    return np.flatnonzero((segments.starts >= seconds) | (segments.ends > seconds + LONGEST_OVERSHOOT_S))


def _overlong_segments(scanned: Scanned, segments: Segments, recordings: Recordings) -> list[Faults]:
    scan, wav_scp = scanned.scans["segments"], scanned.scans["wav.scp"].table
    rows = overlong(segments, recordings)
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


def _describe_broken(table: Table, recordings: Recordings, tracks: Sequence[Track], number: int) -> str:
    row, channel = tracks[number]
    of_channel = f", channel {channel}" if channel >= 0 else ""
    return f"'{table.key(row)}'{of_channel}: {table.value(row)}: {recordings.broken[row, channel][1]}"


Chunk: TypeAlias = "list[tuple[str, Sequence[int]]]"
"""References of recordings, each with the channels to read, -1 for what the options name."""
Results: TypeAlias = "list[dict[int, float | Broken]]"
"""For each recording of a chunk, by channel: its duration in seconds, or why it cannot be used."""


def _chunks(wav_scp: Table, channels: Mapping[int, Sequence[int]]) -> Iterator[Chunk]:
    refs = ((ref, channels.get(row, (-1,))) for row, ref in enumerate(wav_scp.values()))
    return iter(lambda: list(itertools.islice(refs, CHUNK)), [])


def spread(work: Callable[[Work], Result], chunks: Iterator[Work], num_jobs: int) -> Iterator[Result]:
    """Yield ``work(chunk)`` for each chunk, in order, computed by ``num_jobs`` processes.

    A limited number of chunks is submitted at a time.
    """
    if num_jobs == 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(num_jobs) as pool:
        while batch := list(itertools.islice(chunks, 16 * num_jobs)):
            yield from pool.map(work, batch)


def _read_chunk(chunk: Chunk, decode: bool, reading: Reading) -> Results:
    return [
        {channel: _read(ref, decode, _of_channel(reading, channel)) for channel in channels}
        for ref, channels in chunk
    ]


def _of_channel(reading: Reading, channel: int) -> Reading:
    return reading if channel < 0 else replace(reading, channel=channel)


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
    parsed = scanned.parsed[0] if scanned.parsed else None
    recordings = read_recordings(
        wav_scp, check, reading, segments=parsed, num_jobs=num_jobs, name=scanned.path.name
    )
    if parsed is None:
        return {wav_scp.key(row): what for (row, _), (_, what, _) in recordings.broken.items()}
    segments = scanned.scans["segments"].table
    tracks = zip(parsed.recordings.tolist(), parsed.channels.tolist(), strict=True)
    broken = {
        segments.key(row): f"recording '{wav_scp.key(track[0])}': {recordings.broken[track][1]}"
        for row, track in enumerate(tracks)
        if track in recordings.broken
    }
    outside = overlong(parsed, recordings).tolist()
    return broken | {segments.key(row): "outside its recording" for row in outside}
