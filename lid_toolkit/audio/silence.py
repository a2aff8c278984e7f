"""Recordings without a signal: digital silence, a dead channel, or channels that cancel each other out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.references import AudioError

FLOOR = 2.0**-14
"""Samples within two steps of 16 bits (-78 dB) hold no speech; a constant offset is no signal either."""

BLOCK = 1 << 14


def require_signal(
    read: Callable[[int, int], NDArray[np.float32]], start: int, stop: int, where: str, channels: int = 1
) -> None:
    """Check that samples ``start`` to ``stop`` differ from each other. Reading ends at the first that do.

    Args:
        read: returns the samples, (stop - start,), of a range.
        start: the first sample.
        stop: the sample after the last.
        where: the recording, for the error.
        channels: how many channels were averaged.

    Raises:
        AudioError: they do not.
    """
    least, most = np.inf, -np.inf
    for begin in range(start, stop, BLOCK):
        block = read(begin, min(begin + BLOCK, stop))
        least, most = min(least, float(block.min())), max(most, float(block.max()))
        if most - least > FLOOR:
            return
    raise no_signal(where, channels)


def no_signal(where: str, channels: int = 1) -> AudioError:
    """Return the error for a recording whose samples do not differ by more than ``FLOOR``."""
    if channels > 1:
        what = f"no signal: the mean of its {channels} channels is silent"
        return AudioError(what, where=where, mend="if they cancel each other out, choose one channel")
    return AudioError("no signal: it is silent throughout", where=where, mend="remove it")


def require_signal_in(wave: NDArray[np.float32], where: str, channels: int = 1) -> None:
    """Check that a waveform (samples,) has a signal; see :func:`require_signal`."""
    require_signal(lambda start, stop: wave[start:stop], 0, len(wave), where, channels)
