"""The answers of a policy to the scores of a set, instead of the most probable languages.

Shapes: u utterances, c labels of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.answers import (
    BLOCK,
    FAILED,
    Answers,
    Scores,
    merge_columns,
)


class Ruling(Protocol):
    """A policy for the labels of one system."""

    def posteriors(self, log_posteriors_nc: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the log posteriors (U, C) under the policy."""

    def choose(
        self, posteriors_nc: npt.NDArray[np.float64], seconds_n: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Return the column (U,) of each answer, FAILED where there is none."""


@dataclass(frozen=True)
class Policy:
    """What answers.

    Attributes:
        settings: plain values that describe it.
        ruling: returns it for the labels of a system, in index order.
    """

    settings: Mapping[str, object]
    ruling: Callable[[Sequence[str]], Ruling]


def decided(
    answers: Answers, scores_uc: Scores, labels: Sequence[str], policy: Policy
) -> tuple[Answers, Scores]:
    """Return the answers of a policy, and its log posteriors (utterances, known languages).

    The policy is applied to the labels of the system, before macrolanguages are merged.

    Args:
        answers: the most probable languages.
        scores_uc: log posteriors of the system's labels, which are overwritten; see
            :func:`lid_toolkit.evaluation.answers.read_columns`.
        labels: the system's labels.
        policy: what answers.

    Raises:
        LidError: the policy does not fit the labels of the system.
    """
    ruling = policy.ruling(labels)
    answered = np.flatnonzero(answers.predicted != FAILED)
    predicted = answers.predicted.copy()
    for first in range(0, len(answered), BLOCK):
        rows = answered[first : first + BLOCK]
        posteriors_bc = ruling.posteriors(scores_uc[rows])
        chosen_b = ruling.choose(posteriors_bc, answers.seconds[rows])
        predicted[rows] = np.where(chosen_b == FAILED, FAILED, answers.columns[chosen_b])
        scores_uc[rows] = posteriors_bc
    made = replace(answers, predicted=predicted, policy=policy.settings)
    return made, merge_columns(answers, scores_uc)
