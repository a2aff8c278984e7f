"""The language of a recording that comes in chunks of any size, with a state of bounded size.

The recording is cut into windows as by :mod:`lid_toolkit.inference.windows`; after each there is an update.
Until the first window is full, there are updates at the same distance for what has come by then. An update
has two answers.

1. For everything so far: the evidence of all windows, as in ``LanguageIdentifier.identify``. At the end, it
   is the answer of ``identify`` for the whole recording with the same windows.
2. The language that is spoken now. Its posterior a is that of a hidden Markov model in which a change to a
   language is as probable as its prior says (the forward algorithm; L. Rabiner, "A tutorial on hidden Markov
   models", Proceedings of the IEEE 77, 1989, section III.A). A window with the log posteriors l, of w seconds
   of which s seconds are speech that no window had before, gives

       log a_c := log(a_c + exp(-penalty) * r_c) + s / w * l_c,      normalised.

   The l are calibrated and without priors, and r_c = prior_c / largest prior, which is 1 for all languages if
   all are equally probable. The first window gives log r_c + l_c. The penalty is the hysteresis: the evidence
   for another language must exceed that for the present one by about so many nats. A language is named, and a
   change told, when it has been the most probable one for ``debounce`` seconds of speech. Without speech,
   nothing changes.

Shapes: t samples or frames, c languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.resample import Resampler
from lid_toolkit.audio.silence import FLOOR, no_signal
from lid_toolkit.audio.speech_activity import FRAME_S, THRESHOLD, Detector, seconds_of_speech
from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import Decider
from lid_toolkit.inference.prediction import Prediction, failed
from lid_toolkit.inference.segmentation import OVERLAP, WINDOW_S, at_least_zero
from lid_toolkit.inference.speech import Floats, opened
from lid_toolkit.inference.windows import Windowing

NAME = "stream"


@dataclass(frozen=True)
class Tracking:
    """How the language of a stream is followed.

    Attributes:
        window: seconds of a window.
        hop: seconds from the start of one window to the next, and from one update to the next; None: a
            quarter of a window.
        penalty: hysteresis in nats, at least 0; see above.
        debounce: seconds of speech, at least 0, for which a language must be the most probable one before it
            is named.

    Raises:
        LidError: a number is out of its range.
    """

    window: float = WINDOW_S
    hop: float | None = None
    penalty: float = 1.0
    debounce: float = 1.0

    def __post_init__(self) -> None:
        Windowing(self.window, self.hop)
        at_least_zero("penalty", self.penalty)
        at_least_zero("debounce", self.debounce)


@dataclass(frozen=True)
class Update:
    """What is known at a time of a stream.

    Attributes:
        time: seconds of the stream that were used.
        language: the language that is spoken now, or was before a pause; None before the first was named.
        score: its posterior, 0 to 1; None without a language.
        changed: whether the language is another one than at the update before.
        decided_at: the time of the update that named a language first; None before it.
        is_last: whether the stream has ended.
        answer: the record of everything up to this time.
    """

    time: float
    language: str | None
    score: float | None
    changed: bool
    decided_at: float | None
    is_last: bool
    answer: Prediction

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as they are written in JSON."""
        return {**asdict(self), "answer": self.answer.as_dict()}


