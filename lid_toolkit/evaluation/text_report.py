"""The results of stage 7 as text a person reads at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import Bucket, Evaluation, LanguageResult, Share

RULE = (
    "An utterance that failed counts as wrong. Brackets: 95 % score intervals, utterances taken as "
    "independent: with few speakers the true uncertainty is larger."
)

MERGED = "counted as one language with their members"


def text_report(evaluation: Evaluation) -> str:
    """Return the whole report: headline, languages, durations, rule."""
    parts = [
        headline(evaluation),
        columns_text(
            LANGUAGE_HEAD, [_language_row(result) for result in evaluation.per_language], "<<>>>>>><"
        ),
        columns_text(
            ("seconds", "n", "correct", "accuracy %", "95 % interval"), _bucket_rows(evaluation), ">>>>>"
        ),
        RULE,
    ]
    return "\n\n".join(parts) + "\n"


def headline(evaluation: Evaluation) -> str:
    """Return accuracy, macro accuracy and coverage, a line each."""
    whole, count = evaluation.accuracy, len(evaluation.per_language)
    lines = [
        f"{evaluation.name}: {whole.utterances} utterances, {plural(count, 'language')}",
        f"  accuracy        {percent(whole.estimate)}  {whole.correct} of {whole.utterances} correct",
        f"  macro accuracy  {percent(evaluation.macro_accuracy)}  mean recall of {plural(count, 'language')}",
        f"  coverage        {100 * evaluation.coverage:6.2f} %  {coverage_note(evaluation)}",
    ]
    if note := not_scored_note(evaluation):
        lines.append(f"  not scored      {note}")
    if evaluation.merged:
        lines.append(f"  macrolanguages  {MERGED}")
    return "\n".join(lines)


def not_scored_note(evaluation: Evaluation) -> str:
    """Say how many utterances never reached the system, "" if all did."""
    parts = [
        f"{count} {why}"
        for count, why in (
            (evaluation.broken, "broken"),
            (evaluation.dropped, "shorter or longer than stage 3's limits"),
        )
        if count
    ]
    return ", ".join(parts)


def coverage_note(evaluation: Evaluation) -> str:
    """Say how many utterances failed and what the accuracy is without them."""
    if not evaluation.failed:
        return "none failed"
    if evaluation.answered is None:
        return "all failed"
    without = evaluation.answered
    return (
        f"{evaluation.failed} failed; without them {percent(without.estimate).strip()}, "
        f"{without.correct} of {without.utterances} correct"
    )


def percent(estimate: Estimate) -> str:
    """Return e.g. ``97.36 % [95.92, 98.31]``."""
    return f"{100 * estimate.value:6.2f} % {interval(estimate)}"


def interval(estimate: Estimate) -> str:
    """Return e.g. ``[95.92, 98.31]``, in percent."""
    return f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def plural(count: int, noun: str) -> str:
    """Return e.g. ``3 languages`` or ``1 language``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def seconds_range(bucket: Bucket) -> str:
    """Return a bucket's range in words, e.g. ``1-2``, ``< 1`` or ``>= 10``."""
    if bucket.to_s is None:
        return f">= {bucket.from_s:g}"
    return f"{bucket.from_s:g}-{bucket.to_s:g}" if bucket.from_s else f"< {bucket.to_s:g}"


LANGUAGE_HEAD = (
    "label",
    "language",
    "n",
    "correct",
    "recall %",
    "95 % interval",
    "precision %",
    "F1 %",
    "mistaken for",
)


def _language_row(result: LanguageResult) -> tuple[str, ...]:
    recall = result.recall
    return (
        result.label,
        result.name,
        str(recall.utterances),
        str(recall.correct),
        f"{100 * recall.estimate.value:.2f}",
        interval(recall.estimate),
        "-" if result.precision is None else f"{100 * result.precision:.2f}",
        f"{100 * result.f1:.2f}",
        f"{result.mistaken_for} ({result.mistaken_times})" if result.mistaken_for else "",
    )


def _bucket_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    return [(seconds_range(bucket), *_share_cells(bucket.share)) for bucket in evaluation.buckets]


def _share_cells(share: Share | None) -> tuple[str, str, str, str]:
    if share is None:
        return "0", "0", "-", "-"
    value = f"{100 * share.estimate.value:.2f}"
    return str(share.utterances), str(share.correct), value, interval(share.estimate)


def columns_text(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return columns set side by side; ``align`` has ``<`` or ``>`` for each."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True))
        for row in (head, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
