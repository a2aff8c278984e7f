"""Accuracy against coverage: what remains wrong if a system answers only where its posterior is high.

Also how well the posterior tells utterances of languages that the system does not know, or is made not to
know.

Shapes: u utterances, c languages, b utterances of a block, p points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from scipy.stats import rankdata

from lid_toolkit.evaluation.posteriors import Columns, Floats, LogPosteriors, by_blocks

WANTED_ERROR = 0.01
DETECTION = 0.95
POINTS = 200
FOLDS = 5
SAMPLE = 200_000
FEWEST_LANGUAGES = 2
"""Languages that must be left to choose from: of one alone, the posterior is always 1."""

How = Literal["folds", "each"]
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


@dataclass(frozen=True)
class LeftOut:
    """How well posteriors tell languages that are left out of those that the system knows.

    Attributes:
        how: ``folds`` or ``each``; see :func:`leave_out`.
        parts: number of parts of the languages that are left out in turn.
        auroc, false_acceptance: mean over the parts of those of :class:`OutOfSet`.
    """

    how: How
    parts: int
    auroc: float
    false_acceptance: float


def leave_out(
    log_posteriors_uc: LogPosteriors, true_u: Columns, how: How = "folds", at_most: int = SAMPLE
) -> LeftOut | None:
    """Leave languages out in turn: their columns are masked and the other posteriors made to sum to 1 again.

    The highest posterior that is left should then be low for utterances in a language that is left out, and
    high for the others. This score is that of D. Hendrycks and K. Gimpel, "A baseline for detecting
    misclassified and out-of-distribution examples", ICLR 2017; the false acceptance at 95 % detection is that
    of S. Liang et al., ICLR 2018; averages over splits of the classes are usual in open-set recognition (L.
    Neal et al., "Open set learning with counterfactual images", ECCV 2018). But there the classifier is
    trained without these classes. Here it has learnt them.

    Args:
        log_posteriors_uc: log posteriors (U, C) of utterances in known languages.
        true_u: their columns.
        how: ``each``: one occurring language at a time; ``folds``: five parts, where the first, the sixth,
            the eleventh, … occurring language is in the first part, and so on.
        at_most: number of utterances, evenly spaced, that are enough to measure it.

    Returns:
        None if fewer than two languages occur, or fewer than two are left in each part.
    """
    step = -(-len(true_u) // at_most)
    scores_uc, columns_u = np.asarray(log_posteriors_uc[::step]), true_u[::step]
    present = np.unique(columns_u)
    count = min(FOLDS, len(present)) if how == "folds" else len(present)
    found = []
    for part in (present[number::count] for number in range(count)):
        if scores_uc.shape[1] - len(part) >= FEWEST_LANGUAGES:
            left_u = by_blocks(scores_uc, _without(part))
            found.append(out_of_set(left_u, ~np.isin(columns_u, part)))
    told = [one for one in found if one is not None]
    if not told:
        return None
    auroc, accepted = ([getattr(one, name) for one in told] for name in ("auroc", "false_acceptance"))
    return LeftOut(how, len(told), float(np.mean(auroc)), float(np.mean(accepted)))


def _without(part: Columns) -> Callable[[Floats, slice], Floats]:
    """Return a function to the highest log posterior (B,) of the languages that are not in a part."""

    def best_left(block_bc: Floats, _: slice) -> Floats:
        left_bc = np.delete(block_bc, part, axis=1).astype(np.float64)
        return np.asarray(left_bc.max(axis=1) - logsumexp(left_bc, axis=1))

    return best_left