class LanguageStream:
    """A stream of audio. Made by ``LanguageIdentifier.stream``; not for several threads at once.

    Args:
        score: returns the model's log posteriors (C,) of samples (T,).
        rate: the model's samples per second.
        from_rate: samples per second of the chunks.
        decides: the policy.
        detector: finds speech; ``none`` is not run.
        tracking: the windows, and when the language changes.
        top_k: number of labels in the answer's ``scores``; None for all.
    """

    def __init__(
        self,
        score: Callable[[Floats], Floats],
        rate: int,
        from_rate: float,
        decides: Decider,
        detector: Detector,
        tracking: Tracking,
        top_k: int | None = None,
    ) -> None:
        self._score, self._rate, self._from_rate, self._top_k = score, rate, from_rate, top_k
        self._decides = decides
        hop = tracking.window / OVERLAP if tracking.hop is None else tracking.hop
        self._size, self._step = (max(1, round(seconds * rate)) for seconds in (tracking.window, hop))
        self._resampler, self._tape = Resampler(from_rate, rate), _Tape()
        self._speech = _Speech(detector, rate)
        self._evidence = _Evidence(len(decides.labels))
        self._present = _Present(decides, tracking)
        self._least, self._most = np.inf, -np.inf
        self._stop = 0  # the sample after the last one that was used
        self._is_finished = False

    def feed(self, chunk: Any) -> list[Update]:
        """Take the next samples; return an update for each window that they complete.

        An update may come later than its window, because the detector of speech looks ahead: up to 1.6 s for
        ``energy``, a frame of 32 ms for ``silero``.

        Args:
            chunk: samples as for ``LanguageIdentifier.identify``: an array or tensor of shape (samples,),
                (1, samples) or (samples, channels); floats in [-1, 1], int16, int32 or uint8. May be empty.

        Raises:
            AudioError: the chunk is not supported, or not finite. It is left out.
            LidError: the stream has ended.
        """
        self._require_open()
        array = chunk if hasattr(chunk, "__array__") else np.asarray(chunk)
        if not np.size(array):
            return []
        with opened(array, self._from_rate, NAME) as samples:
            wave_t = samples.read(0, samples.length)
        self._take(self._resampler.feed(wave_t))
        return list(self._updates())

    def finish(self) -> list[Update]:
        """End the stream; return the remaining updates, at least one, of which the last has ``is_last``.

        Raises:
            LidError: the stream has ended already.
        """
        self._require_open()
        self._is_finished = True
        self._take(self._resampler.finish())
        self._speech.finish()
        updates = list(self._updates())
        if self._tape.stop > self._stop or 0 < self._stop < self._size:
            updates.append(self._use(self._tape.stop, is_window=True))
        elif not updates:
            updates.append(self._update(changed=False))
        return [*updates[:-1], replace(updates[-1], is_last=True)]

    def follow(self, chunks: Iterable[Any]) -> Iterator[Update]:
        """Yield the updates of all chunks, and end the stream; arguments and errors as in :meth:`feed`."""
        for chunk in chunks:
            yield from self.feed(chunk)
        yield from self.finish()

    def _require_open(self) -> None:
        if self._is_finished:
            raise LidError("has ended", where=NAME, mend="begin another one with LanguageIdentifier.stream")

    @property
    def _has_signal(self) -> bool:
        return self._most - self._least > FLOOR

    def _take(self, wave_t: Floats) -> None:
        self._tape.add(wave_t)
        self._speech.feed(wave_t)

    def _updates(self) -> Iterator[Update]:
        """Yield the updates whose samples and frames of speech have come."""
        while True:
            stop = self._stop + self._step
            if self._stop < self._size < stop:
                stop = self._size
            if stop > self._tape.stop or not self._speech.is_known(stop / self._rate):
                return
            yield self._use(stop, is_window=stop >= self._size)

    def _use(self, stop: int, is_window: bool) -> Update:
        """Use a window, or what has come before the first one is full; both end before sample ``stop``."""
        start = max(0, stop - self._size)
        begin, time, end = start / self._rate, self._stop / self._rate, stop / self._rate
        spoken_s, fresh_s = self._speech.seconds(begin, end), self._speech.seconds(time, end)
        fresh_t = self._tape.read(self._stop, stop)
        self._least = float(fresh_t.min(initial=self._least))
        self._most = float(fresh_t.max(initial=self._most))
        self._stop, changed = stop, False
        if spoken_s > 0:
            scores_c = self._score(self._tape.read(start, stop))
            self._evidence.add(scores_c, spoken_s, is_window)
            if self._has_signal:
                weight = 1.0 if start == 0 else fresh_s * self._rate / self._size
                changed = self._present.hear(scores_c, weight, fresh_s, is_first=start == 0, time=end)
        elif is_window:
            self._evidence.windows += 1
        self._tape.forget(start)
        self._speech.forget(self._tape.start / self._rate)
        return self._update(changed)

    def _update(self, changed: bool) -> Update:
        present = self._present
        time = self._stop / self._rate
        return Update(
            time, present.language, present.score, changed, present.decided_at, False, self._answer(time)
        )

    def _answer(self, time: float) -> Prediction:
        if not self._stop:
            return failed(LidError("no samples", mend="leave it out"))
        speech_s, vad = self._speech.total(time), self._speech.name
        silent = None if self._has_signal else no_signal(NAME)
        early = self._decides.abstains(time, speech_s, vad, silent)  # type: ignore[arg-type]
        if early is not None:
            return early
        scores_c = self._evidence.mean_c()
        if not np.isfinite(scores_c).all():
            return failed(LidError("the model's scores are not finite", mend="use another model"), time)
        windows, top_k = self._evidence.windows, self._top_k
        return self._decides.decide(scores_c, time, speech_s, vad, windows, top_k=top_k)  # type: ignore[arg-type]


