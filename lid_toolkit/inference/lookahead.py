"""Score any number of inputs in order, reading only so far ahead that batches are full.

Shapes: n clips of an input, b clips of a batch, c languages, d embedding.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lid_toolkit.errors import LidError
from lid_toolkit.inference.listening import Listened, Listener, Summary
from lid_toolkit.inference.speech import Floats, Speech
from lid_toolkit.inference.windows import Clip, evidence

BATCHES_AHEAD = 8
"""Batches that are read before the first is computed, so that each has clips of similar length."""

LATEST = 2
"""Inputs in this many times as many batches are read at most before all that wait are computed."""

SECONDS_AHEAD = 1200.0
"""Most seconds of audio that are read ahead; 77 MB at 16 kHz."""

Compute = Callable[[Sequence[Floats]], tuple[Floats, Floats]]
"""From waveforms to log posteriors (B, C) and embeddings (B, D)."""


@dataclass
class Heard:
    """An input and its results so far.

    Attributes:
        summary: what is known about it; None before it is read to its end.
        error: why it cannot be used; else None.
        spans_n: start and end of each scored clip in seconds, in order.
        scores_n: log posteriors (C,) of each.
        embeddings_n: L2-normalised embedding (D,) of each.
        pending: number of clips that are read but not scored.
    """

    summary: Summary | None = None
    error: LidError | None = None
    spans_n: list[tuple[float, float]] = field(default_factory=list)
    scores_n: list[Floats] = field(default_factory=list)
    embeddings_n: list[Floats] = field(default_factory=list)
    pending: int = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing will be added."""
        return self.error is not None or (self.summary is not None and not self.pending)

    def scores_c(self) -> npt.NDArray[np.float64]:
        """Return the log posteriors (C,) of all clips together; see :mod:`lid_toolkit.inference.windows`.

        Raises:
            LidError: the scores of a clip with speech are not finite.
        """
        seconds_n = self._seconds_n()
        self._check(self.scores_n, seconds_n)
        return evidence(np.stack(self.scores_n), seconds_n)

    def embedding_d(self) -> Floats:
        """Return the mean of the clips' embeddings (D,), weighted by speech, of length 1.

        Raises:
            LidError: the embedding of a clip with speech is not finite.
        """
        seconds_n = self._seconds_n()
        self._check(self.embeddings_n, seconds_n)
        if len(seconds_n) == 1:
            return self.embeddings_n[0]
        spoken = [pair for pair in zip(seconds_n, self.embeddings_n, strict=True) if pair[0]]
        mean_d = np.sum([seconds * embedding_d for seconds, embedding_d in spoken], axis=0)
        unit_d: Floats = (mean_d / np.linalg.norm(mean_d)).astype(np.float32)
        return unit_d

    def _seconds_n(self) -> list[float]:
        """Return the seconds of speech in each clip; without a detector, its length."""
        assert self.summary is not None
        return [self.summary.seconds(start, end) for start, end in self.spans_n]

    @staticmethod
    def _check(values_n: Sequence[Floats], seconds_n: Sequence[float]) -> None:
        spoken = zip(values_n, seconds_n, strict=True)
        if not all(np.isfinite(values).all() for values, seconds in spoken if seconds):
            mend = "use another model, or leave the input out"
            raise LidError("the model's scores are not finite", where="identify", mend=mend)


class LookAhead:
    """Clips that wait to be scored together.

    Whenever enough of them wait, one batch is scored: the clip that has waited longest, and those of the most
    similar length. So processes that read ahead need not be further ahead than one batch.

    Args:
        compute: scores them.
        rate: samples per second.
        batch_size: largest number of clips that are scored together.
    """

    def __init__(self, compute: Compute, rate: int, batch_size: int) -> None:
        self._compute, self._rate, self._batch_size = compute, rate, batch_size
        self._clips: list[tuple[Heard, Clip]] = []
        self._samples = 0
        self._inputs: deque[Heard] = deque()

    def hear(self, items: Iterable[Speech | Listened], listener: Listener) -> Iterator[Heard]:
        """Yield the results of inputs in their order, each as soon as those before it are done."""
        for number, item in enumerate(items):
            own = Heard()
            self._inputs.append(own)
            try:
                for piece in listener.read(item, f"input {number}"):
                    if isinstance(piece, Summary):
                        own.summary = piece
                    else:
                        self._add(own, piece)
            except LidError as error:
                own.error = error
            if len(self._inputs) >= LATEST * BATCHES_AHEAD * self._batch_size:
                self._score(len(self._clips))
            yield from self._done()
        self._score(len(self._clips))
        yield from self._done()

    def _add(self, own: Heard, clip: Clip) -> None:
        own.pending += 1
        self._clips.append((own, clip))
        self._samples += len(clip.wave)
        most = BATCHES_AHEAD * self._batch_size
        while len(self._clips) >= most or self._samples >= SECONDS_AHEAD * self._rate:
            self._score(self._batch_size)

    def _score(self, most: int) -> None:
        clips = [(own, clip) for own, clip in self._taken(most) if own.error is None]
        if not clips:
            return
        scores_bc, embeddings_bd = self._compute([clip.wave for _, clip in clips])
        for (own, clip), scores_c, embedding_d in zip(clips, scores_bc, embeddings_bd, strict=True):
            span = (clip.start / self._rate, (clip.start + len(clip.wave)) / self._rate)
            place = bisect(own.spans_n, span)  # later windows of a recording may be scored first
            own.spans_n.insert(place, span)
            own.scores_n.insert(place, scores_c)
            own.embeddings_n.insert(place, embedding_d)
            own.pending -= 1

    def _taken(self, most: int) -> list[tuple[Heard, Clip]]:
        """Take the clip that has waited longest and those of the most similar length, in their order."""
        waiting = self._clips
        by_length = sorted(range(len(waiting)), key=lambda place: len(waiting[place][1].wave))
        begin = max(0, min(by_length.index(0) - most // 2, len(waiting) - most)) if waiting else 0
        chosen = set(by_length[begin : begin + most])
        self._clips = [pair for place, pair in enumerate(waiting) if place not in chosen]
        self._samples = sum(len(clip.wave) for _, clip in self._clips)
        return [pair for place, pair in enumerate(waiting) if place in chosen]

    def _done(self) -> Iterator[Heard]:
        while self._inputs and self._inputs[0].is_done:
            yield self._inputs.popleft()
