"""Detect recordings that are tones, noise or silence rather than speech, from acoustic measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.fingerprint import FIRST_BIN, FRAME, LAST_BIN, active, frames

Wave = npt.NDArray[np.float32]

PITCH_LAGS = slice(20, 120)  # 67 to 400 Hz
STRONGEST_BINS = 6

SILENT_BELOW_DB = -55.0
TONE_ABOVE = 0.95
NOISE_BELOW_VOICING = 0.4


@dataclass(frozen=True)
class Measures:
    """Acoustic measures that distinguish speech from other sounds.

    Attributes:
        level_db: mean power of the frames in dB, weighted by power so that pauses have no effect.
        tonality: fraction of a frame's energy in its six strongest 31 Hz bins, 10th percentile over the
            active frames. Near 1 for tones and beeps; at most 0.93 for speech, which has fricatives.
        voicing: highest normalised autocorrelation at a pitch lag, 90th percentile over the active frames.
            Near 0.25 for noise; at least 0.4 for speech, which has vowels.
    """

    level_db: float
    tonality: float
    voicing: float


def measure(wave: Wave) -> Measures:
    """Measure an 8 kHz wave (samples,) in [-1, 1]."""
    framed = frames(wave)
    loud, level = active(framed)
    if not loud.any():
        return Measures(level, 0.0, 0.0)
    power = np.abs(np.fft.rfft(framed[loud] * np.hanning(FRAME), axis=1)) ** 2
    band = power[:, FIRST_BIN:LAST_BIN]
    strongest = np.partition(band, -STRONGEST_BINS, axis=1)[:, -STRONGEST_BINS:].sum(axis=1)
    correlation = np.fft.irfft(power, axis=1)
    voicing = correlation[:, PITCH_LAGS].max(axis=1) / (correlation[:, 0] + 1e-12)
    return Measures(
        level,
        tonality=float(np.quantile(strongest / (band.sum(axis=1) + 1e-12), 0.1)),
        voicing=float(np.quantile(voicing, 0.9)),
    )


def fault(measures: Measures) -> str:
    """Return why the recording is not speech, or ``""``. docs/corpora.md explains the limits."""
    if measures.level_db < SILENT_BELOW_DB:
        return f"silence (level {measures.level_db:.0f} dB)"
    if measures.tonality > TONE_ABOVE:
        return f"tone (tonality {measures.tonality:.2f})"
    if measures.voicing < NOISE_BELOW_VOICING:
        return f"noise (voicing {measures.voicing:.2f})"
    return ""
