"""The utterances to format as arrays, in the order in which they are formatted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.references import file_of, is_pipe
from lid_toolkit.datadir.datadir import DataDir, parse_segments, utterance_speeds
from lid_toolkit.datadir.tables.table import Table


class PlannedUtterance(NamedTuple):
    """One utterance to format.

    Its place is in seconds (an end of -1 is the recording's); channel -1 is the one that the options name.
    """

    key: str
    ref: str
    start: float
    end: float
    speed: float
    channel: int = -1


@dataclass(frozen=True)
class UtteranceList:
    """All utterances. Those of a recording are consecutive, sorted by their times.

    All arrays are in the order of formatting.

    Attributes:
        keys: a table with the utterances as keys.
        refs: ``wav.scp``.
        rows_u: row in ``keys`` of each utterance.
        recordings_u: row in ``refs`` of its recording.
        starts_u: start in seconds.
        ends_u: end in seconds; -1 is the recording's end.
        speeds_u: factor of its speed.
        channels_u: channel of the recording, from 0; -1 for the one that the options name.
    """

    keys: Table
    refs: Table
    rows_u: NDArray[np.int64]
    recordings_u: NDArray[np.int64]
    starts_u: NDArray[np.float64]
    ends_u: NDArray[np.float64]
    speeds_u: NDArray[np.float64]
    channels_u: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows_u)

    def utterances(self, first: int, stop: int) -> list[PlannedUtterance]:
        """Return the utterances ``first`` to ``stop``."""
        part = slice(first, stop)
        return [
            PlannedUtterance(self.keys.key(row), self.refs.value(recording), *numbers)
            for row, recording, *numbers in zip(
                self.rows_u[part].tolist(),
                self.recordings_u[part].tolist(),
                self.starts_u[part].tolist(),
                self.ends_u[part].tolist(),
                self.speeds_u[part].tolist(),
                self.channels_u[part].tolist(),
                strict=True,
            )
        ]

    def digest_of_recordings(self, first: int, stop: int, multi_columns: bool) -> str:
        """Return a digest of the sizes and modification times of the utterances' files."""
        state = hashlib.blake2b(digest_size=16)
        for path in self._paths(first, stop, multi_columns):
            try:
                status = os.stat(path)  # noqa: PTH116  # creating millions of Path objects is slow
                state.update(b"%d %d\n" % (status.st_size, status.st_mtime_ns))
            except (OSError, ValueError):
                state.update(b"missing\n")
        return state.hexdigest()

    def _paths(self, first: int, stop: int, multi_columns: bool) -> Iterator[str]:
        last = ""
        for recording in self.recordings_u[first:stop].tolist():
            ref = self.refs.value(recording)
            if ref == last or is_pipe(ref):
                continue
            last = ref
            yield from map(file_of, ref.split() if multi_columns else [ref])


def list_utterances(data: DataDir) -> UtteranceList:
    """List the utterances of a data directory; raises LidError if a speed is not a positive number."""
    count = len(data.utt2lang)
    recordings = np.arange(count)
    starts, ends = np.zeros(count), np.full(count, -1.0)
    channels = np.full(count, -1, dtype=np.int64)
    if data.segments is not None:
        segments = parse_segments(data.segments, data.wav_scp)
        recordings, starts, ends = segments.recordings, segments.starts, segments.ends
        channels = segments.channels
    speeds = utterance_speeds(data)
    order = np.lexsort((speeds, ends, starts, channels, _first_alike(data.wav_scp)[recordings]))
    return UtteranceList(
        data.utt2lang,
        data.wav_scp,
        order,
        recordings[order],
        starts[order],
        ends[order],
        speeds[order],
        channels[order],
    )


def _first_alike(table: Table) -> NDArray[np.int64]:
    """Return for each row the first row with the same value (or, rarely and without harm, the same hash)."""
    hashes = np.fromiter(map(hash, table.values()), dtype=np.int64, count=len(table))
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return first[inverse]
