"""The report of stage 7: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import islice

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.evaluation.charts import confusion_chart, duration_chart, language_chart
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import Evaluation, LanguageResult
from lid_toolkit.evaluation.mistakes import Mistake
from lid_toolkit.evaluation.style import FONT, GRID, INK, MUTED, display_name
from lid_toolkit.evaluation.text_report import MERGED, RULE, coverage_note, interval, not_scored_note, plural

FAILURES_LISTED = 200

STYLE = f"""
body {{ font: 15px/1.5 {FONT};
  color: {INK}; background: white; margin: 0; padding: 2rem; }}
h1 {{ font-size: 1.7rem; margin: 0; }}
h2 {{ font-size: 1.2rem; margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 1px solid {GRID}; }}
p, nav {{ color: {MUTED}; margin: .3rem 0; max-width: 60rem; }}
nav a {{ color: inherit; margin-right: 1rem; }}
.numbers {{ display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }}
.number {{ border: 1px solid {GRID}; border-radius: 8px; padding: .8rem 1.2rem; min-width: 12rem; }}
.number b {{ display: block; font-size: 2rem; line-height: 1.3; font-weight: 600; }}
.number span {{ color: {MUTED}; display: block; }}
.wide {{ overflow-x: auto; }}
.tall {{ overflow: auto; max-height: 34rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th {{ text-align: left; font-weight: 600; position: sticky; top: 0; background: white; }}
th, td {{ padding: .25rem .9rem .25rem 0; border-bottom: 1px solid {GRID}; white-space: nowrap; }}
.right {{ text-align: right; }}
td.reason {{ white-space: normal; }}
code {{ font-size: .85rem; }}
"""


def html_report(evaluation: Evaluation, mistakes: Sequence[Mistake], failed: Table) -> str:
    """Return the report: numbers first, then charts and tables; scripts last, so that it opens fast."""
    charts = {
        "confusion_chart": confusion_chart(evaluation),
        "language_chart": language_chart(evaluation),
        "duration_chart": duration_chart(evaluation),
    }
    sections = [
        _section(
            "confusion", "Confusions", "Blue: right; red: wrong, on a square-root scale.", "confusion_chart"
        ),
        _section("languages", "Recall by language", "Lowest at the top.", "language_chart"),
        _section("durations", "Accuracy by duration", "", "duration_chart"),
        _mistakes_section(mistakes, evaluation),
        _failures_section(failed),
        f'<h2 id="table">All languages</h2><div class="tall">{_language_table(evaluation)}</div>',
    ]
    title = f"Language identification of {escape(evaluation.name)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{_summary(evaluation)}\n"
        + "\n".join(sections)
        + f"\n<script>{get_plotlyjs()}</script>\n"
        + "\n".join(_draw(name, figure) for name, figure in charts.items())
        + "\n</body></html>\n"
    )


def _summary(evaluation: Evaluation) -> str:
    whole, count = evaluation.accuracy, len(evaluation.per_language)
    cards = [
        _card(
            "accuracy", whole.estimate, f"{whole.correct} of {plural(whole.utterances, 'utterance')} correct"
        ),
        _card("macro accuracy", evaluation.macro_accuracy, f"mean recall of {plural(count, 'language')}"),
        f'<div class="number"><span>coverage</span><b>{100 * evaluation.coverage:.2f} %</b>'
        f"<span>{coverage_note(evaluation)}</span>{_notes(evaluation)}</div>",
    ]
    return (
        '<nav><a href="#confusion">Confusions</a><a href="#languages">Languages</a>'
        '<a href="#durations">Durations</a><a href="#mistakes">Mistakes</a><a href="#failures">Failures</a>'
        f'<a href="#table">Table</a></nav>\n<div class="numbers">{"".join(cards)}</div>\n<p>{RULE}</p>'
    )


def _notes(evaluation: Evaluation) -> str:
    note = not_scored_note(evaluation)
    merged = f"<span>macrolanguages {MERGED}</span>" if evaluation.merged else ""
    return (f"<span>not scored: {note}</span>" if note else "") + merged


def _card(title: str, estimate: Estimate, note: str) -> str:
    return (
        f'<div class="number"><span>{title}</span><b>{100 * estimate.value:.2f} %</b>'
        f"<span>{interval(estimate)}</span><span>{note}</span></div>"
    )


def _section(anchor: str, title: str, note: str, chart: str) -> str:
    return (
        f'<h2 id="{anchor}">{title}</h2>{f"<p>{note}</p>" if note else ""}'
        f'<div class="wide"><div id="{chart}"></div></div>'
    )


def _draw(name: str, figure: go.Figure) -> str:
    """Return the script that draws a figure into the element of that id."""
    content = figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e")
    return (
        f"<script>(function () {{ const figure = {content}; Plotly.newPlot('{name}', figure.data, "
        f"figure.layout, {{responsive: true, displaylogo: false}}); }})();</script>"
    )


def _mistakes_section(mistakes: Sequence[Mistake], evaluation: Evaluation) -> str:
    wrong = evaluation.accuracy.utterances - evaluation.failed - evaluation.accuracy.correct
    head = '<h2 id="mistakes">Most confident mistakes</h2>'
    if not mistakes:
        return head + "<p>No wrong answer.</p>"
    rows = [
        (
            f"<code>{escape(mistake.utterance)}</code>",
            escape(display_name(mistake.true)),
            escape(display_name(mistake.predicted)),
            f"{mistake.probability:.3f}",
            "-" if mistake.true_probability is None else f"{mistake.true_probability:.3f}",
            f"{mistake.seconds:.2f}",
        )
        for mistake in mistakes
    ]
    columns = ("utterance", "true", "answered", "probability", "of the true one", "seconds")
    note = f"<p>{len(mistakes)} of {plural(wrong, 'wrong answer')}, surest first.</p>"
    return f'{head}{note}<div class="tall">{_table(columns, rows, "lllrrr")}</div>'


def _failures_section(failed: Table) -> str:
    head = '<h2 id="failures">Failed utterances</h2>'
    if not len(failed):
        return head + "<p>None.</p>"
    rows = [
        (f"<code>{escape(utterance)}</code>", escape(reason))
        for utterance, reason in islice(failed, FAILURES_LISTED)
    ]
    note = f"<p>{len(rows)} of {len(failed)}; all are in the file <code>failed</code>.</p>"
    return f'{head}{note}<div class="tall">{_table(("utterance", "reason"), rows, "lw")}</div>'


def _language_table(evaluation: Evaluation) -> str:
    columns = (
        "language",
        "utterances",
        "correct",
        "recall, %",
        "95 % interval",
        "precision, %",
        "F1, %",
        "mistaken for",
    )
    rows = [_language_row(result) for result in evaluation.per_language]
    return _table(columns, rows, "lrrrrrrl")


def _language_row(result: LanguageResult) -> tuple[str, ...]:
    recall = result.recall
    mistaken = f"{display_name(result.mistaken_for)}: {result.mistaken_times}" if result.mistaken_for else ""
    return (
        escape(display_name(result.label)),
        str(recall.utterances),
        str(recall.correct),
        f"{100 * recall.estimate.value:.2f}",
        interval(recall.estimate),
        "-" if result.precision is None else f"{100 * result.precision:.2f}",
        f"{100 * result.f1:.2f}",
        escape(mistaken),
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return an HTML table of cells that are HTML already; ``align`` is l, r or w (wraps) by column."""
    styles = [{"l": "", "r": ' class="right"', "w": ' class="reason"'}[side] for side in align]
    head = "".join(f"<th{style}>{column}</th>" for column, style in zip(columns, styles, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{style}>{cell}</td>" for cell, style in zip(row, styles, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
