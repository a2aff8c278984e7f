"""Accuracy against coverage: what remains wrong if a system answers only where its posterior is high.

Also how well the posterior tells utterances of languages that the system does not know.

Shapes: u utterances, p points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

WANTED_ERROR = 0.01
DETECTION = 0.95
POINTS = 200

Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Selective:
    """Errors of a system that abstains below a posterior.

    Attributes:
        coverage_at_error: the largest proportion of all utterances that can be answered with at most
            ``WANTED_ERROR`` of the answers wrong; 0 if none.
        threshold: the posterior from which on these are answered; None if none are.
        curve: (P, 2) coverage, and accuracy of the answers, from few answers to all.
    """

    coverage_at_error: float
    threshold: float | None
    curve: npt.NDArray[np.float64]


@dataclass(frozen=True)
class OutOfSet:
    """How well posteriors tell known from unknown languages.

    Attributes:
        known, unknown: number of utterances in languages that the system knows, and does not.
        auroc: probability that an utterance of a known language has the higher posterior; ties count half.
        false_acceptance: the proportion of utterances of unknown languages that are answered, with the
            threshold that answers ``DETECTION`` of those in known languages.
    """

    known: int
    unknown: int
    auroc: float
    false_acceptance: float


def selective(posteriors_u: Floats, right_u: Flags, utterances: int) -> Selective:
    """Return the errors of answers with these posteriors (U,), which may be right (U,).

    Utterances with equal posteriors are answered together. Source of the curve: R. El-Yaniv and Y. Wiener,
    "On the foundations of noise-free selective classification", JMLR 11, 2010.

    Args:
        posteriors_u: posterior of each answer.
        right_u: whether it is right.
        utterances: number of utterances, also of those without an answer; at least U.
    """
    order = np.argsort(-posteriors_u, kind="stable")
    sorted_u, wrong_u = posteriors_u[order], np.cumsum(~right_u[order])
    last = np.append(np.flatnonzero(np.diff(sorted_u)), len(sorted_u) - 1) if len(sorted_u) else order
    errors, coverage = wrong_u[last] / (last + 1), (last + 1) / utterances
    good = np.flatnonzero(errors <= WANTED_ERROR)
    shown = np.unique(np.linspace(0, len(last) - 1, min(POINTS, len(last))).astype(np.int64))
    return Selective(
        coverage_at_error=float(coverage[good[-1]]) if len(good) else 0.0,
        threshold=float(sorted_u[last[good[-1]]]) if len(good) else None,
        curve=np.stack((coverage, 1 - errors), axis=1)[shown],
    )


def out_of_set(posteriors_u: Floats, known_u: Flags) -> OutOfSet | None:
    """Return how well posteriors (U,) tell utterances of known languages; None without both kinds.

    AUROC is the Mann-Whitney statistic divided by the number of pairs (T. Fawcett, "An introduction to ROC
    analysis", Pattern Recognition Letters 27, 2006, section 7).
    """
    known, unknown = int(np.count_nonzero(known_u)), int(np.count_nonzero(~known_u))
    if not known or not unknown:
        return None
    ranks = rankdata(posteriors_u)[known_u].sum() - known * (known + 1) / 2
    lowest = np.sort(posteriors_u[known_u])[::-1][int(np.ceil(DETECTION * known)) - 1]
    return OutOfSet(
        known=known,
        unknown=unknown,
        auroc=float(ranks / (known * unknown)),
        false_acceptance=float(np.mean(posteriors_u[~known_u] >= lowest)),
    )
