"""The metrics of a scored set: one definition each, from which every report is made.

To add a metric of a set, add a ``Metric`` to ``METRICS``; to add a metric of each language, add it to
``LANGUAGE_METRICS``. It appears in ``results.json``, the text report, the HTML report and the model card.
Sets that were scored without it are scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import Bucket, Evaluation, LanguageResult
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
    """

    key: str
    title: str
    compute: Callable[[Scored], Value]
    has_interval: bool = False
    note: Callable[[Scored], str] = lambda _: ""
    in_percent: bool = True
    applies: Callable[[Scored], bool] = lambda _: True

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
    return f"{evaluation.accuracy.correct} of {evaluation.accuracy.utterances} correct"


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
    abstained = [f"{evaluation.abstained} not answered by the policy"] if evaluation.abstained else []
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


def _has_policy(evaluation: Evaluation) -> bool:
    return evaluation.policy is not None


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
    Metric("coverage", "coverage", lambda evaluation: evaluation.coverage, note=_coverage_note),
    Metric(
        "answered_error",
        "error of answers",
        _answered_error,
        has_interval=True,
        note=lambda _: "wrong answers among the answers of the policy",
        applies=_has_policy,
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


def metric_keys() -> list[str]:
    """Return the keys of all metrics. A set that was scored with others is out of date."""
    return [*(metric.key for metric in METRICS), *(f"per_language.{m.key}" for m in LANGUAGE_METRICS)]


def as_dict(evaluation: Evaluation) -> dict[str, object]:
    """Return the content of ``results.json``."""
    metrics = metrics_of(evaluation)
    with_interval, without = (
        {m.key: _plain(m.compute(evaluation)) for m in metrics if m.has_interval == has_interval}
        for has_interval in (True, False)
    )
    return {
        **with_interval,
        "utterances": evaluation.accuracy.utterances,
        "languages": len(evaluation.per_language),
        "per_language": {result.label: _language_dict(result) for result in evaluation.per_language},
        "set": evaluation.name,
        "merged_macrolanguages": evaluation.merged,
        "correct": evaluation.accuracy.correct,
        "failed": evaluation.failed,
        **({} if evaluation.policy is None else _policy_dict(evaluation)),
        "not_scored": {"dropped": evaluation.dropped, "broken": evaluation.broken},
        **without,
        **_mixed_dict(evaluation),
        "answered": None if evaluation.answered is None else evaluation.answered.as_dict(),
        "duration_buckets": [_bucket_dict(bucket) for bucket in evaluation.buckets],
        "confusion": {
            "true": [result.label for result in evaluation.per_language],
            "predicted": [*evaluation.languages, None],
            "counts": evaluation.confusion[evaluation.confusion.sum(axis=1) > 0].tolist(),
        },
    }


def stored_values(
    metrics: Sequence[Metric[Scored]], result: Mapping[str, Any]
) -> list[tuple[Metric[Scored], Value]]:
    """Return the metrics that a dictionary of ``results.json`` has, with their values."""
    found = [(metric, result[metric.key]) for metric in metrics if metric.key in result]
    return [(metric, Estimate(**value) if isinstance(value, Mapping) else value) for metric, value in found]


def _plain(value: Value) -> dict[str, float] | float | None:
    return value.as_dict() if isinstance(value, Estimate) else value


def _mixed_dict(evaluation: Evaluation) -> dict[str, object]:
    if evaluation.sets is None:
        return {}
    return {"several_languages": None if evaluation.sets.mixed is None else evaluation.sets.mixed.as_dict()}


def _policy_dict(evaluation: Evaluation) -> dict[str, object]:
    return {"abstained": evaluation.abstained, "policy": dict(evaluation.policy or {})}


def _bucket_dict(bucket: Bucket) -> dict[str, object]:
    empty = {"utterances": 0, "correct": 0, "accuracy": None}
    counts = empty if bucket.right is None else bucket.right.as_dict()
    return {"from_s": bucket.from_s, "to_s": bucket.to_s, **counts}


def _language_dict(result: LanguageResult) -> dict[str, object]:
    return {
        "name": result.name,
        "utterances": result.recall.utterances,
        "correct": result.recall.correct,
        **{metric.key: _plain(metric.compute(result)) for metric in LANGUAGE_METRICS},
        "mistaken_for": result.mistaken_for or None,
        "mistaken_times": result.mistaken_times,
    }
