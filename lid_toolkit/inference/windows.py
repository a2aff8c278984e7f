"""Recordings of any length as windows, read in blocks, and the evidence of all windows together.

The evidence for a language c is the mean of the log posteriors of all windows w, weighted by their seconds
of speech s_w and normalised:

    e_c = sum over w of s_w * log p_w(c) / sum over w of s_w,      log p(c) = e_c - log(sum over k of exp(e_k))

Without a detector of speech, s_w is the length of the window. This is the geometric mean of the windows'
posteriors. With one window it is that window's posterior. A vote of the windows would not be: it forgets how
certain each window is, so that three hesitant windows win over two certain ones, and its shares are no
posteriors.

Shapes: n windows, c languages, t samples or frames.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.reader import AudioError
from lid_toolkit.audio.resample import resample, resample_blocks, resampled_length
from lid_toolkit.audio.silence import FLOOR, no_signal
from lid_toolkit.audio.speech_activity import SpeechTrack, detector, seconds_of_speech
from lid_toolkit.errors import LidError
from lid_toolkit.inference.prediction import Detector, Prediction
from lid_toolkit.inference.speech import Floats, Samples, Speech, opened

LONGEST_PASS_S = 600.0
"""Longer recordings are cut into windows even if none were asked for: memory grows with the length."""

LONG_WINDOW_S = 30.0
BLOCK_S = 10.0

Abstains = Callable[[float, "float | None", Detector], "Prediction | None"]
"""From seconds of audio, seconds of speech and the detector to the record of an input that needs no scores."""


@dataclass(frozen=True)
class Clip:
    """Samples that the model scores at once: a window, or a whole recording.

    Attributes:
        wave: (samples,) at the model's rate.
        start: place of its first sample in the recording, at the model's rate.
    """

    wave: Floats
    start: int


@dataclass(frozen=True)
class Summary:
    """What is known about an input after it was read to its end.

    Attributes:
        duration: seconds of audio.
        speech_seconds: seconds of speech; None if no detector was used.
        vad: the detector.
        speech_t: probability of speech of each frame; None if no detector was used.
        early: the record of an input that needs no scores; else None.
        silent: why there is no signal; else None.
    """

    duration: float
    speech_seconds: float | None
    vad: Detector
    speech_t: Floats | None
    early: Prediction | None
    silent: AudioError | None

    def seconds(self, start: float, end: float) -> float:
        """Return the seconds of speech between two times in seconds; all of it without a detector."""
        return end - start if self.speech_t is None else seconds_of_speech(self.speech_t, start, end)


@dataclass(frozen=True)
class Windowing:
    """How long recordings are cut.

    Attributes:
        window: seconds of a window; None: recordings of up to ``LONGEST_PASS_S`` are not cut, and longer
            ones into windows of ``LONG_WINDOW_S`` that do not overlap.
        hop: seconds from one window to the next; None: half a window.

    Raises:
        LidError: ``window`` is not above 0, or ``hop`` is not above 0 and at most ``window``.
    """

    window: float | None = None
    hop: float | None = None

    def __post_init__(self) -> None:
        if self.window is None:
            if self.hop is not None:
                raise LidError("has no effect without window", where="hop", mend="give window too")
        elif not 0 < self.window < np.inf:
            raise LidError(f"must be above 0 s, not {self.window}", where="window")
        elif self.hop is not None and not 0 < self.hop <= self.window:
            what = f"must be above 0 s and at most window ({self.window:g} s), not {self.hop}"
            raise LidError(what, where="hop")

    def starts(self, total: int, rate: int) -> tuple[list[int], int]:
        """Return the first sample of each window of a recording, and the samples of a window.

        The last window ends with the recording, and has the length of the others.

        Args:
            total: samples of the recording.
            rate: samples per second.
        """
        window, hop = self.window, self.hop
        if window is None:
            if total <= LONGEST_PASS_S * rate:
                return [0], total
            window = hop = LONG_WINDOW_S
        size = max(1, round(window * rate))
        step = max(1, round((window / 2 if hop is None else hop) * rate))
        if total <= size:
            return [0], total
        return [*range(0, total - size, step), total - size], size


@dataclass(frozen=True)
class Listener:
    """Reads inputs as clips.

    Attributes:
        rate: the model's samples per second.
        array_rate: samples per second of arrays without a rate.
        windowing: how long recordings are cut.
        vad: the name of a detector of speech.
        abstains: whether scores are needed.
    """

    rate: int
    array_rate: float
    windowing: Windowing
    vad: str
    abstains: Abstains

    def read(self, item: Speech, name: str) -> Iterator[Clip | Summary]:
        """Yield the clips of an input and then its summary.

        Of an input that has a single clip and needs no scores, only the summary is yielded.

        Args:
            item: the input.
            name: what errors call it, unless it is a path.

        Raises:
            AudioError: the input cannot be read.
        """
        with opened(item, self.array_rate, name) as samples:
            total = resampled_length(samples.length, samples.rate, self.rate)
            if not total:
                raise AudioError("no samples", where=name, mend="leave it out")
            starts, size = self.windowing.starts(total, self.rate)
            whole = len(starts) == 1
            observer = Observer(self.rate, self.vad)
            blocks = observer.watch(_blocks(samples, self.rate, whole))
            clips = cut(blocks, starts, size)
            single = next(clips) if whole else None
            if single is None:
                yield from clips
            for _ in blocks:
                pass  # every window is complete, but the recording is read to its end
            summary = observer.summary(samples, self.abstains)
            if single is not None and summary.early is None and summary.silent is None:
                yield single
            yield summary


def _blocks(samples: Samples, rate: int, whole: bool) -> Iterator[Floats]:
    """Yield samples at another rate, all at once or in blocks."""
    if whole:
        yield np.ascontiguousarray(resample(samples.read(0, samples.length), samples.rate, rate))
        return
    size = max(1, round(BLOCK_S * samples.rate))
    begins = range(0, samples.length, size)
    read = (samples.read(begin, min(begin + size, samples.length)) for begin in begins)
    yield from resample_blocks(read, samples.rate, rate)


def cut(blocks: Iterable[Floats], starts: Sequence[int], size: int) -> Iterator[Clip]:
    """Yield the clips of ``size`` samples that begin at ``starts``, ascending, from samples in blocks."""
    waiting, held, first = deque(starts), np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block])
        while waiting and first + len(held) >= waiting[0] + size:
            begin = waiting.popleft()
            yield Clip(held[begin - first : begin - first + size].copy(), begin)
        passed = min((waiting[0] - first) if waiting else len(held), len(held))
        held, first = held[passed:], first + passed


@dataclass
class Observer:
    """Sees all samples of a recording while they are read: is there a signal, where is speech.

    Attributes:
        rate: samples per second.
        vad: the name of a detector of speech.
    """

    rate: int
    vad: str
    _range: tuple[float, float] = (np.inf, -np.inf)
    _seen: int = 0
    _speech: list[Floats] = field(default_factory=list)

    def watch(self, blocks: Iterator[Floats]) -> Iterator[Floats]:
        """Yield the blocks unchanged."""
        track: SpeechTrack | None = None
        with contextlib.suppress(KeyError):
            track = detector(self.vad).track(self.rate) if self.vad != "none" else None
        for block in blocks:
            self._seen += len(block)
            low, high = self._range
            self._range = min(low, float(block.min(initial=low))), max(high, float(block.max(initial=high)))
            if track is not None:
                self._speech.append(track.feed(block))
            yield block
        if track is not None:
            self._speech.append(track.finish())
