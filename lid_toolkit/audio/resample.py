"""Sample rate and speed conversion by libsoxr (https://sourceforge.net/p/soxr), high quality."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray


def resampled_length(num_samples: int, from_rate: float, to_rate: float) -> int:
    """Return the number of samples that :func:`resample` returns: the exact duration, rounded half up."""
    return math.floor(num_samples * to_rate / from_rate + 0.5)


def resample(wave: NDArray[np.float32], from_rate: float, to_rate: float) -> NDArray[np.float32]:
    """Convert a (samples,) waveform from one rate in Hz to another.

    libsoxr's high-quality recipe: linear phase, pass band to 0.91 of the lower Nyquist frequency,
    stop band from there on at -120 dB. The result has ``resampled_length(...)`` samples.
    """
    if from_rate == to_rate:
        return wave
    length = resampled_length(len(wave), from_rate, to_rate)
    converted = soxr.resample(np.ascontiguousarray(wave, dtype=np.float32), from_rate, to_rate, quality="HQ")
    if len(converted) < length:
        converted = np.pad(converted, (0, length - len(converted)))
    return np.asarray(converted[:length], dtype=np.float32)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], from_rate: float, to_rate: float
) -> Iterator[NDArray[np.float32]]:
    """Convert a waveform that comes in blocks (samples,) of any size; memory does not grow with its length.

    The results, joined, are those of :func:`resample` for the joined blocks, except for rounding.
    """
    stream = Resampler(from_rate, to_rate)
    for block in blocks:
        yield stream.feed(block)
    yield stream.finish()


class Resampler:
    """Converts a waveform from one rate in Hz to another in blocks; see :func:`resample_blocks`."""

    def __init__(self, from_rate: float, to_rate: float) -> None:
        self._rates = from_rate, to_rate
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
        self._taken = self._given = 0

    def feed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples; return those that are ready at the other rate."""
        if self._rates[0] == self._rates[1]:
            return block
        self._taken += len(block)
        converted = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        self._given += len(converted)
        return np.asarray(converted, dtype=np.float32)

    def finish(self) -> NDArray[np.float32]:
        """Return the remaining samples, so that the length is that of :func:`resample`."""
        lacking = resampled_length(self._taken, *self._rates) - self._given
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)[:lacking] if lacking else ()
        return np.pad(np.asarray(rest, dtype=np.float32), (0, lacking - len(rest)))


def change_speed(wave: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Play a (samples,) waveform ``factor`` times as fast, pitch included, like sox ``speed``.

    The result has ``round(samples / factor)`` samples at the same rate.
    """
    return resample(wave, factor, 1.0)
