"""Several systems that answer only where they are sure, at the same coverage.

At coverage q, each system answers the proportion q of all utterances on which its own posterior is highest.
So the systems may answer different utterances, but equally many.

Shapes: u utterances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.bootstrap import drawn_ratios, effective_interval, percentile_interval
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.intervals import Estimate, wider, wilson
from lid_toolkit.evaluation.wording import interval, percent

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sure:
    """The answers of one system with their posteriors.

    Attributes:
        right_u: whether the answer is right (U,).
        posteriors_u: posterior of the answer (U,); minus infinity where there is none.
    """

    right_u: Flags
    posteriors_u: Floats

    @classmethod
    def of(cls, answers: Answers, scores_uc: npt.NDArray[np.floating]) -> Sure:
        """Return the posteriors of answers, from log posteriors (U, C) as of ``read_scores``."""
        posteriors_u = np.full(len(answers.true), -np.inf)
        rows = np.flatnonzero(answers.predicted != FAILED)
        posteriors_u[rows] = scores_uc[rows, answers.predicted[rows]]
        return cls(answers.predicted == answers.true, posteriors_u)

    def answered(self, coverage: float) -> Flags | None:
        """Return which utterances (U,) it answers at a coverage; None if it has too few answers.

        Of equal posteriors, the first utterance is answered first.
        """
        count = max(1, round(coverage * len(self.right_u)))
        if count > np.count_nonzero(np.isfinite(self.posteriors_u)):
            return None
        answered_u = np.zeros(len(self.right_u), dtype=bool)
        answered_u[np.argsort(-self.posteriors_u, kind="stable")[:count]] = True
        return answered_u


def coverage_rows(
    systems: Mapping[str, Sure], coverages: Sequence[float], clusters: Clusters | None
) -> list[tuple[str, ...]]:
    """Return for each system its accuracy at each coverage, and its difference to the first system.

    A difference is in points; ``*`` marks an interval that does not hold 0. Where the first system has too
    few answers there is no difference, and where the system itself has too few there is only ``-``.

    Args:
        systems: name -> answers, all to the same set.
        coverages: proportions of the utterances, above 0 and at most 1.
        clusters: utterances that err together; None: they are independent.
    """
    first = next(iter(systems.values()))
    alone = np.arange(len(first.right_u))
    drawn = Clusters("utterances", alone, len(alone)) if clusters is None else clusters
    return [
        (name, *(_cell(first, system, coverage, drawn) for coverage in coverages))
        for name, system in systems.items()
    ]


def _cell(first: Sure, system: Sure, coverage: float, clusters: Clusters) -> str:
    answered_u = system.answered(coverage)
    if answered_u is None:
        return "-"
    accuracy, drawn_d = accuracy_of(system, answered_u, clusters)
    text = percent(accuracy).strip()
    reference_u = first.answered(coverage)
    if system is first or reference_u is None:
        return text
    reference, reference_d = accuracy_of(first, reference_u, clusters)
    value = accuracy.value - reference.value
    low, high = percentile_interval(drawn_d - reference_d, value, clusters.count - 1)
    mark = " *" if low > 0 or high < 0 else ""
    return f"{text}, {100 * value:+.2f} {interval(Estimate(value, low, high))}{mark}"


def accuracy_of(system: Sure, answered_u: Flags, clusters: Clusters) -> tuple[Estimate, Floats]:
    """Return the accuracy of the answers that are given, and its values in draws of clusters (D,).

    Which utterances are answered does not change with the draw: the threshold is that of the whole set. The
    interval is the wider one of Wilson's and that of the draws.
    """
    right_u = system.right_u & answered_u
    count, correct = int(answered_u.sum()), int(right_u.sum())
    drawn_d = drawn_ratios(right_u.astype(np.float64), answered_u.astype(np.float64), clusters)
    value = correct / count
    together = effective_interval(drawn_d, value, clusters.count - 1)
    return wider(wilson(correct, count), together), drawn_d
