"""The metrics of a scored set: one definition each, from which every report is made.

To add a metric of a set, add a ``Metric`` to ``METRICS``; to add a metric of each language, add it to
``LANGUAGE_METRICS``. It appears in ``results.json``, the text report, the HTML report and the model card.
Sets that were scored without it are scored again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from lid_toolkit.evaluation.from_scores import TOP, FromScores
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import FREQUENT, Evaluation, LanguageResult
from lid_toolkit.evaluation.proportions import proportion_of
from lid_toolkit.evaluation.wording import interval, plural

Scored = TypeVar("Scored", Evaluation, LanguageResult)
Value = Estimate | float | None


@dataclass(frozen=True)
class Metric(Generic[Scored]):
    """A number that is reported for a set, or for each of its languages.

    Attributes:
        key: its name in ``results.json``.
        title: its name in reports.
        compute: returns the value: an ``Estimate`` if ``has_interval``, else a number; None where it is not
            defined.
        has_interval: whether a 95 % interval is reported with it.
        note: returns a few words on what the value is made of; "" for none. Only metrics of a set have one.
        in_percent: whether reports show 100 times the value with a percent sign, or the value as it is.
        applies: returns whether the metric is reported for a set; every metric of a language is.
        detail: whether it is left out of what the command prints, of the top of the HTML report, and of the
            model card.
    """

    key: str
    title: str
    compute: Callable[[Scored], Value]
    has_interval: bool = False
    note: Callable[[Scored], str] = lambda _: ""
    in_percent: bool = True
    applies: Callable[[Scored], bool] = lambda _: True
    detail: bool = False

    @property
    def heading(self) -> str:
        """The heading of a column of its values, e.g. ``recall %``."""
        return f"{self.title} %" if self.in_percent else self.title

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings of its columns: the value, and its interval if it has one."""
        return (self.heading, "95 % interval") if self.has_interval else (self.heading,)

    def number(self, value: Value, width: int = 0) -> str:
        """Return a value without unit and interval, e.g. ``97.36``; ``-`` if it is not defined."""
        number = value.value if isinstance(value, Estimate) else value
        if number is None:
            return f"{'-':>{width}}"
        return f"{100 * number:{width}.2f}" if self.in_percent else f"{number:{width}.4g}"

    def interval(self, value: Value) -> str:
        """Return a value's interval, e.g. ``[95.92, 98.31]``; "" if it has none."""
        if not isinstance(value, Estimate):
            return ""
        if self.in_percent:
            return interval(value)
        return f"[{value.low:.4g}, {value.high:.4g}]"

    def with_unit(self, value: Value, width: int = 0) -> str:
        """Return a value without its interval, e.g. ``97.36 %``."""
        return self.number(value, width) + (" %" if self.in_percent and value is not None else "")

    def text(self, value: Value, width: int = 0) -> str:
        """Return a value with unit and interval, e.g. ``97.36 % [95.92, 98.31]``."""
        return f"{self.with_unit(value, width)} {self.interval(value)}".rstrip()

    def cells(self, value: Value) -> tuple[str, ...]:
        """Return the cells of a value under ``headings``."""
        return (self.number(value), self.interval(value))[: len(self.headings)]


def _correct_note(evaluation: Evaluation) -> str:
    counted = f"{evaluation.accuracy.correct} of {evaluation.accuracy.utterances} correct"
    clustered = evaluation.clustered
    if clustered is None:
        return counted
    effect = f"design effect {clustered.design_effect:.1f}"
    return f"{counted}; {plural(clustered.count, 'cluster')} ({clustered.source}), {effect}"


def _macro_note(evaluation: Evaluation) -> str:
    return f"mean recall of {plural(len(evaluation.per_language), 'language')}"


def _coverage_note(evaluation: Evaluation) -> str:
    """Return a note with the number of failed utterances and the accuracy without them."""
    if not evaluation.unanswered:
        return "none failed"
    without = evaluation.answered
    if without is None:
        return "none answered" if evaluation.abstained else "all failed"
    failed = [f"{evaluation.failed} failed"] if evaluation.failed or not evaluation.abstained else []
    abstained = [f"{evaluation.abstained} without an answer"] if evaluation.abstained else []
    return (
        f"{', '.join(failed + abstained)}; without them {100 * without.estimate.value:.2f} % "
        f"{interval(without.estimate)}, {without.correct} of {without.utterances} correct"
    )


