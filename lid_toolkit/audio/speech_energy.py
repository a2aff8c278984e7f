"""Speech by its energy alone: frames that are louder than the quietest moments around them.

The level of the background is the minimum of the level within some seconds, as in R. Martin, "Noise power
spectral density estimation based on optimal smoothing and minimum statistics", IEEE Transactions on Speech
and Audio Processing 9(5), 2001, here of the whole spectrum at once. What is steady is no speech at any level:
hum, hiss, tones. What rises and falls as fast as speech cannot be told from speech: music, knocks, traffic.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

QUIETEST_DB = -65.0
"""Frames below this level, see :func:`levels_db`, are no speech, and no background either."""

ABOVE_DB = 9.0
BEFORE, AFTER = 47, 47
"""Frames before and after a frame (1.5 s) in which the background is searched."""

SHORTEST = 3
"""Fewer loud frames in a row (96 ms) are a click."""

HANGOVER = 6
"""Frames after loud ones (192 ms) that are speech too: weak ends of words."""


class EnergyScorer:
    """Gives 1 for the frames of speech of one recording, 0 for the others. It looks ahead 1.6 s."""

    _history = HANGOVER + SHORTEST - 1 + BEFORE
    _ahead = SHORTEST - 1 + AFTER

    def __init__(self) -> None:
        self._last_sample = np.zeros((1, 1), np.float32)
        self._levels = np.full(self._history, np.inf)

    def score(self, frames_tn: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames, (frames, samples); return the decisions of those 1.6 s before, (frames,)."""
        before_tn = np.concatenate([self._last_sample, frames_tn[:-1, -1:]])
        self._last_sample = frames_tn[-1:, -1:]
        return self._decide(levels_db(frames_tn, before_tn))

    def finish(self) -> NDArray[np.float32]:
        """Return the decisions of the frames that wait for later ones."""
        return self._decide(np.full(self._ahead, np.inf))

    def _decide(self, levels_t: NDArray[np.float64]) -> NDArray[np.float32]:
        self._levels = np.concatenate([self._levels, levels_t])
        if len(self._levels) <= self._history + self._ahead:
            return np.empty(0, np.float32)
        speech_t = is_speech(self._levels)
        self._levels = self._levels[len(speech_t) :]
        return speech_t.astype(np.float32)


def levels_db(frames_tn: NDArray[np.float32], before_t1: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the levels of frames in dB, (frames,): the RMS of the differences of successive samples.

    Differences weaken low frequencies, whose level changes from frame to frame even in steady noise. A frame
    that is too quiet for speech gets an infinite level.

    Args:
        frames_tn: (frames, samples).
        before_t1: the sample before each frame.
    """
    earlier_tn = np.concatenate([before_t1, frames_tn[:, :-1]], axis=1)
    power_t = np.square(frames_tn - earlier_tn).mean(axis=1, dtype=np.float64)
    levels_t = 10 * np.log10(np.maximum(power_t, 1e-12))
    return np.where(levels_t < QUIETEST_DB, np.inf, levels_t)


def is_speech(levels_t: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which frames are speech, (frames - context,), from levels in dB, infinite ones left out.

    The context is what a decision needs of earlier and later frames: the first and the last frames have none.
    """
    background_t = sliding_window_view(levels_t, BEFORE + 1 + AFTER).min(axis=1)
    middle_t = levels_t[BEFORE:][: len(background_t)]
    loud_t = np.isfinite(middle_t) & (np.where(np.isfinite(middle_t), middle_t, 0) > background_t + ABOVE_DB)
    runs_t = np.asarray(sliding_window_view(loud_t, SHORTEST).all(axis=1))
    return np.asarray(sliding_window_view(runs_t, SHORTEST + HANGOVER).any(axis=1))
