"""The answers of a policy to the scores of a set, instead of the most probable languages.

Shapes: u utterances, c labels of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.answers import (
    FAILED,
    Answers,
    Scores,
    merge_columns,
    read_columns,
    read_languages,
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


def decided(answers: Answers, inference_dir: Path, policy: Policy) -> tuple[Answers, Scores]:
    """Return the answers of a policy, and its log posteriors (utterances, known languages).

    The policy is applied to the labels of the system, before macrolanguages are merged.

    Args:
        answers: the most probable languages.
        inference_dir: ``.../MODEL/SET``, with the scores.
        policy: what answers.

    Raises:
        LidError: see :func:`lid_toolkit.evaluation.answers.read_scores`; or the policy does not fit the
            labels of the system.
    """
    scores_uc = read_columns(inference_dir, answers)
    ruling = policy.ruling(read_languages(inference_dir / "languages"))
    rows = np.flatnonzero(answers.predicted != FAILED)
    posteriors_uc = ruling.posteriors(scores_uc[rows])
    chosen = ruling.choose(posteriors_uc, answers.seconds[rows])
    predicted = answers.predicted.copy()
    predicted[rows] = np.where(chosen == FAILED, FAILED, answers.columns[chosen])
    scores_uc[rows] = posteriors_uc
    abstained = int(np.count_nonzero(chosen == FAILED))
    made = replace(answers, predicted=predicted, abstained=abstained, policy=policy.settings)
    return made, merge_columns(answers, scores_uc)
