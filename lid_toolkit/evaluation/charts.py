"""The interactive charts of the HTML report, as plotly figures."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lid_toolkit.evaluation.confusion_picture import drawn_confusion
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.metrics import Evaluation
from lid_toolkit.evaluation.style import FONT, GRID, INK, MUTED, RIGHT, WRONG, display_name
from lid_toolkit.evaluation.wording import interval, seconds_range

LEGIBLE_COUNTS = 40
BESIDE_A_TABLE = 15
"""Number of languages up to which the confusions fit beside a table."""


def confusion_chart(evaluation: Evaluation) -> go.Figure:
    """Return the confusion matrix: correct answers in blue, wrong ones in red, counts on hover."""
    confusion = drawn_confusion(evaluation)
    signed = np.where(confusion.is_right, confusion.shares, -np.sqrt(confusion.shares))
    signed[confusion.counts == 0] = np.nan  # shows the page's background, light or dark
    many = len(confusion.columns) > LEGIBLE_COUNTS
    rows, columns = _escaped(confusion.rows), _escaped(confusion.columns)
    hover = [
        [
            f"true <b>{row}</b><br>answered <b>{column}</b><br>{count} of {total} ({100 * share:.1f} %)"
            for column, count, share in zip(columns, counts, shares, strict=True)
        ]
        for row, counts, shares, total in zip(
            rows, confusion.counts, confusion.shares, confusion.counts.sum(axis=1), strict=True
        )
    ]
    beside = len(columns) <= BESIDE_A_TABLE
    cell = 12 if many else max(26, min(48, 720 // len(columns)))
    figure = go.Figure(
        go.Heatmap(
            z=signed,
            zmin=-1,
            zmax=1,
            x=list(range(len(columns))),
            y=list(range(len(rows))),
            colorscale=[(0, WRONG), (0.5, "white"), (1, RIGHT)],
            showscale=False,
            xgap=1,
            ygap=1,
            hovertext=hover,
            hoverinfo="text",
            text=np.where(confusion.counts > 0, confusion.counts.astype(str), ""),
            texttemplate="" if many else "%{text}",
        )
    )
    styled(figure, height=cell * len(rows) + 200, width=None if beside else cell * len(columns) + 260)
    axis = {"showgrid": False, "zeroline": False, "tickfont": {"size": 9 if many else 12}}
    # A vertical tool bar at the right, because a horizontal one would cover the title of the top axis.
    figure.update_layout(plot_bgcolor=GRID, modebar={"orientation": "v"}, margin={"r": 60})
    figure.update_xaxes(
        tickvals=list(range(len(columns))),
        ticktext=columns,
        tickangle=-90,
        side="top",
        title="answered",
        **axis,
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", title="true", **axis
    )
    return figure


def language_chart(evaluation: Evaluation) -> go.Figure:
    """Return a bar chart of the recall of each language with its interval, lowest recall at the top."""
    results = sorted(
        evaluation.per_language, key=lambda result: (-result.recall.estimate.value, result.label)
    )
    names = _escaped([display_name(result.label) for result in results])
    hover = [
        f"<b>{name}</b><br>recall {100 * result.recall.estimate.value:.2f} % "
        f"{interval(result.recall.estimate)}<br>{result.recall.correct} of {result.recall.utterances}"
        for name, result in zip(names, results, strict=True)
    ]
    figure = go.Figure(
        go.Bar(
            orientation="h",
            x=[100 * result.recall.estimate.value for result in results],
            y=names,
            error_x=_error_bars([result.recall.estimate for result in results]),
            marker={"color": RIGHT, "opacity": 0.75},
            hovertext=hover,
            hoverinfo="text",
        )
    )
    styled(figure, height=22 * len(results) + 90)
    figure.update_xaxes(range=(0, 101), title="recall, %", gridcolor=GRID)
    figure.update_yaxes(tickmode="linear", tickfont={"size": 12})
    return figure


def duration_chart(evaluation: Evaluation) -> go.Figure:
    """Return a bar chart of the accuracy for each range of durations, with its interval."""
    filled = [(bucket, bucket.right) for bucket in evaluation.buckets if bucket.right is not None]
    figure = go.Figure(
        go.Bar(
            x=[f"{seconds_range(bucket)} s<br>n = {right.utterances}" for bucket, right in filled],
            y=[100 * right.estimate.value for _, right in filled],
            error_y=_error_bars([right.estimate for _, right in filled]),
            marker={"color": RIGHT, "opacity": 0.75},
            hovertext=[
                f"{right.correct} of {right.utterances} correct<br>{100 * right.estimate.value:.2f} % "
                f"{interval(right.estimate)}"
                for _, right in filled
            ],
            hoverinfo="text",
        )
    )
    styled(figure, height=360)
    figure.update_yaxes(range=(0, 101), title="accuracy, %", gridcolor=GRID)
    return figure


def _error_bars(estimates: Sequence[Estimate]) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (estimate.high - estimate.value) for estimate in estimates],
        "arrayminus": [100 * (estimate.value - estimate.low) for estimate in estimates],
        "color": INK,
        "thickness": 1.2,
        "width": 3,
    }


def _escaped(names: Sequence[str]) -> list[str]:
    """Escape names, because plotly interprets HTML tags in texts."""
    return [html.escape(name) for name in names]


def styled(figure: go.Figure, height: int, width: int | None = None) -> None:
    """Give a figure the style of the report; without a width, it is as wide as its place."""
    figure.update_layout(
        height=height,
        width=width,
        template="plotly_white",
        font={"family": FONT, "color": INK, "size": 13},
        margin={"l": 20, "r": 20, "t": 36, "b": 40},
        hoverlabel={"bgcolor": "white", "bordercolor": MUTED, "font": {"color": INK, "family": FONT}},
        bargap=0.3,
    )
    figure.update_xaxes(automargin=True, ticklabelstandoff=6)
    figure.update_yaxes(automargin=True, ticklabelstandoff=6)
