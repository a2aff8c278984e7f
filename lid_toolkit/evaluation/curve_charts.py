"""The charts of the HTML report that are made from the scores: coverage, reliability and detection errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from lid_toolkit.evaluation.charts import styled
from lid_toolkit.evaluation.detection import Detection
from lid_toolkit.evaluation.duration_curve import DurationCurve
from lid_toolkit.evaluation.from_scores import FromScores
from lid_toolkit.evaluation.style import GRID, MUTED, RIGHT
from lid_toolkit.evaluation.wording import interval

HEIGHT = 360
LOWEST_RATE = 1e-4


def score_charts(scored: FromScores | None) -> dict[str, tuple[str, str, go.Figure]]:
    """Return name -> title, note and chart of what the scores tell."""
    if scored is None:
        return {}
    charts = {
        "coverage_chart": (
            "Accuracy against coverage",
            "If only the utterances with the highest posteriors are answered.",
            coverage_chart(scored),
        ),
        "reliability_chart": (
            "Reliability",
            "Below the diagonal, the system is too sure. Larger points stand for more answers.",
            reliability_chart(scored),
        ),
    }
    if scored.detection is not None:
        charts["detection_chart"] = (
            "Detection errors",
            "All pairs of an utterance and a language, with the threshold as parameter; logarithmic.",
            detection_chart(scored.detection),
        )
    return charts


def coverage_chart(scored: FromScores) -> go.Figure:
    """Return the accuracy of the answers by the proportion of utterances that are answered."""
    coverage, accuracy = 100 * scored.selective.curve.T
    figure = line(coverage, accuracy, "coverage %{x:.1f} %<br>accuracy %{y:.2f} %")
    lowest = float(accuracy.min()) if len(accuracy) else 0.0
    figure.update_xaxes(range=(0, 101), title="coverage, %", gridcolor=GRID)
    figure.update_yaxes(
        range=(max(0.0, lowest - 2), 100.5), title="accuracy of the answers, %", gridcolor=GRID
    )
    return figure


def seconds_chart(curve: DurationCurve) -> go.Figure:
    """Return the accuracy of crops by their duration, with its interval, and that of whole utterances."""
    points = [(point.seconds, point.right) for point in curve.points if point.right is not None]
    values = [(100 * right.estimate.value, right.estimate) for _, right in points]
    figure = line(np.array([seconds for seconds, _ in points]), np.array([value for value, _ in values]), "")
    figure.data[0].update(
        mode="lines+markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * estimate.high - value for value, estimate in values],
            "arrayminus": [value - 100 * estimate.low for value, estimate in values],
            "color": RIGHT,
            "thickness": 1,
        },
        hovertemplate=None,
        hovertext=[
            f"{seconds:g} s: {value:.2f} % {interval(estimate)}<br>{right.utterances} utterances"
            for (seconds, right), (value, estimate) in zip(points, values, strict=True)
        ],
        hoverinfo="text",
    )
    if curve.whole is not None:
        figure.add_hline(
            y=100 * curve.whole.estimate.value,
            line={"color": MUTED, "dash": "dot"},
            annotation={
                "text": f"whole utterances of at least {curve.longest:g} s",
                "font": {"color": MUTED},
            },
        )
    lowest = min((100 * estimate.low for _, estimate in values), default=0.0)
    figure.update_xaxes(rangemode="tozero", title="seconds of each utterance", gridcolor=GRID)
    figure.update_yaxes(range=(max(0.0, lowest - 2), 101), title="accuracy, %", gridcolor=GRID)
    return figure


def reliability_chart(scored: FromScores) -> go.Figure:
    """Return the accuracy of the answers by their posterior, in bins, beside the diagonal."""
    bins = scored.reliability
    shares = np.array([part.answers for part in bins]) / sum(part.answers for part in bins)
    diagonal = go.Scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": MUTED, "dash": "dot"}, hoverinfo="skip"
    )
    points = go.Scatter(
        x=[100 * part.posterior for part in bins],
        y=[100 * part.accuracy for part in bins],
        mode="lines+markers",
        line={"color": RIGHT, "width": 1},
        marker={"color": RIGHT, "size": 6 + 24 * np.sqrt(shares)},
        hovertext=[
            f"{part.answers} answers<br>posterior {100 * part.posterior:.1f} %<br>"
            f"accuracy {100 * part.accuracy:.1f} %"
            for part in bins
        ],
        hoverinfo="text",
    )
    figure = go.Figure([diagonal, points])
    styled(figure, height=HEIGHT)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(range=(-2, 104), title="mean posterior, %", gridcolor=GRID)
    figure.update_yaxes(range=(-2, 104), title="accuracy, %", gridcolor=GRID)
    return figure


def detection_chart(detection: Detection) -> go.Figure:
    """Return misses by false acceptances. Rates of 0 are drawn at the lowest rate."""
    alarms, misses = 100 * np.maximum(detection.curve.T, LOWEST_RATE)
    figure = line(alarms, misses, "false acceptances %{x:.3g} %<br>misses %{y:.3g} %")
    for update, title in (
        (figure.update_xaxes, "false acceptances, %"),
        (figure.update_yaxes, "misses, %"),
    ):
        update(type="log", title=title, gridcolor=GRID, tickvals=[0.01, 0.1, 1, 10, 100])
    return figure


def line(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], hover: str) -> go.Figure:
    """Return a figure with a line; ``hover`` is what is shown at a point."""
    trace = go.Scatter(
        x=x, y=y, mode="lines", line={"color": RIGHT, "width": 2}, hovertemplate=f"{hover}<extra></extra>"
    )
    figure = go.Figure(trace)
    styled(figure, height=HEIGHT)
    return figure
