"""Fingerprints of sounds: find the same sound again behind another level, coding, sampling rate or margin.

A fingerprint is small and does not depend on when the sound starts: the modulation spectrum, which says how
strongly the energy of each of 8 bands changes at each of 32 rates up to 16 Hz. Only magnitudes are kept, so a
shift does not matter, and only energies within 20 dB of a band's maximum, so that silence and noise at the
ends do not either. Sounds with similar fingerprints may be the same; :func:`same_sound` decides it from their
spectra, frame by frame. Both ignore gain and fixed filters.

Not recognised: a part of a recording, another speed, or a sound with another one added.

Modulation spectra: H. Hermansky, "The modulation spectrum in the automatic recognition of speech", ASRU 1997.

Shapes: t frames, m bands, k modulation rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 8000
FRAME, HOP = 256, 80  # 32 ms, 10 ms
FIRST_BIN, LAST_BIN = 4, 122  # 125 Hz to 3.8 kHz
FLOOR_DB = -60.0
RANGE_DB = 30.0

BANDS, RATES, HIGHEST_HZ = 8, 32, 16.0
DEPTH = 2.0  # decades of energy below a band's maximum that count
QUIETEST_BAND = 3.0  # decades below the loudest band: quieter bands have no speech
FINE_BANDS, FINE_DEPTH = 20, 4.0
MOST_SHIFT = 20  # frames
SAME_ABOVE = 0.8
"""Lowest result of :func:`same_sound` for sounds that are the same."""

QUIETEST = 1e-4
"""Highest sample of a wave that has no sound."""

BLOCK = 4096
"""Frames that are computed at once."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of a sound.

    Attributes:
        values: (256,) float32 of length 1, or 0 if there is no sound.
        spread: standard deviation in seconds of the times at which there is energy: a measure of its length.
    """

    values: Floats
    spread: float


def to_8k(wave: Floats, rate: int) -> Floats:
    """Resample a (samples,) wave to 8 kHz, so that measures of recordings at any rate are comparable."""
    return wave if rate == RATE else soxr.resample(wave, rate, RATE)


def frames(wave: Floats) -> Floats:
    """Return overlapping frames (t, 256) of an 8 kHz wave (samples,), padded to at least one frame."""
    padded = np.pad(wave, (0, max(0, FRAME - len(wave))))
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]


def active(framed: Floats) -> tuple[NDArray[np.bool_], float]:
    """Return which frames (t,) are above the floor and within 30 dB of the level, and the level in dB.

    The level is the mean power of the frames, weighted by power, so that pauses have no effect.
    """
    power = framed.var(axis=1) + 1e-12
    level = float(10 * np.log10((power**2).sum() / power.sum()))
    return 10 * np.log10(power) > max(level - RANGE_DB, FLOOR_DB), level


def fingerprint(wave: Floats) -> Fingerprint:
    """Return the fingerprint of an 8 kHz wave (samples,)."""
    if float(np.abs(wave).max(initial=0.0)) < QUIETEST:
        return Fingerprint(np.zeros(RATES * BANDS, np.float32), 0.0)
    log_energy_tm = _log_energies(frames(wave), BANDS)
    highest_m = log_energy_tm.max(axis=0)
    highest_m = np.maximum(highest_m, highest_m.max() - QUIETEST_BAND)
    energy_tm = np.maximum(log_energy_tm - highest_m + DEPTH, 0) / DEPTH
    times_t = np.arange(len(energy_tm), dtype=np.float32) * (HOP / RATE)
    total_t = energy_tm.sum(axis=1)
    mean = float(np.average(times_t, weights=total_t))
    spread = float(np.sqrt(np.average((times_t - mean) ** 2, weights=total_t)))
    return Fingerprint(_modulation(energy_tm, times_t), spread)


def _modulation(energy_tm: Floats, times_t: Floats) -> Floats:
    """Return the magnitudes of modulation, (256,) of length 1, without their trend over the rates."""
    rates_k = np.linspace(HIGHEST_HZ / RATES, HIGHEST_HZ, RATES, dtype=np.float32)
    spectrum_km = np.zeros((RATES, energy_tm.shape[1]), np.complex64)
    for begin in range(0, len(times_t), BLOCK):
        part = slice(begin, begin + BLOCK)
        spectrum_km += (
            np.exp(-2j * np.pi * np.outer(rates_k, times_t[part])).astype(np.complex64) @ energy_tm[part]
        )
    magnitude_km = np.sqrt(np.abs(spectrum_km) * rates_k[:, None])  # speech is modulated less at higher rates
    magnitude_km -= magnitude_km.mean(axis=0)
    slope_k = np.log(rates_k) - np.log(rates_k).mean()
    magnitude_km -= np.outer(slope_k, slope_k @ magnitude_km) / (slope_k @ slope_k)
    return np.asarray(magnitude_km.ravel() / (np.linalg.norm(magnitude_km) + 1e-9), np.float32)


def same_sound(one: Floats, other: Floats) -> float:
    """Return how similar two sounds are, from -1 to 1; above ``SAME_ABOVE`` they are the same.

    It is the correlation of their log energies in 20 bands and frames of 10 ms, from the first to the last
    active frame, at the shift of at most 0.2 s where it is highest. Frames that only one of them has count as
    different.

    Args:
        one: an 8 kHz wave (samples,).
        other: another.
    """
    first_tm, second_tm = _details(one), _details(other)
    products = []
    for shift in range(-MOST_SHIFT, MOST_SHIFT + 1):
        here, there = first_tm[max(shift, 0) :], second_tm[max(-shift, 0) :]
        in_common = min(len(here), len(there))
        products.append(float(np.vdot(here[:in_common], there[:in_common])))
    return max(products) / (float(np.linalg.norm(first_tm) * np.linalg.norm(second_tm)) + 1e-9)


def _details(wave: Floats) -> Floats:
    """Return log energies (t, m) of the active part, down to a floor. Each band has a mean of 0."""
    framed = frames(wave / max(float(np.abs(wave).max(initial=0.0)), QUIETEST))
    loud = np.flatnonzero(active(framed)[0])
    if len(loud) == 0:
        return np.zeros((0, 1), np.float32)
    log_energy_tm = _log_energies(framed[loud[0] : loud[-1] + 1], FINE_BANDS)
    log_energy_tm = np.maximum(log_energy_tm, log_energy_tm.max() - FINE_DEPTH)
    centred: Floats = log_energy_tm - log_energy_tm.mean(axis=0)
    return centred


def _log_energies(framed: Floats, bands: int) -> Floats:
    """Return the decadic logarithms of the energies (t, m) in at most ``bands`` bands of equal ratios."""
    edges = np.unique(np.geomspace(FIRST_BIN, LAST_BIN, bands + 1).astype(np.int64)[:-1])
    window = np.hanning(FRAME).astype(np.float32)
    energies = []
    for begin in range(0, len(framed), BLOCK):
        spectrum = np.fft.rfft(framed[begin : begin + BLOCK] * window, axis=1)
        energies.append(np.add.reduceat(np.abs(spectrum) ** 2, edges, axis=1))
    log_energy_tm: Floats = np.log10(np.concatenate(energies) + 1e-10).astype(np.float32)
    return log_energy_tm
