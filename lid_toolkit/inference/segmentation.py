"""Where the language of a recording changes: the best path through the scores of its windows.

The recording is cut into steps of 0.1 s, and those without speech are left out. The log posteriors l of a
step are interpolated linearly between the middles of the two windows around it. A path gives each step t a
language c_t. The best path maximises

    sum over t of s_t / w * l_t(c_t) - penalty * number of changes + sum over segments of r(c),

where s_t is the step's seconds of speech and w the seconds of a window: windows that overlap do not count
twice. The l_t are calibrated and without priors, so that a prior does not count again in every window. It
counts once for each part in one language, where the part begins: r(c) = log(prior_c / largest prior), which
is at most 0, and 0 for all languages if all are equally probable. Every language of a path lasts for at least
``min_duration`` seconds of speech. This is the Viterbi path (A. J. Viterbi, IEEE Transactions on Information
Theory 13, 1967) of a hidden Markov model in which a change to a language is as probable as its prior says,
from whichever language, and each state has a shortest duration (L. Rabiner, "A tutorial on hidden Markov
models", Proceedings of the IEEE 77, 1989, section IV.D). The penalty is the hysteresis: another language must
be better by as many nats to begin, and the first one again to return.

Shapes: n windows, t steps, c languages.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.speech_activity import FRAME_S, THRESHOLD
from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import Decider
from lid_toolkit.inference.listening import Summary
from lid_toolkit.inference.prediction import Segment
from lid_toolkit.inference.speech import is_number
from lid_toolkit.inference.windows import Windowing, evidence

STEP_S = 0.1
LEAST_SPEECH_S = 1e-6
"""Steps with less speech have none: differences of sums are not exact."""

WINDOW_S = 5.0
"""Seconds of a window where the change of the language matters, if no other length is asked for."""

OVERLAP = 4
"""Windows that have a moment in common, if no other distance is asked for."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segmenting:
    """How segments are found.

    Attributes:
        penalty: what a change costs, in nats per window; at least 0.
        min_duration: shortest time in one language, in seconds of speech, at least 0. If a recording has
            less speech, it has one language.
        max_pause: a longer time without speech, in seconds, ends a segment; at least 0.

    Raises:
        LidError: a number is not finite, or below 0.
    """

    penalty: float = 1.0
    min_duration: float = 1.0
    max_pause: float = 1.0

    def __post_init__(self) -> None:
        for name in ("penalty", "min_duration", "max_pause"):
            at_least_zero(name, getattr(self, name))


def at_least_zero(name: str, value: object) -> None:
    """Raise LidError unless a value is a finite number of at least 0."""
    if not is_number(value) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise LidError(f"must be a number of at least 0, not {value!r:.40}", where=name)


def segmenting_windows(window: float | None, hop: float | None) -> Windowing:
    """Return the windows for segments: as asked for, else of ``WINDOW_S``, one each quarter of a window.

    Raises:
        LidError: as :class:`Windowing`.
    """
    size = Windowing(WINDOW_S if window is None else window).window or WINDOW_S
    return Windowing(size, size / OVERLAP if hop is None else hop)


def find_segments(
    spans_n: Sequence[tuple[float, float]],
    scores_nc: npt.NDArray[np.floating],
    summary: Summary,
    decides: Decider,
    settings: Segmenting,
) -> tuple[Segment, ...]:
    """Return the segments of a recording, in order; they do not overlap, and what is between is no speech.

    The score of a segment is the posterior of its language from all its steps together, by the formula of
    :mod:`lid_toolkit.inference.windows`. A segment whose score or margin is below the policy's limits has the
    policy's fallback, or its label for unknown, as language.

    Args:
        spans_n: start and end of each window in seconds.
        scores_nc: the model's log posteriors; rows of windows without speech may be NaN.
        summary: where there is speech, and how long the recording is.
        decides: the policy.
        settings: how segments are found.
    """
    begins_t, ends_t, seconds_t = spoken_steps(summary)
    spoken_n = np.array([summary.seconds(start, end) > 0 for start, end in spans_n])
    if not len(begins_t) or not spoken_n.any():
        return ()
    spans_n2 = np.array(spans_n)[spoken_n]
    middles_t = (begins_t + ends_t) / 2
    logs_tc = interpolated(scores_nc[spoken_n].astype(np.float64), spans_n2.mean(axis=1), middles_t)
    columns = np.flatnonzero(np.isfinite(decides.offset_c))
    window_s = float((spans_n2[:, 1] - spans_n2[:, 0]).max())
    gains_tc = decides.likelihoods(logs_tc)[:, columns] * (seconds_t / window_s)[:, None]
    shortest = max(1, round(settings.min_duration / STEP_S))
    path_t = columns[best_path(gains_tc, settings.penalty, shortest, decides.prior_c[columns])]
    ends_segment_t = (np.diff(path_t) != 0) | (begins_t[1:] - ends_t[:-1] > settings.max_pause + STEP_S / 2)
    cuts = [0, *(np.flatnonzero(ends_segment_t) + 1), len(path_t)]
    found = []
    for first, stop in itertools.pairwise(cuts):
        scores_c = evidence(logs_tc[first:stop], seconds_t[first:stop].tolist())
        language, score = _named(int(path_t[first]), scores_c, decides)
        start, end = round(float(begins_t[first]), 3), round(float(ends_t[stop - 1]), 3)
        found.append(Segment(start, end, language, score))
    return tuple(found)


