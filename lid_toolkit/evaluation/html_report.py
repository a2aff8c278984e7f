"""The results of scoring as one interactive HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from markupsafe import Markup

from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation import reported_metrics
from lid_toolkit.evaluation.charts import BESIDE_A_TABLE, confusion_chart, duration_chart, language_chart
from lid_toolkit.evaluation.curve_charts import score_charts
from lid_toolkit.evaluation.metrics import FREQUENT, Evaluation, LanguageResult
from lid_toolkit.evaluation.mistakes import Mistake
from lid_toolkit.evaluation.pages import figure_json, plotly_library, render
from lid_toolkit.evaluation.style import DARK, FONT, LIGHT, display_name
from lid_toolkit.evaluation.text_report import INDEPENDENT, MERGED, RULE, not_scored_note
from lid_toolkit.evaluation.wording import plural

FAILURES_LISTED = 200
PAIRS_LISTED = 20
RARE = "their recalls, and so the macro accuracy, are uncertain."


def html_report(evaluation: Evaluation, mistakes: Sequence[Mistake], failed: Table) -> str:
    """Return the page: metrics first, then charts and tables.

    Args:
        evaluation: the metrics of the set.
        mistakes: the wrong answers to list.
        failed: utterance -> why it has no answer; the first FAILURES_LISTED are listed.
    """
    wrong = evaluation.accuracy.utterances - evaluation.unanswered - evaluation.accuracy.correct
    metrics = reported_metrics.LANGUAGE_METRICS
    columns = [heading for metric in metrics for heading in metric.headings]
    from_scores = score_charts(evaluation.scored)
    figures = {
        "confusion_chart": confusion_chart(evaluation),
        "language_chart": language_chart(evaluation),
        "duration_chart": duration_chart(evaluation),
        **{name: figure for name, (_, _, figure) in from_scores.items()},
    }
    return render(
        "report.html.j2",
        title=f"Language identification of {evaluation.name}",
        style={"font": Markup(FONT), "light": LIGHT, "dark": DARK},
        cards=_cards(evaluation),
        details=_details(evaluation),
        notes=_notes(evaluation),
        mistakes=[_mistake_row(mistake) for mistake in mistakes],
        wrong_answers=plural(wrong, "wrong answer"),
        failures=list(islice(failed, FAILURES_LISTED)),
        failed=len(failed),
        language_columns=["language", "utterances", "correct", *columns, "mistaken for"],
        language_rows=[_language_row(result) for result in evaluation.per_language],
        language_classes=["left", "right", "right", *["right"] * len(columns), "left"],
        plotly=plotly_library(),
        pairs=_confused_pairs(evaluation),
        whole_row=len(evaluation.languages) > BESIDE_A_TABLE,
        score_charts={name: (title, note) for name, (title, note, _) in from_scores.items()},
        charts={name: figure_json(figure) for name, figure in figures.items()},
    )


def _cards(evaluation: Evaluation) -> list[dict[str, object]]:
    return [
        {
            "title": metric.title,
            "value": metric.with_unit(value),
            "lines": [metric.interval(value), metric.note(evaluation)],
        }
        for metric, value in _values(evaluation, details=False)
    ]


def _details(evaluation: Evaluation) -> list[tuple[str, ...]]:
    return [
        (metric.title, metric.with_unit(value), metric.interval(value), metric.note(evaluation))
        for metric, value in _values(evaluation, details=True)
    ]


def _values(
    evaluation: Evaluation, details: bool
) -> list[tuple[reported_metrics.Metric[Evaluation], reported_metrics.Value]]:
    metrics = reported_metrics.metrics_of(evaluation)
    return [(metric, metric.compute(evaluation)) for metric in metrics if metric.detail == details]


def _confused_pairs(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return the most frequent confusions: true and answered language, number, proportion of the true one."""
    counts = evaluation.confusion[:, :-1].copy()
    np.fill_diagonal(counts, 0)
    most = np.argsort(-counts, axis=None, kind="stable")[:PAIRS_LISTED]
    rows, columns = np.unravel_index(most, counts.shape)
    totals = evaluation.confusion.sum(axis=1)
    return [
        (
            display_name(evaluation.languages[row]),
            display_name(evaluation.languages[column]),
            str(counts[row, column]),
            f"{100 * counts[row, column] / totals[row]:.1f}",
        )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if counts[row, column]
    ]


def _notes(evaluation: Evaluation) -> list[str]:
    note = not_scored_note(evaluation)
    rare = sum(result.recall.utterances < FREQUENT for result in evaluation.per_language)
    return [
        *([f"Not scored: {note}."] if note else []),
        *([f"{plural(rare, 'language')} with fewer than {FREQUENT} utterances: {RARE}"] if rare else []),
        *([f"Macrolanguages are {MERGED}."] if evaluation.merged else []),
        RULE if evaluation.clustered else f"{RULE} {INDEPENDENT}",
    ]


def _mistake_row(mistake: Mistake) -> tuple[str, ...]:
    return (
        mistake.utterance,
        display_name(mistake.true),
        display_name(mistake.predicted),
        f"{mistake.probability:.3f}",
        "-" if mistake.true_probability is None else f"{mistake.true_probability:.3f}",
        f"{mistake.seconds:.2f}",
    )


def _language_row(result: LanguageResult) -> tuple[str, ...]:
    metrics = reported_metrics.LANGUAGE_METRICS
    return (
        display_name(result.label),
        str(result.recall.utterances),
        str(result.recall.correct),
        *(cell for metric in metrics for cell in metric.cells(metric.compute(result))),
        f"{display_name(result.mistaken_for)}: {result.mistaken_times}" if result.mistaken_for else "",
    )
