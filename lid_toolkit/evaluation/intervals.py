"""Confidence intervals for proportions of correct answers, plain and averaged over languages.

Example: 9 of 10 correct is 90 %. The textbook interval, 0.9 +- 1.96 sqrt(0.9 * 0.1 / 10), is [71, 109] %: it
exceeds 100 %. Wilson's interval asks instead which true accuracies p make the observation likely,
|0.9 - p| <= 1.96 sqrt(p (1 - p) / 10), and gives [59.6, 98.2] %. For 10 of 10 it is [72.2, 100] %, where the
textbook interval has no width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
POOLED_BELOW = 10
# Halving the range of 90 that _lower_limit searches 80 times leaves less than float64 can resolve.
BISECTIONS = 80
# Makes the comparison true if gap and variance are both 0 except for rounding.
ROUNDING = 1e-20

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A proportion in [0, 1] with the limits of its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return ``{"value", "low", "high"}``, for JSON."""
        return asdict(self)


def wider(one: Estimate, other: Estimate) -> Estimate:
    """Return the lower of two lower limits and the higher of two upper ones, of the same value."""
    return Estimate(one.value, min(one.low, other.low), max(one.high, other.high))


def moved(estimate: Estimate, value: float) -> Estimate:
    """Return the interval of an estimate around another value, within [0, 1]."""
    low, high = value - (estimate.value - estimate.low), value + (estimate.high - estimate.value)
    return Estimate(value, max(0.0, low), min(1.0, high))


def wilson(correct: float, total: float, z: float = Z_95) -> Estimate:
    """Return ``correct / total`` with its score interval (Wilson 1927, JASA 22, p. 209).

    Unlike the textbook interval it has width at 0 and 100 %, and stays inside [0, 1].

    ``correct`` may be a sum of values in [0, 1]. Their variance is at most that of right and wrong answers
    with the same mean, so the interval is then at least as wide as it has to be.
    """
    share = correct / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low = 0.0 if correct == 0 else float(middle - half)
    high = 1.0 if correct == total else float(middle + half)
    return Estimate(share, low, high)


def macro_average(correct: Counts, totals: Counts, effect: float = 1.0, z: float = Z_95) -> Estimate:
    """Return the mean of ``correct / totals`` over languages with its stratified score interval.

    Each language is a stratum with a binomial count. A hypothetical macro average is inside the interval if
    it is at most ``z`` standard errors from the observed one. The standard error is computed for the most
    likely recalls whose average is the hypothetical value. This is the score method for linear combinations
    of proportions (Martín Andrés, Álvarez Hernández and Herranz Tejedor 2011, Stat. Methods Med. Res. 20,
    p. 369). With one language it is Wilson's interval. The stratified bootstrap, the usual alternative, has
    an interval of width 0 when every answer is right.

    A variance cannot be estimated well from few utterances, and not at all from one. Languages with
    the same number of utterances, if it is below 10, therefore share one stratum (collapsed strata, Cochran
    1977, Sampling Techniques, section 5A.12): the average does not change, and the interval is wider.

    Args:
        correct: (languages,) number of correct utterances.
        totals: (languages,) number of utterances, each at least 1.
        effect: design effect; each language counts as if it had so many times fewer utterances.
        z: the normal quantile of the wanted confidence.
    """
    weights, right, counts = _strata(np.asarray(correct, np.float64), np.asarray(totals, np.float64))
    right, counts = right / effect, counts / effect
    low = _lower_limit(weights, right, counts, z)
    high = 1.0 - _lower_limit(weights, counts - right, counts, z)
    value = float(np.mean(np.asarray(correct) / np.asarray(totals)))
    return Estimate(value, min(low, value), max(high, value))


def _strata(correct: Floats, totals: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (weights, correct, totals) of the strata; small languages are pooled by size."""
    # Languages of fewer than 10 utterances get their size as key, so that those of equal size share a
    # stratum; every other language gets a key of its own. Sizes 3, 50, 3 give the keys 3, 52, 3.
    keys = np.where(totals < POOLED_BELOW, totals, totals.max() + 1 + np.arange(len(totals)))
    _, stratum = np.unique(keys, return_inverse=True)
    weights, right, counts = (
        np.bincount(stratum, values).astype(np.float64)
        for values in (np.full_like(totals, 1 / len(totals)), correct, totals)
    )
    return weights, right, counts


def _lower_limit(weights: Floats, right: Floats, counts: Floats, z: float) -> float:
    """Return the smallest macro average within ``z`` standard errors of the observed one.

    The search is over the logarithm of the Lagrange multiplier of the constrained likelihood.
    """
    observed = np.sum(weights * right / counts)
    # The multiplier pulls the recalls down: exp(-30) leaves them as observed, exp(60) brings them to 0. The
    # gap grows with it, so bisection finds where the gap reaches z standard errors.
    inside, outside = -30.0, 60.0
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        shares = _likeliest_shares(weights * np.exp(middle), right, counts)
        variance = np.sum(weights**2 * shares * (1 - shares) / counts)
        gap = observed - np.sum(weights * shares)
        inside, outside = (middle, outside) if gap**2 <= z * z * variance + ROUNDING else (inside, middle)
    return float(np.sum(weights * _likeliest_shares(weights * np.exp(inside), right, counts)))


def _likeliest_shares(pull: Floats, right: Floats, counts: Floats) -> Floats:
    """Return the p that solve ``right / p - (counts - right) / (1 - p) = pull``, pull > 0.

    It is the root below ``right / counts`` of a quadratic, written without cancellation.
    """
    root = np.sqrt((counts - pull) ** 2 + 4 * pull * (counts - right))
    return np.asarray(np.minimum(2 * right / (counts + pull + root), 1.0))
