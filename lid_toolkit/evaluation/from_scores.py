"""What the scores of a set tell beyond its answers.

Shapes: u utterances, c languages that the system knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.calibration import (
    Bin,
    Trust,
    brier_score,
    calibration_loss,
    reliability,
    trust_in,
)
from lid_toolkit.evaluation.coverage import (
    How,
    LeftOut,
    OutOfSet,
    Selective,
    leave_out,
    out_of_set,
    selective,
)
from lid_toolkit.evaluation.detection import Detection, detection
from lid_toolkit.evaluation.posteriors import Chosen, best
from lid_toolkit.evaluation.ranking import ranks

TOP = (3, 5)


@dataclass(frozen=True)
class FromScores:
    """Measures of log posteriors. Utterances without scores are left out, except where it says otherwise.

    Attributes:
        trust: cross-entropy, calibration error and accuracy, over the utterances in known languages.
        brier: Brier score of these.
        calibration_loss: the part of the cross-entropy that a better temperature would save.
        reliability: posteriors and accuracy of the answers, in bins.
        detection: detection costs; None if only one language occurs.
        selective: accuracy against coverage. Utterances without an answer are not covered.
        out_of_set: how well posteriors tell unknown languages; None if there are none.
        left_out: how well they tell languages that are left out; None if that was not asked, or is not
            possible.
        top: k -> whether the true language of each utterance is among the k best (U,). Those without scores
            and those in unknown languages are not.
    """

    trust: Trust
    brier: float
    calibration_loss: float
    reliability: tuple[Bin, ...]
    detection: Detection | None
    selective: Selective
    out_of_set: OutOfSet | None
    left_out: LeftOut | None
    top: Mapping[int, npt.NDArray[np.bool_]]


def from_scores(
    answers: Answers, scores_uc: npt.NDArray[np.float32], leaving_out: How | None = "folds"
) -> FromScores | None:
    """Return the measures of log posteriors; None if no utterance in a known language has any.

    Args:
        answers: truth and answers.
        scores_uc: log posteriors; see :func:`lid_toolkit.evaluation.answers.read_scores`.
        leaving_out: how languages are left out; see :func:`lid_toolkit.evaluation.coverage.leave_out`. None:
            they are not.
    """
    scored_u = ~np.isnan(scores_uc[:, 0])
    rows = np.flatnonzero(scored_u & (answers.true < answers.known))
    if not len(rows):
        return None
    known_uc, true_u = Chosen(scores_uc, rows), answers.true[rows]
    answered = np.flatnonzero(answers.predicted != FAILED)
    posteriors_u = np.exp(scores_uc[answered, answers.predicted[answered]].astype(np.float64))
    right_u = answers.predicted[answered] == answers.true[answered]
    all_scored = np.flatnonzero(scored_u)
    ranks_u = ranks(scores_uc, rows, true_u)
    return FromScores(
        trust=trust_in(known_uc, true_u),
        brier=brier_score(known_uc, true_u),
        calibration_loss=calibration_loss(known_uc, true_u),
        reliability=reliability(posteriors_u, right_u),
        detection=detection(known_uc, true_u),
        selective=selective(posteriors_u, right_u, len(answers.true)),
        out_of_set=out_of_set(
            best(Chosen(scores_uc, all_scored))[1], answers.true[all_scored] < answers.known
        ),
        left_out=None if leaving_out is None else leave_out(known_uc, true_u, leaving_out),
        top={k: _within(ranks_u < k, rows, len(answers.true)) for k in TOP if k < answers.known},
    )


def _within(found: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.bool_]:
    within_u = np.zeros(size, dtype=bool)
    within_u[rows] = found
    return within_u
