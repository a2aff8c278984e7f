"""Recorded noise, music, babble and rooms from lists of files, such as MUSAN's and RIRS_NOISES'.

A list is a ``wav.scp`` (``key reference`` lines), or has one reference per line, as in ESPnet. References are
those of :mod:`lid_toolkit.audio.reader`, except commands.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.reader import AudioError, audio_info, open_audio, read_audio
from lid_toolkit.audio.resample import resample, resampled_length
from lid_toolkit.datadir.tables.table import Table, parse_table
from lid_toolkit.errors import LidError, reason_of

Wave = npt.NDArray[np.float32]

PLACES = ("data", "dump/raw")
"""Directories of lists: where the corpus ``noises`` writes them, and where ESPnet has them."""


def list_places(path: str | Path) -> tuple[Path, ...]:
    """Return where a list may be, most important first: the path itself, then its name in PLACES."""
    return tuple(dict.fromkeys([Path(path), *(Path(place, Path(path).name) for place in PLACES)]))


def find_list(path: str | Path) -> Path:
    """Return the file that a list is in, or the path itself if there is none."""
    return next((place for place in list_places(path) if place.exists()), Path(path))


def read_sounds(path: str | Path, mend: str) -> Table:
    """Read a list and check that its first recording can be read, to detect a wrong folder before training.

    Args:
        path: the list, which may also be in one of PLACES.
        mend: advice for users who do not have these recordings.

    Raises:
        LidError: the list does not exist, is empty or faulty, or its first recording cannot be read.
    """
    path = find_list(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        elsewhere = f"; also looked in {' and '.join(PLACES)}" if isinstance(error, FileNotFoundError) else ""
        what = reason_of(error) + elsewhere
        raise LidError(what, where=path, mend=mend) from None
    # A list of references without keys gets line numbers as keys.
    lines = [line.strip() for line in raw.splitlines() if line.strip()]
    if lines and not any(len(line.split(None, 1)) > 1 for line in lines):
        raw = b"".join(b"%09d %s\n" % row for row in enumerate(lines, start=1))
    try:
        table = parse_table(raw, path)
        audio_info(table.value(0))
    except AudioError as error:
        raise LidError(f"first recording: {error.where}: {error.what}", where=path, mend=mend) from None
    return table


def random_part(ref: str, samples: int, rate: int, short_share: float, rng: np.random.Generator) -> Wave:
    """Return a random part of a recording.

    Args:
        ref: reference of the recording.
        samples: length of the part.
        rate: sampling rate of the part in Hz; recordings at other rates are resampled.
        short_share: a recording shorter than this fraction of ``samples`` occurs once, at a random position
            in silence; a longer one that is still too short is repeated.
        rng: generator for the position.

    Raises:
        AudioError: the recording cannot be read.
    """
    with open_audio(ref) as recording:
        info = recording.info
        needed = math.ceil(samples * info.rate / rate)
        longer = info.num_samples > needed
        start = int(rng.integers(info.num_samples - needed + 1)) if longer else 0
        wave = recording.read(start, start + needed if longer else info.num_samples)
    wave = resample(wave, info.rate, rate)
    if longer:
        return np.resize(wave, samples)
    if len(wave) >= short_share * samples:
        return np.resize(wave, samples)
    part = np.zeros(samples, dtype=np.float32)
    start = int(rng.integers(samples - len(wave) + 1))
    part[start : start + len(wave)] = wave
    return part


def impulse_response(ref: str, rate: int) -> Wave:
    """Return a room's impulse response at a sampling rate in Hz, starting at its largest sample.

    The largest sample is the direct sound. The samples before it are the delay on the way to the
    microphone, which would delay the speech.

    Raises:
        AudioError: the recording cannot be read.
    """
    wave, own_rate = read_audio(ref)
    # A response that is too short to resample is used as it is.
    response = resample(wave, own_rate, rate) if resampled_length(len(wave), own_rate, rate) else wave
    return response[int(np.argmax(np.abs(response))) :]
