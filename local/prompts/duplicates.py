"""Find duplicate recordings with a fingerprint that ignores level, sampling rate and silence at the ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from local.prompts.speech import FIRST_BIN, FRAME, LAST_BIN, Wave, active, frames

Fingerprint = npt.NDArray[np.float32]

BANDS, STEPS = 8, 32
DEPTH = 4.0  # dynamic range kept below the maximum, in decades of energy
SAME_ABOVE = 0.97
SAME_LENGTH_WITHIN = 0.05


def fingerprint(wave: Wave) -> Fingerprint:
    """Return the fingerprint (256,) of an 8 kHz wave (samples,), a float32 vector of unit length.

    It holds log energies in 8 bands and 32 equal time steps from the first to the last active frame. The
    mean of each band is subtracted, which removes gain and fixed filters.
    """
    framed = frames(wave / max(float(np.abs(wave).max(initial=0.0)), 1e-4))
    loud = np.flatnonzero(active(framed)[0])
    if len(loud) == 0:
        return np.zeros(BANDS * STEPS, np.float32)
    framed = framed[loud[0] : loud[-1] + 1]
    power = np.abs(np.fft.rfft(framed * np.hanning(FRAME), axis=1)) ** 2
    band_edges = np.geomspace(FIRST_BIN, LAST_BIN, BANDS + 1).astype(int)
    bands = np.add.reduceat(power, band_edges[:-1], axis=1)
    step_edges = np.linspace(0, len(bands), STEPS + 1).astype(int)
    steps = [
        bands[start : max(stop, start + 1)].mean(axis=0) for start, stop in itertools.pairwise(step_edges)
    ]
    log_energy = np.log10(np.stack(steps) + 1e-6)
    log_energy = np.maximum(log_energy, log_energy.max() - DEPTH)
    flat = (log_energy - log_energy.mean(axis=0)).ravel()
    return np.asarray(flat / (np.linalg.norm(flat) + 1e-9), np.float32)


def first_copies(fingerprints: Sequence[Fingerprint], seconds: Sequence[float]) -> list[int | None]:
    """Return, for each recording, the index of the first recording that it duplicates, or None.

    Duplicates have a cosine similarity above 0.97 and durations that differ by less than 5 %. Among the
    Debian prompts, duplicates have a similarity above 0.98 and different recordings below 0.97.
    """
    if not fingerprints:
        return []
    prints = np.stack(fingerprints)
    log_seconds = np.log(np.maximum(seconds, 1e-3))
    copies: list[int | None] = []
    for index in range(len(prints)):
        alike = prints[:index] @ prints[index] > SAME_ABOVE
        alike &= np.abs(log_seconds[:index] - log_seconds[index]) < SAME_LENGTH_WITHIN
        found = np.flatnonzero(alike)
        copies.append(int(found[0]) if len(found) else None)
    return copies