def _answered_error(evaluation: Evaluation) -> Estimate | None:
    """Return the proportion of wrong answers among the answers; None if there are none."""
    if evaluation.answered is None:
        return None
    right = evaluation.answered.estimate
    return Estimate(1 - right.value, 1 - right.high, 1 - right.low)


def _frequent_note(evaluation: Evaluation) -> str:
    count = sum(result.recall.utterances >= FREQUENT for result in evaluation.per_language)
    return f"{plural(count, 'language')} with at least {FREQUENT} utterances"


def _some_are_rare(evaluation: Evaluation) -> bool:
    return any(result.recall.utterances < FREQUENT for result in evaluation.per_language)


def _top(k: int) -> Metric[Evaluation]:
    """Return the metric of whether the true language is among the ``k`` best."""

    def compute(evaluation: Evaluation) -> Estimate | None:
        found = None if evaluation.scored is None else evaluation.scored.top.get(k)
        return None if found is None else proportion_of(found, evaluation.design_effect).estimate

    return Metric(
        f"top{k}_accuracy",
        f"top {k}",
        compute,
        has_interval=True,
        note=lambda _: f"the true language is among the {k} best",
        applies=lambda evaluation: compute(evaluation) is not None,
        detail=True,
    )


def _of_scores(
    key: str,
    title: str,
    compute: Callable[[FromScores], float | None],
    note: str,
    in_percent: bool = False,
    detail: bool = True,
) -> Metric[Evaluation]:
    """Return a metric of the scores, which is reported where it is defined."""

    def value(evaluation: Evaluation) -> float | None:
        return None if evaluation.scored is None else compute(evaluation.scored)

    return Metric(
        key,
        title,
        value,
        note=lambda _: note,
        in_percent=in_percent,
        applies=lambda evaluation: value(evaluation) is not None,
        detail=detail,
    )


def _of_detection(key: str, title: str, note: str, in_percent: bool = False) -> Metric[Evaluation]:
    """Return a detection cost by the name of its attribute."""
    return _of_scores(
        key,
        title,
        lambda scored: None if scored.detection is None else getattr(scored.detection, key),
        note,
        in_percent,
    )


def _of_unknown(key: str, title: str, note: str, in_percent: bool = False) -> Metric[Evaluation]:
    """Return a measure of unknown languages by the name of its attribute."""
    return _of_scores(
        f"unknown_{key}",
        title,
        lambda scored: None if scored.out_of_set is None else getattr(scored.out_of_set, key),
        note,
        in_percent,
    )


def _of_left_out(key: str, title: str) -> Metric[Evaluation]:
    """Return a measure of languages that are left out by the name of its attribute."""

    def note(evaluation: Evaluation) -> str:
        left_out = evaluation.scored and evaluation.scored.left_out
        return "" if not left_out else f"mean over {left_out.parts} parts of the languages, left out in turn"

    return replace(
        _of_scores(
            f"left_out_{key}",
            title,
            lambda scored: None if scored.left_out is None else getattr(scored.left_out, key),
            "",
            in_percent=True,
        ),
        note=note,
    )


def _has_sets(evaluation: Evaluation) -> bool:
    return evaluation.sets is not None


def _mixed_note(evaluation: Evaluation) -> str:
    """Return a note with the utterances of several languages."""
    mixed = evaluation.sets and evaluation.sets.mixed
    return f"{mixed.correct} of {mixed.utterances} with several languages correct" if mixed else ""


