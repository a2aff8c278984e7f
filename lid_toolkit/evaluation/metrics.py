"""Accuracy, recall, precision and confusions of a system's answers, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit import languages
from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.intervals import Estimate, macro_average, wilson

BUCKET_EDGES_S = (1.0, 2.0, 5.0, 10.0)

Counts = npt.NDArray[np.int64]


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


@dataclass(frozen=True)
class LanguageResult:
    """One language of the truth.

    Attributes:
        label, name: as in the data, and in English.
        recall: the proportion of its utterances that were identified correctly.
        precision: the proportion of correct answers among those naming it; None if no answer names it.
        f1: the harmonic mean of precision and recall; 0 if no answer is correct.
        mistaken_for: the label it is most often mistaken for; "" if never.
        mistaken_times: how often it is mistaken for that label.
    """

    label: str
    name: str
    recall: Proportion
    precision: float | None
    f1: float
    mistaken_for: str
    mistaken_times: int


@dataclass(frozen=True)
class Bucket:
    """Utterances of at least ``from_s`` and less than ``to_s`` seconds (None: no upper limit).

    ``right`` is the proportion of correct answers to them; None if there are no such utterances.
    """

    from_s: float
    to_s: float | None
    right: Proportion | None


@dataclass(frozen=True)
class LanguageSets:
    """The metrics of utterances of several languages. With k languages, an utterance has k best answers.

    Attributes:
        exact: the proportion of utterances whose languages are the k best answers.
        mixed: the same for the utterances of several languages; None if there are none.
        recall: the mean over the utterances of the proportion of languages that are among the k best answers.
    """

    exact: Proportion
    mixed: Proportion | None
    recall: Estimate


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a set of answers. Utterances that failed count as wrong.

    Attributes:
        accuracy: over all utterances.
        macro_accuracy: the mean of the recalls of the languages present in the truth.
        answered: over the utterances that have an answer; None if none has.
        confusion: (L, L + 1) counts; rows: true, columns: answered language, the last one: no answer.
        languages: L labels.
        dropped: utterances that the formatting left out for their duration; they are not scored.
        broken: utterances that the formatting could not read; they are not scored.
        merged: whether a macrolanguage and its members count as one.
        sets: the metrics of utterances of several languages; None if the set has no ``utt2langs``.
        abstained: utterances that a policy left without an answer. They count as wrong.
        policy: the settings of the policy; None if there is none.
    """

    name: str
    accuracy: Proportion
    macro_accuracy: Estimate
    answered: Proportion | None
    per_language: tuple[LanguageResult, ...]
    buckets: tuple[Bucket, ...]
    confusion: Counts
    languages: tuple[str, ...]
    dropped: int
    broken: int
    merged: bool
    sets: LanguageSets | None = None
    abstained: int = 0
    policy: Mapping[str, object] | None = None

    @property
    def coverage(self) -> float:
        """The proportion of utterances that have an answer."""
        return 1 - self.unanswered / self.accuracy.utterances

    @property
    def failed(self) -> int:
        """The number of utterances that could not be identified."""
        return self.unanswered - self.abstained

    @property
    def unanswered(self) -> int:
        """The number of utterances that have no answer."""
        return int(self.confusion[:, -1].sum())


def evaluate(answers: Answers, sets: LanguageSets | None = None) -> Evaluation:
    """Compare a system's answers with the truth; ``sets`` becomes part of the result."""
    right = answers.true == answers.predicted
    confusion = confusion_matrix(answers.true, answers.predicted, len(answers.languages))
    totals, correct = confusion.sum(axis=1), np.diagonal(confusion)
    present = totals > 0
    covered = answers.predicted != FAILED
    return Evaluation(
        name=answers.name,
        accuracy=proportion_of(right),
        macro_accuracy=macro_average(correct[present], totals[present]),
        answered=proportion_of(right[covered]) if covered.any() else None,
        per_language=tuple(
            language_result(confusion, row, answers.languages) for row in np.flatnonzero(present).tolist()
        ),
        buckets=duration_buckets(answers.seconds, right),
        confusion=confusion,
        languages=answers.languages,
        dropped=answers.dropped,
        broken=answers.broken,
        merged=answers.merged,
        sets=sets,
        abstained=answers.abstained,
        policy=answers.policy,
    )


def proportion_of(right: npt.NDArray[np.bool_]) -> Proportion:
    """Return the proportion of true values with Wilson's interval; ``right`` must not be empty."""
    total, correct = len(right), int(np.count_nonzero(right))
    return Proportion(total, correct, wilson(correct, total))


def confusion_matrix(true: Counts, predicted: Counts, size: int) -> Counts:
    """Return (size, size + 1) counts by true and answered index; the last column is FAILED."""
    columns = np.where(predicted == FAILED, size, predicted)
    counts = np.bincount(true * (size + 1) + columns, minlength=size * (size + 1))
    return counts.reshape(size, size + 1).astype(np.int64)


def language_result(confusion: Counts, row: int, labels: tuple[str, ...]) -> LanguageResult:
    """Return the metrics of language ``row``, which must have utterances."""
    total, correct = int(confusion[row].sum()), int(confusion[row, row])
    named = int(confusion[:, row].sum())
    wrong = confusion[row, :-1].copy()
    wrong[row] = 0
    worst = int(np.argmax(wrong))
    return LanguageResult(
        label=labels[row],
        name=languages.name(labels[row]),
        recall=Proportion(total, correct, wilson(correct, total)),
        precision=correct / named if named else None,
        f1=2 * correct / (total + named),
        mistaken_for=labels[worst] if wrong[worst] else "",
        mistaken_times=int(wrong[worst]),
    )


def duration_buckets(seconds: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> tuple[Bucket, ...]:
    """Return the proportion of correct answers by duration: below 1 s, 1-2, 2-5, 5-10, 10 s and longer."""
    place = np.digitize(seconds, BUCKET_EDGES_S)
    inside = [right[place == number] for number in range(len(BUCKET_EDGES_S) + 1)]
    return tuple(
        Bucket(from_s, to_s, proportion_of(answers) if len(answers) else None)
        for from_s, to_s, answers in zip((0.0, *BUCKET_EDGES_S), (*BUCKET_EDGES_S, None), inside, strict=True)
    )
