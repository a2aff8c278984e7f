"""How long each utterance of a data directory is, reading no more than headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.reader import DEFAULT, Reading
from lid_toolkit.datadir.datadir import LENGTHS, DataDir, parse_segments, read_sampling_rate
from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.check_recordings import read_recordings


def utterance_seconds(data: DataDir, reading: Reading = DEFAULT, num_jobs: int = 1) -> NDArray[np.float64]:
    """Return (utterances,) seconds in the order of ``utt2lang``, NaN where the recording cannot be read.

    They come from ``utt2num_samples`` where there is one, then from ``segments``, and from the headers
    of recordings only where neither tells; ``utt2speed`` divides them.

    Args:
        data: the directory.
        reading: how references are understood.
        num_jobs: how many processes read headers.

    Raises:
        LidError: ``utt2num_samples`` is of other utterances, or a faulty table; a formatted set does
            not record its sampling rate.
    """
    lengths = data.path / LENGTHS
    if lengths.exists():
        table = read_table(lengths)
        if not table.same_keys(data.utt2lang):
            mend = "run stage 3 again"
            raise LidError("names other utterances than utt2lang", where=lengths, mend=mend)
        return table.integers() / read_sampling_rate(data.path)
    seconds = _unchanged_seconds(data, reading, num_jobs)
    return seconds if data.utt2speed is None else seconds / _speeds(data.utt2speed, data.path)


def _speeds(utt2speed: Table, path: Path) -> NDArray[np.float64]:
    labels, codes = utt2speed.codes()
    try:
        speeds = np.array([float(label) for label in labels])
    except ValueError as error:
        raise LidError(str(error), where=path / "utt2speed", mend="make the directory again") from None
    if not ((speeds > 0) & (speeds < np.inf)).all():
        raise LidError("speeds that are none", where=path / "utt2speed", mend="make the directory again")
    return speeds[codes]


def _unchanged_seconds(data: DataDir, reading: Reading, num_jobs: int) -> NDArray[np.float64]:
    segments = None if data.segments is None else parse_segments(data.segments, data.wav_scp)
    if segments is not None and (segments.ends >= 0).all():
        return segments.ends - segments.starts
    recordings = read_recordings(data.wav_scp, "header", reading, num_jobs=num_jobs, name=data.path.name)
    if segments is None:
        return recordings.seconds
    ends = np.where(segments.ends >= 0, segments.ends, recordings.seconds[segments.recordings])
    return ends - segments.starts
