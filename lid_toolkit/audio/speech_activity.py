"""Which parts of a recording are speech: a detector gives the probability of speech for each frame of 32 ms.

Audio of any rate comes in chunks of any size, so that hours need no more memory than seconds. The frames do
not depend on the sizes of the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from lid_toolkit.audio.silero import SileroModel, is_installed
from lid_toolkit.audio.speech_energy import EnergyScorer
from lid_toolkit.errors import LidError, nearest

RATE = 16000
FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / RATE
THRESHOLD = 0.5
"""Frames of at least this probability are speech, as in silero-vad's own ``get_speech_timestamps``."""

CHUNK_S = 60
NAMES = ("auto", "silero", "energy", "none")

_NONE = np.empty(0, np.float32)


class Scorer(Protocol):
    """Gives the probability of speech for the frames of one recording. It may look ahead."""

    def score(self, frames_tn: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames at 16 kHz; return probabilities, in order, of the frames that are decided."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """Return the probabilities of the frames that were not decided yet."""
        ...


@dataclass(frozen=True)
class Detector:
    """A way to find speech. It has no state and can be pickled, and threads can share it.

    Attributes:
        name: ``silero``, ``energy`` or ``none``.
        begin: returns the scorer of a new recording.
    """

    name: str
    begin: Callable[[], Scorer]

    def track(self, rate: int) -> SpeechTrack:
        """Begin a recording of a rate in Hz, which will come in chunks."""
        return SpeechTrack(self.begin(), rate)


def detector(name: str = "auto") -> Detector:
    """Return a detector of speech.

    Args:
        name: ``silero``, the neural network of silero-vad; ``energy``, see
            :mod:`lid_toolkit.audio.speech_energy`; ``auto``, silero where it is installed, else energy; or
            ``none``, for which everything is speech.

    Raises:
        LidError: the name is unknown, or silero-vad or onnxruntime is not installed.
    """
    if name not in NAMES:
        raise LidError(f"unknown speech detector '{name}'", mend=nearest(name, NAMES))
    if name == "auto":
        name = "silero" if is_installed() else "energy"
    if name == "silero":
        return Detector(name, SileroModel().begin)
    return Detector(name, EnergyScorer if name == "energy" else _Everything)


class SpeechTrack:
    """The frames of one recording, which comes in chunks.

    Args:
        scorer: gives the probabilities.
        rate: sampling rate of the recording in Hz.
    """

    def __init__(self, scorer: Scorer, rate: int) -> None:
        self._scorer, self._rest = scorer, _NONE
        self._resampler = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, "float32", "HQ")

    def feed(self, chunk_t: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples, (samples,) in [-1, 1]; return the probabilities of frames decided by now.

        Detectors and resampling look ahead: the last frames come with a later chunk, or from :meth:`finish`.
        """
        return self._score(self._resampled(chunk_t, last=False))

    def finish(self) -> NDArray[np.float32]:
        """Return the probabilities of the remaining frames. The last frame may be filled up with zeros."""
        wave_t = np.concatenate([self._rest, self._resampled(_NONE, last=True)])
        self._rest = _NONE
        padded_t = np.pad(wave_t, (0, -len(wave_t) % FRAME_SAMPLES))
        return np.concatenate([self._score(padded_t), self._scorer.finish()])

    def _resampled(self, chunk_t: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        if self._resampler is None:
            return chunk_t
        resampled_t: NDArray[np.float32] = self._resampler.resample_chunk(
            np.ascontiguousarray(chunk_t, np.float32), last=last
        )
        return resampled_t

    def _score(self, wave_t: NDArray[np.float32]) -> NDArray[np.float32]:
        wave_t = np.concatenate([self._rest, wave_t]).astype(np.float32, copy=False)
        end = len(wave_t) - len(wave_t) % FRAME_SAMPLES
        self._rest = wave_t[end:]
        return self._scorer.score(wave_t[:end].reshape(-1, FRAME_SAMPLES)) if end else _NONE


class _Everything:
    """Calls everything speech."""

    def score(self, frames_tn: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones(len(frames_tn), np.float32)

    def finish(self) -> NDArray[np.float32]:
        return _NONE


def speech_frames(
    wave_t: NDArray[np.float32], rate: int, using: Detector | None = None
) -> NDArray[np.float32]:
    """Return the probability of speech for each frame of a whole recording.

    Args:
        wave_t: (samples,) in [-1, 1].
        rate: sampling rate in Hz.
        using: the detector; None: ``detector("auto")``.

    Returns:
        (frames,) float32 from 0 to 1, one for each 32 ms that have begun.
    """
    track = (using or detector()).track(rate)
    starts = range(0, len(wave_t), CHUNK_S * rate)
    return np.concatenate(
        [*(track.feed(wave_t[start : start + CHUNK_S * rate]) for start in starts), track.finish()]
    )


def speech_seconds(wave_t: NDArray[np.float32], rate: int, using: Detector | None = None) -> float:
    """Return the seconds of speech in a whole recording; see :func:`speech_frames`."""
    return seconds_of_speech(speech_frames(wave_t, rate, using), 0.0, len(wave_t) / rate)


def seconds_of_speech(
    probabilities_t: NDArray[np.float32], start: float, end: float, skipped: int = 0
) -> float:
    """Return the seconds of speech between two times of a recording, to the microsecond.

    Args:
        probabilities_t: (frames,), of the whole recording, or without its first frames.
        start: seconds from the start of the recording.
        end: the same; at least ``start``.
        skipped: number of frames that are left out at the start; they count as no speech.
    """
    first, last = max(skipped, int(start / FRAME_S)), int(np.ceil(end / FRAME_S))
    chosen_t = probabilities_t[first - skipped : max(0, last - skipped)]
    begins_t = np.arange(first, first + len(chosen_t)) * FRAME_S
    seconds_t = np.minimum(begins_t + FRAME_S, end) - np.maximum(begins_t, start)
    # A sum of many frames is off in its last digits, and could exceed the duration.
    return min(round(float(seconds_t[chosen_t >= THRESHOLD].sum()), 6), end - start)