class _Tape:
    """The latest values of a sequence, by their places in it."""

    def __init__(self) -> None:
        self.start = self.stop = 0
        self._blocks: list[Floats] = []

    def add(self, block_t: Floats) -> None:
        self._blocks.append(block_t)
        self.stop += len(block_t)

    def read(self, start: int, stop: int) -> Floats:
        joined_t = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        self._blocks = [joined_t]
        return joined_t[start - self.start : stop - self.start]

    def forget(self, before: int) -> None:
        before = min(max(before, self.start), self.stop)
        self._blocks = [self.read(before, self.stop).copy()]
        self.start = before


class _Speech:
    """The frames of speech of a stream; only the latest are kept."""

    def __init__(self, detector: Detector, rate: int) -> None:
        self.name = detector.name
        self._track = None if detector.name == "none" else detector.track(rate)
        self._frames, self._forgotten_s, self._is_finished = _Tape(), 0.0, False

    def feed(self, wave_t: Floats) -> None:
        if self._track is not None:
            self._frames.add(self._track.feed(wave_t))

    def finish(self) -> None:
        self._is_finished = True
        if self._track is not None:
            self._frames.add(self._track.finish())

    def is_known(self, time: float) -> bool:
        return self._track is None or self._is_finished or self._frames.stop * FRAME_S >= time

    def seconds(self, start: float, end: float) -> float:
        """Return the seconds of speech between two times; without a detector, all of them."""
        if self._track is None:
            return end - start
        frames = self._frames
        return seconds_of_speech(frames.read(frames.start, frames.stop), start, end, frames.start)

    def total(self, time: float) -> float | None:
        return None if self._track is None else self._forgotten_s + self.seconds(0.0, time)

    def forget(self, before: float) -> None:
        frames, stop = self._frames, int(before / FRAME_S)
        if stop > frames.start:
            old_t = frames.read(frames.start, min(stop, frames.stop))
            self._forgotten_s += float(np.count_nonzero(old_t >= THRESHOLD) * FRAME_S)
            frames.forget(stop)


class _Evidence:
    """The log posteriors of all windows so far, weighted by speech; before the first, those of the start."""

    def __init__(self, labels: int) -> None:
        self.windows = 0
        self._sum_c, self._seconds = np.zeros(labels), 0.0
        self._start_c = np.zeros(labels)

    def add(self, scores_c: Floats, seconds: float, is_window: bool) -> None:
        """Add the log posteriors (C,) of a window with its seconds of speech, or of the start before it."""
        if is_window:
            self.windows += 1
            self._sum_c += seconds * scores_c.astype(np.float64)
            self._seconds += seconds
        else:
            self._start_c = scores_c.astype(np.float64)

    def mean_c(self) -> npt.NDArray[np.float64]:
        return self._sum_c / self._seconds if self._seconds else self._start_c


class _Present:
    """The language that is spoken now."""

    def __init__(self, decides: Decider, tracking: Tracking) -> None:
        self._decides, self._tracking = decides, tracking
        self._logs_c = np.zeros(0)
        self._leader, self._led_s = -1, 0.0
        self._column = -1
        self.decided_at: float | None = None

    @property
    def language(self) -> str | None:
        return None if self._column < 0 else self._decides.labels[self._column]

    @property
    def score(self) -> float | None:
        return None if self._column < 0 else float(np.exp(self._logs_c[self._column]))

    def hear(self, scores_c: Floats, weight: float, fresh_s: float, is_first: bool, time: float) -> bool:
        """Use scores; return whether the language changes."""
        if fresh_s <= 0 or not np.isfinite(scores_c).all():
            return False
        logs_c, prior_c = self._decides.likelihoods(scores_c), self._decides.prior_c
        if is_first or not len(self._logs_c):
            logs_c = prior_c + logs_c
        else:
            logs_c = np.logaddexp(self._logs_c, prior_c - self._tracking.penalty) + weight * logs_c
        self._logs_c = logs_c - np.logaddexp.reduce(logs_c)
        leader = int(self._logs_c.argmax())
        self._led_s = self._led_s + fresh_s if leader == self._leader else 0.0
        self._leader = leader
        if leader == self._column or self._led_s < self._tracking.debounce:
            return False
        self._column = leader
        self.decided_at = time if self.decided_at is None else self.decided_at
        return True
