"""Fingerprints of sounds: find the same sound again behind another level, coding, sampling rate or margin.

A fingerprint is coarse and small: log energies in 8 bands and 32 equal time steps, whatever the length.
Sounds with similar fingerprints may be the same; :func:`same_sound` decides it from their spectra, frame by
frame. Both ignore gain, fixed filters and silence at the ends.

Not recognised: a part of a recording, another speed, or a sound with another one added.

Comparing energies of bands and not samples follows Haitsma and Kalker, "A highly robust audio fingerprinting
system", ISMIR 2002.

Shapes: t frames, f frequencies, m bands.
"""

from __future__ import annotations

import itertools
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

BANDS, STEPS = 8, 32
FINE_BANDS = 20
MOST_SHIFT = 20  # frames
SAME_ABOVE = 0.9
DEPTH = 4.0  # dynamic range kept below the maximum, in decades of energy


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of a sound.

    Attributes:
        values: (256,) float32 of length 1, or 0 if the sound is silent.
        seconds: duration from the first to the last active frame.
    """

    values: Floats
    seconds: float


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


def spectra(wave: Floats) -> Floats:
    """Return the power spectra (t, 129) of the frames from the first to the last active one.

    The wave (samples,) at 8 kHz is scaled to a peak of 1; of a silent one, there are no frames.
    """
    framed = frames(wave / max(float(np.abs(wave).max(initial=0.0)), 1e-4))
    loud = np.flatnonzero(active(framed)[0])
    if len(loud) == 0:
        return np.zeros((0, FRAME // 2 + 1), np.float32)
    framed = framed[loud[0] : loud[-1] + 1]
    power_tf: Floats = np.abs(np.fft.rfft(framed * np.hanning(FRAME), axis=1)) ** 2
    return power_tf


def fingerprint(wave: Floats) -> Fingerprint:
    """Return the fingerprint of an 8 kHz wave (samples,)."""
    power_tf = spectra(wave)
    if len(power_tf) == 0:
        return Fingerprint(np.zeros(BANDS * STEPS, np.float32), 0.0)
    bands_tm = np.add.reduceat(power_tf, _edges(BANDS), axis=1)
    edges = np.linspace(0, len(bands_tm), STEPS + 1).astype(int)
    steps = [bands_tm[start : max(stop, start + 1)].mean(axis=0) for start, stop in itertools.pairwise(edges)]
    flat = _log_energies(np.stack(steps)).ravel()
    values = np.asarray(flat / (np.linalg.norm(flat) + 1e-9), np.float32)
    return Fingerprint(values, len(power_tf) * HOP / RATE)


def same_sound(one: Floats, other: Floats) -> float:
    """Return how similar two sounds are, from -1 to 1; above ``SAME_ABOVE`` they are the same.

    It is the correlation of their log energies in 20 bands and frames of 10 ms, at the shift of at most 0.2 s
    where it is highest. Frames that only one of them has count as different.

    Args:
        one: an 8 kHz wave (samples,).
        other: another.
    """
    first_tm, second_tm = (
        _log_energies(np.add.reduceat(power_tf, _edges(FINE_BANDS), axis=1)) if len(power_tf) else None
        for power_tf in (spectra(one), spectra(other))
    )
    if first_tm is None or second_tm is None:
        return 0.0
    scale = float(np.linalg.norm(first_tm) * np.linalg.norm(second_tm)) + 1e-9
    products = []
    for shift in range(-MOST_SHIFT, MOST_SHIFT + 1):
        here, there = first_tm[max(shift, 0) :], second_tm[max(-shift, 0) :]
        frames_in_common = min(len(here), len(there))
        products.append(float(np.vdot(here[:frames_in_common], there[:frames_in_common])))
    return max(products) / scale


def _edges(count: int) -> NDArray[np.int64]:
    """Return the first bin of at most ``count`` bands, whose edges are in equal ratios."""
    return np.unique(np.geomspace(FIRST_BIN, LAST_BIN, count + 1).astype(np.int64)[:-1])


def _log_energies(bands_tm: Floats) -> Floats:
    """Return log energies down to a floor, each band with a mean of 0: without gain and fixed filters."""
    log_energy = np.log10(bands_tm + 1e-6)
    log_energy = np.maximum(log_energy, log_energy.max() - DEPTH)
    centred: Floats = log_energy - log_energy.mean(axis=0)
    return centred
