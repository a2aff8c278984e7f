"""The most confident wrong answers of a system: the ones to listen to first."""

from __future__ import annotations

from collections.abc import Iterator
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
) -> Iterator[Mistake]:
    """Yield the wrong answers with the highest posterior probabilities, highest first.

    Args:
        answers: truth and answers of N utterances.
        scores: (N, known languages) log posteriors.
        at_most: maximum number of answers to yield; None: all.
    """
    wrong = np.flatnonzero((answers.predicted != answers.true) & (answers.predicted != FAILED))
    confidence = scores[wrong, answers.predicted[wrong]]
    order = wrong[np.argsort(-confidence, kind="stable")[:at_most]]
    true, predicted = answers.true[order], answers.predicted[order]
    known = true < answers.known
    posteriors = np.exp(scores[order, predicted].astype(np.float64))
    true_posteriors = np.exp(scores[order, np.where(known, true, 0)].astype(np.float64))
    for number, row in enumerate(order.tolist()):
        yield Mistake(
            utterance=answers.truth.key(row),
            true=answers.languages[true[number]],
            predicted=answers.languages[predicted[number]],
            probability=float(posteriors[number]),
            true_probability=float(true_posteriors[number]) if known[number] else None,
            seconds=float(answers.seconds[row]),
        )
