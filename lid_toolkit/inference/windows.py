"""Recordings of any length as windows, and the evidence of all windows together.

The evidence for a language c is the mean of the log posteriors of all windows w, weighted by their seconds
of speech s_w and normalised:

    e_c = sum over w of s_w * log p_w(c) / sum over w of s_w,    log p(c) = e_c - log(sum over k of exp(e_k))

Without a detector of speech, s_w is the length of the window. This is the weighted geometric mean of the
windows' posteriors, normalised; with one window it is that window's posterior. A vote of the windows is not
used: it ignores how certain each window is, so that three hesitant windows outweigh two certain ones, and
its proportions are no posteriors.

Shapes: n windows, c languages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.errors import LidError
from lid_toolkit.inference.speech import Floats, is_number

LONGEST_PASS_S = 600.0
"""Longer recordings are cut into windows even if none were asked for: memory grows with the length."""

LONG_WINDOW_S = 30.0


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
class Windowing:
    """How recordings are cut.

    Attributes:
        window: seconds of a window. None: recordings of up to ``LONGEST_PASS_S`` are not cut, and longer
            ones into windows of ``LONG_WINDOW_S`` that do not overlap.
        hop: seconds from the start of one window to the next; None: half a window.

    Raises:
        LidError: ``window`` is not above 0, or ``hop`` is not above 0 and at most ``window``.
    """

    window: float | None = None
    hop: float | None = None

    def __post_init__(self) -> None:
        if self.window is None:
            if self.hop is not None:
                raise LidError("has no effect without window", where="hop", mend="give window too")
            return
        if not is_number(self.window) or not 0 < self.window < np.inf:
            raise LidError(f"must be above 0 s, not {self.window!r}", where="window")
        if self.hop is not None and not (is_number(self.hop) and 0 < self.hop <= self.window):
            what = f"must be above 0 s and at most window ({self.window:g} s), not {self.hop!r}"
            raise LidError(what, where="hop")

    def starts(self, total: int, rate: int) -> tuple[list[int], int]:
        """Return the first sample of each window of a recording, and the samples of a window.

        The windows cover the recording. They have the same length, and the last one ends with the recording.

        Args:
            total: samples of the recording.
            rate: samples per second.
        """
        if self.window is None:
            if total <= LONGEST_PASS_S * rate:
                return [0], total
            window = hop = LONG_WINDOW_S
        else:
            window, hop = self.window, self.window / 2 if self.hop is None else self.hop
        size, step = max(1, round(window * rate)), max(1, round(hop * rate))
        if total <= size:
            return [0], total
        return [*range(0, total - size, step), total - size], size


def cut(blocks: Iterable[Floats], starts: Sequence[int], size: int) -> Iterator[Clip]:
    """Yield the clips of ``size`` samples that begin at ``starts``, ascending, from samples in blocks.

    All blocks are read.
    """
    waiting, held, first = deque(starts), np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        while waiting and first + len(held) >= waiting[0] + size:
            begin = waiting.popleft() - first
            yield Clip(held[begin : begin + size], first + begin)
        passed = min(waiting[0] - first, len(held)) if waiting else len(held)
        held, first = held[passed:], first + passed


def evidence(
    log_posteriors_nc: npt.NDArray[np.floating], seconds_n: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return the log posteriors (C,) of a recording from those of its windows; the formula is above.

    Args:
        log_posteriors_nc: natural logarithm; rows of windows without speech may be NaN.
        seconds_n: seconds of speech in each window, at least 0. If all are 0, all windows count the same.
    """
    weights_n = np.asarray(seconds_n, dtype=np.float64)
    if not weights_n.any():
        weights_n = np.ones(len(weights_n))
    heard_n = weights_n > 0
    shares_n = weights_n[heard_n] / weights_n[heard_n].sum()
    mean_c = shares_n @ log_posteriors_nc[heard_n].astype(np.float64)
    evidence_c: npt.NDArray[np.float64] = mean_c - np.logaddexp.reduce(mean_c)
    return evidence_c
