"""Paired comparison of two systems on the same utterances.

The suffixes ``_a`` and ``_b`` name the systems A and B; they are not shape suffixes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import Answers
from lid_toolkit.evaluation.bootstrap import drawn_means, percentile_interval
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.intervals import Estimate, wider, wilson
from lid_toolkit.evaluation.proportions import clustered_proportion
from lid_toolkit.evaluation.wording import percent, plural


@dataclass(frozen=True)
class Comparison:
    """Comparison of two systems, A and B, on the same utterances.

    Attributes:
        both, only_a, only_b, neither: numbers of utterances that both systems, only A, only B, or neither
            identified correctly.
        a, b: the accuracies of A and B.
        gain: accuracy of B minus accuracy of A, with a 95 % interval; in [-1, 1].
        p_value: two-sided p value of the hypothesis that both systems are equally accurate.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    a: Estimate
    b: Estimate
    gain: Estimate
    p_value: float


def compare(first: Answers, second: Answers, clusters: Clusters | None = None) -> Comparison:
    """Compare the answers of two systems to the same set. Failed utterances count as wrong.

    With clusters, an interval is the wider one of two: Newcombe's or Wilson's, and that of drawing clusters.

    Raises:
        LidError: the sets have different utterances or different true languages.
    """
    truths = [(answers.truth.text, answers.name) for answers in (first, second)]
    if truths[0][0] != truths[1][0]:
        raise LidError(
            "the systems answered different sets",
            where=f"{truths[0][1]} and {truths[1][1]}",
            mend="compare on one set",
        )
    right_a, right_b = first.true == first.predicted, second.true == second.predicted
    both, only_a, only_b = (
        int(np.count_nonzero(right)) for right in (right_a & right_b, right_a & ~right_b, right_b & ~right_a)
    )
    gain = paired_gain(both, only_a, only_b, len(right_a))
    if clusters is not None:
        drawn_d = drawn_means(right_b.astype(np.float64) - right_a, clusters)
        gain = wider(
            gain, Estimate(gain.value, *percentile_interval(drawn_d, gain.value, clusters.count - 1))
        )
    return Comparison(
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=len(right_a) - both - only_a - only_b,
        a=clustered_proportion(right_a, clusters).estimate,
        b=clustered_proportion(right_b, clusters).estimate,
        gain=gain,
        p_value=mcnemar(only_a, only_b),
    )


def verdict(gain: Estimate) -> str:
    """Return in words which of two systems is better; the interval must leave no doubt."""
    if gain.low > 0:
        return "B is better"
    return "A is better" if gain.high < 0 else "no difference can be told"


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p value of the exact McNemar test (1947, Psychometrika 12, p. 153).

    If both systems are equally accurate, each is right on half of the utterances that only one of them
    identified correctly.
    """
    return float(min(1.0, 2 * binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_gain(both: int, only_a: int, only_b: int, total: int) -> Estimate:
    """Return the accuracy of B minus that of A (Newcombe 1998, Stat. Med. 17, p. 2635, method 10).

    The interval combines the Wilson intervals of both accuracies and takes their correlation into account.
    """
    a, b = wilson(both + only_a, total), wilson(both + only_b, total)
    correlation = _correlation(both, only_a, only_b, total - both - only_a - only_b)
    gain = (only_b - only_a) / total
    low = gain - _joined(b.value - b.low, a.high - a.value, correlation)
    high = gain + _joined(b.high - b.value, a.value - a.low, correlation)
    return Estimate(gain, low, high)


def _joined(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Return the phi coefficient, with Newcombe's continuity correction if it is positive."""
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if product == 0:
        return 0.0
    excess = float(both * neither - only_a * only_b)
    if excess > 0:
        excess = max(excess - (both + only_a + only_b + neither) / 2, 0)
    return excess / math.sqrt(product)


def summary(comparison: Comparison, first: str, second: str) -> str:
    """Return the comparison as text; ``first`` and ``second`` are the names of systems A and B."""
    total = comparison.both + comparison.only_a + comparison.only_b + comparison.neither
    gain = comparison.gain
    lines = [
        f"{plural(total, 'utterance')}, both systems on each",
        f"  A {percent(comparison.a)}  {first}",
        f"  B {percent(comparison.b)}  {second}",
        f"  B - A  {100 * gain.value:+.2f} points [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]",
        f"  right: both {comparison.both}, only A {comparison.only_a}, only B {comparison.only_b}, "
        f"neither {comparison.neither}",
        f"  exact McNemar test: p = {comparison.p_value:.3g}",
        f"  {verdict(gain)}",
    ]
    return "\n".join(lines)
