"""Read inputs as clips for the model, and find out on the way whether they have a signal and speech.

Shapes: t frames of the detector of speech.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lid_toolkit.audio.reader import AudioError
from lid_toolkit.audio.resample import resample, resample_blocks, resampled_length
from lid_toolkit.audio.silence import FLOOR, no_signal
from lid_toolkit.audio.speech_activity import Detector, detector, seconds_of_speech
from lid_toolkit.inference.prediction import Prediction, VadName
from lid_toolkit.inference.speech import Floats, Samples, Speech, opened
from lid_toolkit.inference.windows import Clip, Windowing, cut

BLOCK_S = 10.0

Abstains = Callable[[float, "float | None", VadName], "Prediction | None"]
"""From seconds of audio, seconds of speech and the detector to the record of an input without scores."""

shared_detector = functools.cache(detector)
"""The detector of a name; the network of silero is loaded once."""


@dataclass(frozen=True)
class Summary:
    """What is known about an input after it was read to its end.

    Attributes:
        duration: seconds of audio.
        vad: the detector of speech.
        speech_t: probability of speech in each frame; None if no detector was used.
        silent: the error for an input without a signal; None if it has one.
    """

    duration: float
    vad: VadName
    speech_t: Floats | None = None
    silent: AudioError | None = None

    @property
    def speech_seconds(self) -> float | None:
        """Seconds of speech; None if no detector was used."""
        return None if self.speech_t is None else self.seconds(0.0, self.duration)

    def seconds(self, start: float, end: float) -> float:
        """Return the seconds of speech between two times in seconds; without a detector, all of them."""
        return end - start if self.speech_t is None else seconds_of_speech(self.speech_t, start, end)


class Observer:
    """Sees all samples of a recording while they are read.

    Args:
        rate: samples per second.
        using: the detector of speech; ``none`` is not run.
    """

    def __init__(self, rate: int, using: Detector) -> None:
        self._rate, self._using = rate, using
        self._least, self._most = np.inf, -np.inf
        self._count = 0
        self._speech: list[Floats] = []

    def watch(self, blocks: Iterator[Floats]) -> Iterator[Floats]:
        """Yield the blocks unchanged."""
        track = None if self._using.name == "none" else self._using.track(self._rate)
        for block in blocks:
            self._count += len(block)
            self._least = float(block.min(initial=self._least))
            self._most = float(block.max(initial=self._most))
            if track is not None:
                self._speech.append(track.feed(block))
            yield block
        if track is not None:
            self._speech.append(track.finish())

    def summary(self, samples: Samples) -> Summary:
        """Return what was found in all blocks of these samples."""
        return Summary(
            duration=self._count / self._rate,
            vad=self._using.name,  # type: ignore[arg-type]
            speech_t=np.concatenate(self._speech) if self._speech else None,
            silent=None if self._most - self._least > FLOOR else no_signal(samples.name, samples.channels),
        )


@dataclass(frozen=True)
class Listened:
    """An input that was read already, such as by another process.

    Attributes:
        wave: all of its samples, (samples,).
        rate: samples per second.
        summary: what was found in them at this rate.
    """

    wave: Floats
    rate: int
    summary: Summary


def listened(samples: Samples, rate: int, using: Detector) -> Listened:
    """Read all samples of an input.

    Args:
        samples: the input.
        rate: samples per second of the result.
        using: the detector of speech; ``none`` is not run.

    Raises:
        AudioError: the samples cannot be read.
    """
    observer = Observer(rate, using)
    (wave,) = observer.watch(_blocks(samples, rate, whole=True))
    return Listened(wave, rate, observer.summary(samples))


@dataclass(frozen=True)
class Listener:
    """How inputs are read.

    Attributes:
        rate: the model's samples per second.
        array_rate: samples per second of arrays without a rate.
        windowing: how recordings are cut.
        detector: finds speech; ``none`` is not run.
        abstains: says whether scores are needed.
    """

    rate: int
    array_rate: float
    windowing: Windowing
    detector: Detector
    abstains: Abstains

    def read(self, item: Speech | Listened, name: str) -> Iterator[Clip | Summary]:
        """Yield the clips of an input, and then its summary.

        An input with a single clip that needs no scores, because it is silent or ``abstains`` gives a record,
        gives only the summary.

        Args:
            item: the input. One that was read already is not observed again if it has the model's rate and
                this detector.
            name: what errors call it, unless it is a path.

        Raises:
            AudioError: the input cannot be read, or has no samples.
        """
        if isinstance(item, Listened):
            if item.rate == self.rate and item.summary.vad == self.detector.name:
                starts, size = self.windowing.starts(len(item.wave), self.rate)
                found = item.summary
                yield from self._pieces(cut([item.wave], starts, size), len(starts), lambda: found)
                return
            item = (item.wave, item.rate)
        with opened(item, self.array_rate, name) as samples:
            total = resampled_length(samples.length, samples.rate, self.rate)
            if not total:
                raise AudioError("no samples", where=samples.name, mend="leave it out")
            starts, size = self.windowing.starts(total, self.rate)
            observer = Observer(self.rate, self.detector)
            blocks = observer.watch(_blocks(samples, self.rate, len(starts) == 1))
            yield from self._pieces(cut(blocks, starts, size), len(starts), lambda: observer.summary(samples))

    def _pieces(
        self, clips: Iterator[Clip], count: int, summary: Callable[[], Summary]
    ) -> Iterator[Clip | Summary]:
        if count > 1:
            yield from clips
            yield summary()
            return
        single = list(clips)
        found = summary()
        if found.silent is None and not self.abstains(found.duration, found.speech_seconds, found.vad):
            yield from single
        yield found


def _blocks(samples: Samples, rate: int, whole: bool) -> Iterator[Floats]:
    """Yield samples at another rate, all at once or in blocks."""
    if whole:
        yield np.ascontiguousarray(resample(samples.read(0, samples.length), samples.rate, rate))
        return
    size = max(1, round(BLOCK_S * samples.rate))
    begins = range(0, samples.length, size)
    read = (samples.read(begin, min(begin + size, samples.length)) for begin in begins)
    yield from resample_blocks(read, samples.rate, rate)