def spoken_steps(summary: Summary) -> tuple[Array, Array, Array]:
    """Return the begins, ends and seconds of speech of the steps with speech, each (T,)."""
    steps = math.ceil(summary.duration / STEP_S - 1e-9)
    edges = np.minimum(np.arange(steps + 1) * STEP_S, summary.duration)
    spoken_s = edges
    if summary.speech_t is not None:
        total = np.concatenate([[0.0], np.cumsum(summary.speech_t >= THRESHOLD) * FRAME_S])
        spoken_s = np.interp(edges, np.arange(len(total)) * FRAME_S, total)
    seconds = np.diff(spoken_s)
    spoken = seconds > LEAST_SPEECH_S
    return edges[:-1][spoken], edges[1:][spoken], seconds[spoken]


def interpolated(scores_nc: Array, middles_n: Array, times_t: Array) -> Array:
    """Return the scores (T, C) at times between the middles of windows, linearly; constant beyond the ends.

    Args:
        scores_nc: (N, C), finite.
        middles_n: ascending.
        times_t: in the same unit.
    """
    places_t = np.interp(times_t, middles_n, np.arange(len(middles_n)))
    before_t = np.minimum(places_t.astype(int), max(0, len(middles_n) - 2))
    after_t = np.minimum(before_t + 1, len(middles_n) - 1)
    share_t1 = (places_t - before_t)[:, None]
    between_tc: Array = (1 - share_t1) * scores_nc[before_t] + share_t1 * scores_nc[after_t]
    return between_tc


def best_path(
    gains_tc: Array, penalty: float, shortest: int = 1, begin_c: Array | None = None
) -> npt.NDArray[np.intp]:
    """Return the column of each row (T,) so that the sum of gains minus the penalties is greatest.

    Time and memory are proportional to T * C, because a change costs the same from every column: the best way
    to begin column c at a row is from the best column of the row before.

    Args:
        gains_tc: finite, T at least 1.
        penalty: of each change of the column; at least 0.
        shortest: number of rows for which a column stays at least. If T is smaller, one column has all rows.
        begin_c: gain of each column wherever it begins, also at the first row; at most 0. None: all 0.
    """
    steps, columns = gains_tc.shape
    begin_c = np.zeros(columns) if begin_c is None else begin_c
    sums_tc = np.concatenate([np.zeros((1, columns)), np.cumsum(gains_tc, axis=0)])  # row t: before step t
    first = min(shortest, steps)
    best_t = np.zeros(steps + 1, dtype=np.intp)  # the column of the best path that ends before step t
    value_t = np.full(steps + 1, -np.inf)
    begun_tc = np.zeros((steps + 1, columns), dtype=bool)  # whether that column began ``shortest`` steps ago
    value_c = begin_c + sums_tc[first]
    for step in range(first, steps + 1):
        if step > first:
            value_c = value_c + gains_tc[step - 1]
            began = step - shortest
            changed_c = value_t[began] - penalty + begin_c + sums_tc[step] - sums_tc[began]
            begun_tc[step] = changed_c > value_c
            value_c = np.maximum(value_c, changed_c)
        best_t[step] = value_c.argmax()
        value_t[step] = value_c[best_t[step]]
    path_t = np.zeros(steps, dtype=np.intp)
    stop, column = steps, best_t[steps]
    while True:
        switches = np.flatnonzero(begun_tc[: stop + 1, column])
        start = int(switches[-1]) - shortest if len(switches) else 0
        path_t[start:stop] = column
        if start == 0:
            return path_t
        stop, column = start, best_t[start]


def _named(column: int, scores_c: Array, decides: Decider) -> tuple[str, float]:
    """Return the language and the score of a segment that the best path gives to a column."""
    posteriors_c = np.exp(decides.posteriors(scores_c))
    score = float(posteriors_c[column])
    margin = max(0.0, score - float(np.delete(posteriors_c, column).max(initial=0.0)))
    label = decides.labels[column]
    if decides.doubt(label, score, margin) is None:
        return label, score
    if decides.fallback is None:
        return decides.policy.unknown, score
    return decides.fallback, float(posteriors_c[decides.labels.index(decides.fallback)])
