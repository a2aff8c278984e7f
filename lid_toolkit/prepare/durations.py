"""The duration of each utterance of a data directory, without decoding audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.reader import DEFAULT, Reading
from lid_toolkit.datadir.check import is_speed
from lid_toolkit.datadir.datadir import LENGTHS, DataDir, parse_segments, read_sampling_rate
from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError
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
        LidError: a faulty table, ``utt2num_samples`` has other utterances than ``utt2lang``, or a formatted
            set does not record its sampling rate.
    """
    lengths = data.path / LENGTHS
    if lengths.exists():
        table = read_table(lengths)
        if not table.same_keys(data.utt2lang):
            what = "its utterances differ from those in utt2lang"
            raise LidError(what, where=lengths, redo="formatting")
        return table.integers() / read_sampling_rate(data.path)
    seconds = _unchanged_seconds(data, reading, num_jobs)
    return seconds if data.utt2speed is None else seconds / _speeds(data.utt2speed, data.path)


def _speeds(utt2speed: Table, path: Path) -> NDArray[np.float64]:
    labels, codes = utt2speed.codes()
    for label in labels:
        if not is_speed(label):
            what = f"'{label}' is not a positive number"
            raise LidError(what, where=path / "utt2speed", redo="speed perturbation")
    return np.array([float(label) for label in labels])[codes]


def _unchanged_seconds(data: DataDir, reading: Reading, num_jobs: int) -> NDArray[np.float64]:
    segments = None if data.segments is None else parse_segments(data.segments, data.wav_scp)
    if segments is not None and (segments.ends >= 0).all():
        return segments.ends - segments.starts
    recordings = read_recordings(data.wav_scp, "header", reading, num_jobs=num_jobs, name=data.path.name)
    if segments is None:
        return recordings.seconds
    ends = np.where(segments.ends >= 0, segments.ends, recordings.seconds[segments.recordings])
    return ends - segments.starts
