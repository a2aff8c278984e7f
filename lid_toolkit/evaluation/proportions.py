"""Proportions of correct answers with their intervals.

Shapes: u utterances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.bootstrap import drawn_means, effective_interval
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.intervals import Estimate, wider, wilson


@dataclass(frozen=True)
class Proportion:
    """``correct`` of ``utterances``, at least one, with its interval."""

    utterances: int
    correct: int
    estimate: Estimate

    def as_dict(self) -> dict[str, object]:
        """Return counts and interval for JSON."""
        return {
            "utterances": self.utterances,
            "correct": self.correct,
            "accuracy": self.estimate.as_dict(),
        }


def proportion_of(right: npt.NDArray[np.bool_], effect: float = 1.0) -> Proportion:
    """Return the proportion of true values with Wilson's interval; ``right`` must not be empty.

    The interval is that of as many independent values as there are, divided by the design effect.
    """
    total, correct = len(right), int(np.count_nonzero(right))
    return Proportion(total, correct, wilson(correct / effect, total / effect))


def clustered_proportion(right_u: npt.NDArray[np.bool_], clusters: Clusters | None) -> Proportion:
    """Return the proportion of true values, at least one, with the wider one of two intervals.

    One is Wilson's, the other that of drawing clusters. Without clusters it is Wilson's.
    """
    alone = proportion_of(right_u)
    if clusters is None:
        return alone
    drawn_d = drawn_means(right_u.astype(np.float64), clusters)
    together = effective_interval(drawn_d, alone.estimate.value, clusters.count - 1)
    return replace(alone, estimate=wider(alone.estimate, together))
