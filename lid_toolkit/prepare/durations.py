"""The duration of each utterance of a data directory, without decoding audio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.reader import DEFAULT, Reading
from lid_toolkit.datadir.datadir import (
    LENGTHS,
    DataDir,
    parse_segments,
    read_lengths,
    read_sampling_rate,
    utterance_speeds,
)
from lid_toolkit.prepare.check_recordings import read_recordings


def utterance_seconds(data: DataDir, reading: Reading = DEFAULT, num_jobs: int = 1) -> NDArray[np.float64]:
    """Return (utterances,) seconds in the order of ``utt2lang``, NaN for recordings that cannot be read.

    The seconds come from ``utt2num_samples`` if it exists, else from ``segments``, else from the headers of
    the recordings, and are divided by ``utt2speed``.

    Args:
        data: the directory.
        reading: how to read references.
        num_jobs: number of processes that read headers.

    Raises:
        LidError: a table is not valid, ``utt2num_samples`` has other utterances than ``utt2lang``, or a
            formatted set does not record its sampling rate.
    """
    if (data.path / LENGTHS).exists():
        lengths = read_lengths(data.path, data.utt2lang).integers()
        return lengths / read_sampling_rate(data.path)
    return _unchanged_seconds(data, reading, num_jobs) / utterance_speeds(data)


def _unchanged_seconds(data: DataDir, reading: Reading, num_jobs: int) -> NDArray[np.float64]:
    segments = None if data.segments is None else parse_segments(data.segments, data.wav_scp)
    if segments is not None and (segments.ends >= 0).all():
        return segments.ends - segments.starts
    recordings = read_recordings(data.wav_scp, "header", reading, num_jobs=num_jobs, name=data.path.name)
    if segments is None:
        return recordings.seconds
    ends = np.where(segments.ends >= 0, segments.ends, recordings.seconds[segments.recordings])
    return ends - segments.starts
