"""Accuracy, recall, precision and confusions of a system's answers, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lid_toolkit import languages
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation.answers import FAILED, Answers, Skipped
from lid_toolkit.evaluation.bootstrap import (
    Confusions,
    Statistic,
    accuracies,
    design_effect,
    macro_f1s,
    macro_precisions,
    macro_recalls,
    resampled,
)
from lid_toolkit.evaluation.calibrated import Calibrated
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.duration_curve import DurationCurve
from lid_toolkit.evaluation.from_scores import FromScores
from lid_toolkit.evaluation.intervals import Estimate, macro_average, moved, wider, wilson
from lid_toolkit.evaluation.proportions import Proportion, proportion_of

BUCKET_EDGES_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
FREQUENT = 20
"""Number of utterances from which on a language counts for :attr:`Evaluation.macro_frequent`."""

Counts = npt.NDArray[np.int64]


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
class Group:
    """The utterances with a value in a table, such as those of a corpus in ``utt2dataset``."""

    table: str
    name: str
    right: Proportion


@dataclass(frozen=True)
class Clustered:
    """Intervals from drawing clusters of utterances, such as those of a speaker.

    Attributes:
        source: what the clusters are.
        count: number of clusters.
        design_effect: how many times the variance of the accuracy is that of single utterances, at least 1.
        accuracy, macro_accuracy: values and intervals.
    """

    source: str
    count: int
    design_effect: float
    accuracy: Estimate
    macro_accuracy: Estimate


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

    With clusters, intervals of accuracy and macro accuracy are the wider ones of two: those from drawing
    clusters, and the score intervals of independent utterances, which are also right where all answers are.
    All other score intervals are for the number of utterances divided by the design effect.

    Attributes:
        accuracy: over all utterances.
        macro_accuracy: the mean of the recalls of the languages present in the truth.
        macro_frequent: the same over the languages with at least ``FREQUENT`` utterances; None if there are
            none.
        macro_precision: the mean of their precisions; a language that no answer names has none.
        macro_f1: the mean of the F1 of the languages present in the truth.
        independent: the score intervals of accuracy and macro accuracy for independent utterances.
        clustered: those from drawing clusters; None without clusters.
        answered: over the utterances that have an answer; None if none has.
        confusion: (L, L + 1) counts; rows: true, columns: answered language, the last one: no answer.
        languages: L labels.
        dropped: utterances that the formatting left out for their duration; they are not scored.
        broken: utterances that the formatting could not read; they are not scored.
        merged: whether a macrolanguage and its members count as one.
        sets: the metrics of utterances of several languages; None if the set has no ``utt2langs``.
        abstained: utterances that a policy or a vote left without an answer. They count as wrong.
        policy: the settings of the policy; None if there is none.
        skipped: utterances and languages that are not scored, because the system does not know them; None if
            they count as wrong.
        tolerant: accuracy if a macrolanguage and its members count as one; None if that changes nothing.
        groups: accuracy of the utterances of each corpus, dialect and the like.
        scored: what the scores tell; None without scores.
        curve: accuracy of crops; None if none were identified.
        calibrated: what a calibration does to the scores; None without one.
    """

    name: str
    accuracy: Proportion
    macro_accuracy: Estimate
    macro_frequent: Estimate | None
    macro_precision: Estimate
    macro_f1: Estimate
    independent: tuple[Estimate, Estimate]
    clustered: Clustered | None
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
    skipped: Skipped | None = None
    tolerant: Proportion | None = None
    groups: tuple[Group, ...] = ()
    scored: FromScores | None = None
    curve: DurationCurve | None = None
    calibrated: Calibrated | None = None

    @property
    def design_effect(self) -> float:
        """How many times the variance of the accuracy is that of single utterances; 1 without clusters."""
        return 1.0 if self.clustered is None else self.clustered.design_effect

    @property
    def may_abstain(self) -> bool:
        """Whether a policy or a vote decided which utterances to answer."""
        return self.policy is not None or self.abstained > 0

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


@dataclass(frozen=True)
class Details:
    """What is known of a set besides its answers; see :class:`Evaluation`.

    Attributes:
        clusters: utterances that err together; None: they are independent.
        sets: metrics of utterances of several languages.
        scored: measures of the scores.
        tables: name of a table -> its values for the utterances, in their order.
        curve: accuracy of crops.
        calibrated: what a calibration does to the scores.
    """

    clusters: Clusters | None = None
    sets: LanguageSets | None = None
    scored: FromScores | None = None
    tables: Mapping[str, Table] = field(default_factory=dict)
    curve: DurationCurve | None = None
    calibrated: Calibrated | None = None