METRICS: tuple[Metric[Evaluation], ...] = (
    Metric(
        "accuracy",
        "accuracy",
        lambda evaluation: evaluation.accuracy.estimate,
        has_interval=True,
        note=_correct_note,
    ),
    Metric(
        "macro_accuracy",
        "macro accuracy",
        lambda evaluation: evaluation.macro_accuracy,
        has_interval=True,
        note=_macro_note,
    ),
    Metric(
        "macro_accuracy_frequent",
        "macro, frequent",
        lambda evaluation: evaluation.macro_frequent,
        has_interval=True,
        note=_frequent_note,
        applies=lambda evaluation: evaluation.macro_frequent is not None and _some_are_rare(evaluation),
    ),
    Metric(
        "tolerant_accuracy",
        "macrolanguages as one",
        lambda evaluation: evaluation.tolerant.estimate if evaluation.tolerant else None,
        has_interval=True,
        note=lambda _: "accuracy if zho and cmn, ara and arz, … are the same language",
        applies=lambda evaluation: evaluation.tolerant is not None,
        detail=True,
    ),
    Metric(
        "macro_precision",
        "macro precision",
        lambda evaluation: evaluation.macro_precision,
        has_interval=True,
        note=lambda _: "mean precision of the languages of the set",
        detail=True,
    ),
    Metric(
        "macro_f1",
        "macro F1",
        lambda evaluation: evaluation.macro_f1,
        has_interval=True,
        note=lambda _: "mean F1 of the languages of the set",
        detail=True,
    ),
    *map(_top, TOP),
    Metric("coverage", "coverage", lambda evaluation: evaluation.coverage, note=_coverage_note),
    _of_scores(
        "coverage_at_1_percent_error",
        "coverage at 1 % error",
        lambda scored: scored.selective.coverage_at_error,
        "if only answers with high posteriors are given",
        in_percent=True,
        detail=False,
    ),
    Metric(
        "answered_error",
        "error of answers",
        _answered_error,
        has_interval=True,
        note=lambda _: "wrong answers among the answers",
        applies=lambda evaluation: evaluation.may_abstain,
    ),
    Metric(
        "exact_set_accuracy",
        "exact sets",
        lambda evaluation: evaluation.sets.exact.estimate if evaluation.sets else None,
        has_interval=True,
        note=_mixed_note,
        applies=_has_sets,
    ),
    Metric(
        "recall_at_k",
        "recall at k",
        lambda evaluation: evaluation.sets.recall if evaluation.sets else None,
        has_interval=True,
        note=lambda _: "k: number of languages of the utterance",
        applies=_has_sets,
    ),
    _of_scores(
        "cross_entropy", "cross-entropy", lambda scored: scored.trust.cross_entropy, "nats for each utterance"
    ),
    _of_scores(
        "calibration_loss",
        "calibration loss",
        lambda scored: scored.calibration_loss,
        "of the cross-entropy: what another temperature would save",
    ),
    _of_scores(
        "calibration_error",
        "calibration error",
        lambda scored: scored.trust.calibration_error,
        "difference between posterior and accuracy (ECE)",
        in_percent=True,
    ),
    _of_scores("brier", "Brier score", lambda scored: scored.brier, "0 is perfect, 2 is the worst"),
    _of_detection("c_avg", "C_avg", "NIST LRE 2009, decisions as the scores are"),
    _of_detection("min_c_avg", "lowest C_avg", "with the best threshold, as OLR computes it"),
    _of_detection("eer", "EER", "all pairs of an utterance and a language together", in_percent=True),
    _of_detection("pairwise_eer", "pairwise EER", "mean over pairs of languages", in_percent=True),
    _of_detection("min_dcf", "lowest DCF", "target probability 0.1"),
    _of_detection("c_llr", "C_llr", "bits; mean over the languages"),
    _of_unknown("auroc", "unknown: AUROC", "posteriors of known against unknown languages", in_percent=True),
    _of_unknown(
        "false_acceptance",
        "unknown: accepted",
        "with a threshold that accepts 95 % of the known",
        in_percent=True,
    ),
    _of_left_out("auroc", "left out: AUROC"),
    _of_left_out("false_acceptance", "left out: accepted"),
)
"""Metrics of a set. In ``results.json`` and the model card those with an interval come first."""

LANGUAGE_METRICS: tuple[Metric[LanguageResult], ...] = (
    Metric("recall", "recall", lambda result: result.recall.estimate, has_interval=True),
    Metric("precision", "precision", lambda result: result.precision),
    Metric("f1", "F1", lambda result: result.f1),
)
"""Metrics of each language of a set."""


def metrics_of(evaluation: Evaluation) -> list[Metric[Evaluation]]:
    """Return the metrics that are reported for a set."""
    return [metric for metric in METRICS if metric.applies(evaluation)]


def main_metrics() -> list[Metric[Evaluation]]:
    """Return the metrics of a set that are no details."""
    return [metric for metric in METRICS if not metric.detail]


def metric_keys() -> list[str]:
    """Return the keys of all metrics. A set that was scored with others is out of date."""
    return [*(metric.key for metric in METRICS), *(f"per_language.{m.key}" for m in LANGUAGE_METRICS)]
