"""Sample rate and speed conversion by libsoxr (https://sourceforge.net/p/soxr), high quality."""

from __future__ import annotations

import math

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


def change_speed(wave: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Play a (samples,) waveform ``factor`` times as fast, pitch included, like sox ``speed``.

    The result has ``round(samples / factor)`` samples at the same rate.
    """
    return resample(wave, factor, 1.0)
