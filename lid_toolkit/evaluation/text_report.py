"""The results of scoring as text."""

from __future__ import annotations

from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.calibrated import Calibrated, lines
from lid_toolkit.evaluation.calibration import Bin
from lid_toolkit.evaluation.duration_curve import DurationCurve
from lid_toolkit.evaluation.metrics import Evaluation, LanguageResult
from lid_toolkit.evaluation.proportions import Proportion
from lid_toolkit.evaluation.wording import columns_text, interval, plural, seconds_range

RULE = "An utterance that failed counts as wrong. Brackets: 95 % intervals (docs/evaluation.md)."
INDEPENDENT = (
    "There is no utt2spk, so the intervals take utterances as independent: with few speakers or "
    "recordings the true uncertainty is larger."
)

OWN_SET = "It was fitted on this set, so the figures after it are better than on other data."

MERGED = "counted as one language with their members"


def text_report(evaluation: Evaluation) -> str:
    """Return the whole report: headline, languages, durations, and a note on counting."""
    parts = [
        headline(evaluation, details=True),
        _languages_text(evaluation),
        *([_durations_text(evaluation)] if evaluation.buckets else []),
        *([_curve_text(evaluation.curve)] if evaluation.curve else []),
        *([_calibration_text(evaluation.calibrated)] if evaluation.calibrated else []),
        *([_groups_text(evaluation)] if evaluation.groups else []),
        _rule(evaluation),
    ]
    return "\n\n".join(parts) + "\n"


def remarks(evaluation: Evaluation) -> list[str]:
    """Return sentences on how the set was counted."""
    note = not_scored_note(evaluation)
    return [
        *([f"Not scored: {note}."] if note else []),
        *([f"Macrolanguages are {MERGED}."] if evaluation.merged else []),
        _rule(evaluation),
    ]


def _rule(evaluation: Evaluation) -> str:
    return RULE if evaluation.clustered else f"{RULE} {INDEPENDENT}"


def headline(evaluation: Evaluation, details: bool = False) -> str:
    """Return the metrics of the set, one on each line; the most important ones, or also the ``details``."""
    lines = [
        (metric.title, f"{metric.text(metric.compute(evaluation), width=6)}  {metric.note(evaluation)}")
        for metric in reported_metrics.metrics_of(evaluation)
        if details or not metric.detail
    ]
    if note := not_scored_note(evaluation):
        lines.append(("not scored", note))
    if evaluation.merged:
        lines.append(("macrolanguages", MERGED))
    width = max(len("macrolanguages"), *(len(title) for title, _ in lines))
    languages = plural(len(evaluation.per_language), "language")
    return "\n".join(
        [
            f"{evaluation.name}: {evaluation.accuracy.utterances} utterances, {languages}",
            *(f"  {title:<{width}}  {text}".rstrip() for title, text in lines),
        ]
    )


def not_scored_note(evaluation: Evaluation) -> str:
    """Return a note with the number of utterances that the system did not get; "" if it got all."""
    parts = [
        f"{count} {why}"
        for count, why in (
            (evaluation.broken, "broken"),
            (evaluation.dropped, "outside the duration limits of the formatting"),
        )
        if count
    ]
    if skipped := evaluation.skipped:
        total = evaluation.accuracy.utterances + skipped.utterances
        unknown = plural(skipped.languages, "language")
        parts.append(f"{skipped.utterances} of {total} in {unknown} that the system does not know")
    return ", ".join(parts)


def _languages_text(evaluation: Evaluation) -> str:
    columns = [heading for metric in reported_metrics.LANGUAGE_METRICS for heading in metric.headings]
    head = ("label", "language", "n", "correct", *columns, "mistaken for")
    rows = [_language_row(result) for result in evaluation.per_language]
    return columns_text(head, rows, "<<>>" + ">" * len(columns) + "<")


def _language_row(result: LanguageResult) -> tuple[str, ...]:
    metrics = reported_metrics.LANGUAGE_METRICS
    return (
        result.label,
        result.name,
        str(result.recall.utterances),
        str(result.recall.correct),
        *(cell for metric in metrics for cell in metric.cells(metric.compute(result))),
        f"{result.mistaken_for} ({result.mistaken_times})" if result.mistaken_for else "",
    )


def _groups_text(evaluation: Evaluation) -> str:
    rows = [(group.table, group.name, *_right_cells(group.right)) for group in evaluation.groups]
    return columns_text(("table", "value", "n", "correct", "accuracy %", "95 % interval"), rows, "<<>>>>")


def _durations_text(evaluation: Evaluation) -> str:
    rows = [(seconds_range(bucket), *_right_cells(bucket.right)) for bucket in evaluation.buckets]
    return columns_text(("seconds", "n", "correct", "accuracy %", "95 % interval"), rows, ">>>>>")


def _curve_text(curve: DurationCurve) -> str:
    rows = [
        (f"{point.seconds:g}", *_right_cells(point.right), str(point.left_out), *_right_cells(point.same)[2:])
        for point in curve.points
    ]
    if curve.whole is not None:
        rows.append(("whole", "", "", "", "", "", *_right_cells(curve.whole)[2:]))
    head = (
        "crop, s",
        "n",
        "correct",
        "accuracy %",
        "95 % interval",
        "shorter",
        "the same, %",
        "95 % interval",
    )
    same = 0 if curve.whole is None else curve.whole.utterances
    note = f"The same: the {plural(same, 'utterance')} of at least {curve.longest:g} s." if same else ""
    return "\n".join(filter(None, (columns_text(head, rows, ">" * len(head)), note)))


def _calibration_text(calibrated: Calibrated) -> str:
    fitted = f", fitted on {calibrated.fitted_on}" if calibrated.fitted_on else ""
    count = plural(calibrated.utterances, "utterance")
    parts = [
        f"calibration{fitted}; {count} in known languages",
        *lines(calibrated.before, calibrated.after),
        *([OWN_SET] if calibrated.own else []),
        "",
        *_reliability_lines(calibrated),
    ]
    return "\n".join(parts)


def _reliability_lines(calibrated: Calibrated) -> list[str]:
    """Return posteriors and accuracies before and after, in bins of the posterior."""
    bins = [{part.to: part for part in one.reliability} for one in (calibrated.before, calibrated.after)]
    rows = [
        (f"{100 * to:.1f}", *(cell for part in bins for cell in _bin_cells(part.get(to))))
        for to in sorted(bins[0] | bins[1])
    ]
    columns = ("n", "posterior", "accuracy")
    head = ("posterior up to, %", *(f"{name} {when}" for when in ("before", "after") for name in columns))
    return [columns_text(head, rows, ">" * len(head))]


def _bin_cells(part: Bin | None) -> tuple[str, str, str]:
    if part is None:
        return "0", "-", "-"
    return str(part.answers), f"{100 * part.posterior:.1f}", f"{100 * part.accuracy:.1f}"


def _right_cells(right: Proportion | None) -> tuple[str, str, str, str]:
    if right is None:
        return "0", "0", "-", "-"
    value = f"{100 * right.estimate.value:.2f}"
    return str(right.utterances), str(right.correct), value, interval(right.estimate)
