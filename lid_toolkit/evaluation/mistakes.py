"""The most confident wrong answers of a system: the ones to listen to first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.answers import FAILED, Answers

LISTED_AT_MOST = 100


@dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        utterance: id of the utterance.
        true: label of the true language.
        predicted: label of the answer.
        probability: posterior probability of the answer.
        true_probability: posterior probability of the true language; None if the system does not know it.
        seconds: duration.
    """

    utterance: str
    true: str
    predicted: str
    probability: float
    true_probability: float | None
    seconds: float


def confident_mistakes(
    answers: Answers, scores: npt.NDArray[np.float32], at_most: int | None = LISTED_AT_MOST
) -> list[Mistake]:
    """Return the wrong answers with the highest posterior probabilities, highest first.

    Args:
        answers: truth and answers of N utterances.
        scores: (N, known languages) log posteriors.
        at_most: maximum number of answers to return; None: all.
    """
    wrong = np.flatnonzero((answers.predicted != answers.true) & (answers.predicted != FAILED))
    confidence = scores[wrong, answers.predicted[wrong]]
    order = wrong[np.argsort(-confidence, kind="stable")[:at_most]]
    return [_mistake(answers, scores, int(row)) for row in order]


def _mistake(answers: Answers, scores: npt.NDArray[np.float32], row: int) -> Mistake:
    true, predicted = int(answers.true[row]), int(answers.predicted[row])
    return Mistake(
        utterance=answers.truth.key(row),
        true=answers.languages[true],
        predicted=answers.languages[predicted],
        probability=float(np.exp(scores[row, predicted])),
        true_probability=float(np.exp(scores[row, true])) if true < answers.known else None,
        seconds=float(answers.seconds[row]),
    )
