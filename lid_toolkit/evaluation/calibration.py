"""How well posteriors can be trusted: cross-entropy, Brier score, calibration error and loss.

Shapes: u utterances, c languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from lid_toolkit.evaluation.posteriors import Columns, Floats, LogPosteriors, at, best, by_blocks

BINS = 15
"""The number of bins of Guo et al."""
SAMPLE = 20_000
SCALES = 5.0
"""Natural logarithm of the largest factor of the scores that is tried, and of the inverse of the smallest."""


@dataclass(frozen=True)
class Trust:
    """How well the posteriors of a set fit its true languages.

    Attributes:
        cross_entropy: in nats, at least 0.
        calibration_error: 0 to 1.
        accuracy: 0 to 1.
    """

    cross_entropy: float
    calibration_error: float
    accuracy: float


@dataclass(frozen=True)
class Bin:
    """Answers with posteriors above ``from_`` and up to ``to``.

    Attributes:
        from_, to: edges of the bin, 0 to 1.
        answers: number of answers, at least 1.
        posterior: their mean posterior.
        accuracy: the proportion of right answers.
    """

    from_: float
    to: float
    answers: int
    posterior: float
    accuracy: float

    def as_dict(self) -> dict[str, object]:
        """Return the bin for JSON."""
        return {
            "from": self.from_,
            "to": self.to,
            "answers": self.answers,
            "posterior": self.posterior,
            "accuracy": self.accuracy,
        }


def trust_in(log_posteriors_uc: LogPosteriors, true_u: Columns) -> Trust:
    """Return the measures of log posteriors (U, C) and the columns (U,) of the true languages; U > 0."""
    best_u, highest_u = best(log_posteriors_uc)
    right_u = best_u == true_u
    return Trust(
        cross_entropy(log_posteriors_uc, true_u),
        calibration_error(np.exp(highest_u), right_u),
        float(right_u.mean()),
    )


def cross_entropy(log_posteriors_uc: LogPosteriors, true_u: Columns) -> float:
    """Return the mean of minus the log posteriors of the true languages, in nats."""
    return -float(at(log_posteriors_uc, true_u).mean(dtype=np.float64))


def calibration_error(posteriors_u: Floats, right_u: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error (ECE) of answers, 0 to 1.

    The answers are divided into bins of equal width by their posteriors. The error is the mean over the
    answers of the absolute difference between accuracy and mean posterior of their bin.

    Source: C. Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.

    Args:
        posteriors_u: posterior of each answer, 0 to 1.
        right_u: whether it is right.
        bins: number of bins. The upper edge of each belongs to it.
    """
    place_u = np.clip(np.ceil(posteriors_u * bins) - 1, 0, bins - 1).astype(np.int64)
    gaps_b = np.bincount(place_u, weights=posteriors_u - right_u, minlength=bins)
    return float(np.abs(gaps_b).sum() / len(right_u))


def reliability(posteriors_u: Floats, right_u: npt.NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """Return the bins of :func:`calibration_error` that have answers, for a diagram."""
    place_u = np.clip(np.ceil(posteriors_u * bins) - 1, 0, bins - 1).astype(np.int64)
    counts_b = np.bincount(place_u, minlength=bins)
    sums_b, right_b = (np.bincount(place_u, values, bins) for values in (posteriors_u, right_u))
    return tuple(
        Bin(b / bins, (b + 1) / bins, int(counts_b[b]), sums_b[b] / counts_b[b], right_b[b] / counts_b[b])
        for b in np.flatnonzero(counts_b).tolist()
    )


def brier_score(log_posteriors_uc: LogPosteriors, true_u: Columns) -> float:
    """Return the mean squared difference between posteriors and truth, summed over the languages: 0 to 2.

    Source: G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review
    78, 1950.
    """
    squares_u = by_blocks(
        log_posteriors_uc, lambda block_bc, _: np.exp(2 * block_bc).sum(axis=1, dtype=np.float64)
    )
    true_posteriors_u = np.exp(at(log_posteriors_uc, true_u))
    return float((squares_u - 2 * true_posteriors_u + 1).mean())


def calibration_loss(log_posteriors_uc: LogPosteriors, true_u: Columns, at_most: int = SAMPLE) -> float:
    """Return how far the cross-entropy is above that with the best temperature for this set, in nats.

    It is the part of the cross-entropy that one number can mend; what is left is discrimination. Source: N.
    Brümmer and J. du Preez (2006), section 5, with a temperature in place of a monotone function.

    Args:
        log_posteriors_uc: log posteriors (U, C).
        true_u: columns (U,) of the true languages.
        at_most: number of utterances, evenly spaced, that are enough to measure it.
    """
    step = -(-len(true_u) // at_most)
    scores_uc, columns_u = log_posteriors_uc[::step].astype(np.float64), true_u[::step]

    def entropy(log_scale: float) -> float:
        scaled_uc = np.exp(log_scale) * scores_uc
        return cross_entropy(scaled_uc - logsumexp(scaled_uc, axis=1, keepdims=True), columns_u)

    best = minimize_scalar(entropy, bounds=(-SCALES, SCALES), method="bounded")
    return max(0.0, entropy(0.0) - float(best.fun))
