"""How well posteriors can be trusted: cross-entropy and calibration error.

Shapes: u utterances, c languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15
"""The number of bins of Guo et al."""

Floats = npt.NDArray[np.floating]
Columns = npt.NDArray[np.int64]


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


def trust_in(log_posteriors_uc: Floats, true_u: Columns) -> Trust:
    """Return the measures of log posteriors (U, C) and the columns (U,) of the true languages; U > 0."""
    right_u = log_posteriors_uc.argmax(axis=1) == true_u
    return Trust(
        cross_entropy(log_posteriors_uc, true_u),
        calibration_error(np.exp(log_posteriors_uc.max(axis=1)), right_u),
        float(right_u.mean()),
    )


def cross_entropy(log_posteriors_uc: Floats, true_u: Columns) -> float:
    """Return the mean of minus the log posteriors of the true languages, in nats."""
    return -float(np.take_along_axis(log_posteriors_uc, true_u[:, None], axis=1).mean(dtype=np.float64))


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