def evaluate(answers: Answers, details: Details | None = None) -> Evaluation:
    """Compare a system's answers with the truth."""
    details = details or Details()
    size = len(answers.languages)
    right = answers.true == answers.predicted
    confusion = confusion_matrix(answers.true, answers.predicted, size)
    totals, correct = confusion.sum(axis=1), np.diagonal(confusion)
    present, covered = totals > 0, answers.predicted != FAILED
    frequent = totals >= FREQUENT
    independent = proportion_of(right).estimate, macro_average(correct[present], totals[present])
    columns_u = np.where(covered, answers.predicted, size)
    drawn = resampled(answers.true, columns_u, size, details.clusters, by_language=True)
    clustered = clusters_of(answers, details.clusters, columns_u, independent, drawn)
    effect = 1.0 if clustered is None else clustered.design_effect
    accuracy, macro = (
        independent
        if clustered is None
        else (wider(independent[0], clustered.accuracy), wider(independent[1], clustered.macro_accuracy))
    )

    def mean(statistic: Statistic) -> Estimate:
        value = float(statistic(confusion[None].astype(np.float64))[0])
        return wider(drawn.interval(statistic, value), moved(macro, value))

    return Evaluation(
        name=answers.name,
        accuracy=Proportion(len(right), int(np.count_nonzero(right)), accuracy),
        macro_accuracy=macro,
        macro_frequent=macro_average(correct[frequent], totals[frequent], effect) if frequent.any() else None,
        macro_precision=mean(macro_precisions),
        macro_f1=mean(macro_f1s),
        independent=independent,
        clustered=clustered,
        answered=proportion_of(right[covered], effect) if covered.any() else None,
        per_language=tuple(
            language_result(confusion, row, answers.languages, effect)
            for row in np.flatnonzero(present).tolist()
        ),
        buckets=duration_buckets(answers.seconds, right, effect),
        confusion=confusion,
        languages=answers.languages,
        dropped=answers.dropped,
        broken=answers.broken,
        merged=answers.merged,
        sets=details.sets,
        abstained=answers.abstained,
        policy=answers.policy,
        skipped=answers.skipped,
        tolerant=tolerant_accuracy(answers, effect),
        groups=tuple(
            Group(name, label, proportion_of(right[codes_u == code], effect))
            for name, table in details.tables.items()
            for labels, codes_u in (table.codes(),)
            for code, label in enumerate(labels)
        ),
        scored=details.scored,
        curve=details.curve,
        calibrated=details.calibrated,
    )


def clusters_of(
    answers: Answers,
    clusters: Clusters | None,
    columns_u: Counts,
    independent: tuple[Estimate, Estimate],
    by_language: Confusions,
) -> Clustered | None:
    """Return the intervals from drawing clusters; for the macro accuracy, within each language."""
    if clusters is None:
        return None
    accuracy, macro = (estimate.value for estimate in independent)
    drawn = resampled(answers.true, columns_u, len(answers.languages), clusters, by_language=False)
    effect = design_effect(drawn.values(accuracies), accuracy, len(answers.true))
    return Clustered(
        clusters.source,
        clusters.count,
        max(1.0, effect),
        drawn.interval(accuracies, accuracy),
        by_language.interval(macro_recalls, macro),
    )


def tolerant_accuracy(answers: Answers, effect: float) -> Proportion | None:
    """Return the accuracy if macrolanguages and members are one; None if no label changes."""
    together, codes = np.unique([languages.merged(label) for label in answers.languages], return_inverse=True)
    if answers.merged or len(together) == len(answers.languages):
        return None
    right = (answers.predicted != FAILED) & (codes[answers.true] == codes[answers.predicted])
    return proportion_of(right, effect)


def confusion_matrix(true: Counts, predicted: Counts, size: int) -> Counts:
    """Return (size, size + 1) counts by true and answered index; the last column is FAILED."""
    columns = np.where(predicted == FAILED, size, predicted)
    counts = np.bincount(true * (size + 1) + columns, minlength=size * (size + 1))
    return counts.reshape(size, size + 1).astype(np.int64)


def language_result(
    confusion: Counts, row: int, labels: tuple[str, ...], effect: float = 1.0
) -> LanguageResult:
    """Return the metrics of language ``row``, which must have utterances; see :func:`proportion_of`."""
    total, correct = int(confusion[row].sum()), int(confusion[row, row])
    named = int(confusion[:, row].sum())
    wrong = confusion[row, :-1].copy()
    wrong[row] = 0
    worst = int(np.argmax(wrong))
    return LanguageResult(
        label=labels[row],
        name=languages.name(labels[row]),
        recall=Proportion(total, correct, wilson(correct / effect, total / effect)),
        precision=correct / named if named else None,
        f1=2 * correct / (total + named),
        mistaken_for=labels[worst] if wrong[worst] else "",
        mistaken_times=int(wrong[worst]),
    )


def duration_buckets(
    seconds: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], effect: float = 1.0
) -> tuple[Bucket, ...]:
    """Return the proportion of correct answers by duration, between ``BUCKET_EDGES_S``.

    There are no buckets if the durations are not known (NaN).
    """
    if np.isnan(seconds).all():
        return ()
    place = np.digitize(seconds, BUCKET_EDGES_S)
    inside = [right[place == number] for number in range(len(BUCKET_EDGES_S) + 1)]
    return tuple(
        Bucket(from_s, to_s, proportion_of(answers, effect) if len(answers) else None)
        for from_s, to_s, answers in zip((0.0, *BUCKET_EDGES_S), (*BUCKET_EDGES_S, None), inside, strict=True)
    )
