"""The content of ``results.json``: all numbers of a scored set, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.from_scores import FromScores
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import Bucket, Evaluation, LanguageResult
from lid_toolkit.evaluation.reported_metrics import Metric, Scored, Value, metrics_of
from lid_toolkit.evaluation.text_report import remarks


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
        **_abstentions_dict(evaluation),
        "not_scored": _not_scored_dict(evaluation),
        **without,
        **_intervals_dict(evaluation),
        **_mixed_dict(evaluation),
        "answered": None if evaluation.answered is None else evaluation.answered.as_dict(),
        "duration_buckets": [_bucket_dict(bucket) for bucket in evaluation.buckets],
        **({} if evaluation.curve is None else {"duration_curve": evaluation.curve.as_dict()}),
        "groups": [
            {"table": group.table, "name": group.name, **group.right.as_dict()} for group in evaluation.groups
        ],
        **({} if evaluation.scored is None else _curves_dict(evaluation.scored)),
        **({} if evaluation.calibrated is None else {"calibration": evaluation.calibrated.as_dict()}),
        "confusion": {
            "true": [result.label for result in evaluation.per_language],
            "predicted": [*evaluation.languages, None],
            "counts": evaluation.confusion[evaluation.confusion.sum(axis=1) > 0].tolist(),
        },
        "notes": {metric.key: note for metric in metrics if (note := metric.note(evaluation))},
        "remarks": remarks(evaluation),
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


def _not_scored_dict(evaluation: Evaluation) -> dict[str, object]:
    skipped = evaluation.skipped
    unknown = {} if skipped is None else {"unknown_languages": asdict(skipped)}
    return {"dropped": evaluation.dropped, "broken": evaluation.broken, **unknown}


def _intervals_dict(evaluation: Evaluation) -> dict[str, object]:
    """Return both kinds of intervals, of which the wider one is the metric's."""
    if evaluation.clustered is None:
        return {"clusters": None}
    accuracy, macro = (estimate.as_dict() for estimate in evaluation.independent)
    independent = {"accuracy": accuracy, "macro_accuracy": macro}
    return {"clusters": asdict(evaluation.clustered), "independent": independent}


def _curves_dict(scored: FromScores) -> dict[str, object]:
    """Return the points of the curves of the scores."""
    selective = scored.selective
    curves = {
        "accuracy_by_coverage": selective.curve.round(6).tolist(),
        "coverage_threshold": selective.threshold,
        "reliability": [part.as_dict() for part in scored.reliability],
        "unknown_languages": None if scored.out_of_set is None else asdict(scored.out_of_set),
        "left_out": None if scored.left_out is None else asdict(scored.left_out),
    }
    if scored.detection is not None:
        curves["detection_errors"] = scored.detection.curve.round(6).tolist()
    return curves


def _abstentions_dict(evaluation: Evaluation) -> dict[str, object]:
    if not evaluation.may_abstain:
        return {}
    policy = {} if evaluation.policy is None else {"policy": dict(evaluation.policy)}
    return {"abstained": evaluation.abstained, **policy}


def _bucket_dict(bucket: Bucket) -> dict[str, object]:
    empty = {"utterances": 0, "correct": 0, "accuracy": None}
    counts = empty if bucket.right is None else bucket.right.as_dict()
    return {"from_s": bucket.from_s, "to_s": bucket.to_s, **counts}


def _language_dict(result: LanguageResult) -> dict[str, object]:
    return {
        "name": result.name,
        "utterances": result.recall.utterances,
        "correct": result.recall.correct,
        **{metric.key: _plain(metric.compute(result)) for metric in reported_metrics.LANGUAGE_METRICS},
        "mistaken_for": result.mistaken_for or None,
        "mistaken_times": result.mistaken_times,
    }
