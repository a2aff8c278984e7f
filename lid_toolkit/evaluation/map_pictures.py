"""Draw a map of embeddings as a PNG picture, an interactive HTML page and a CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from markupsafe import Markup
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lid_toolkit import languages
from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.embedding_map import EmbeddingMap
from lid_toolkit.evaluation.map_layout import distinct_styles, name_places
from lid_toolkit.evaluation.pages import render
from lid_toolkit.evaluation.style import FONT, INK, MARKERS, MUTED, PLOTLY_MARKERS, darker, display_name
from lid_toolkit.evaluation.wording import plural

SVG_AT_MOST = 4000
HTML_MAP_PIXELS, HTML_LETTERS = 560, 13


def map_title(answers: Answers, chart: EmbeddingMap) -> str:
    """Return the title, e.g. ``test: 720 utterances, 12 languages, t-SNE of embeddings, perplexity 5``."""
    return (
        f"{answers.name}: {plural(len(chart.rows), 'utterance')}, "
        f"{plural(len(chart.languages), 'language')}, "
        f"t-SNE of embeddings, perplexity {chart.perplexity:.3g}"
    )


def map_csv(answers: Answers, chart: EmbeddingMap) -> str:
    """Return a CSV table with the columns ``utt,lang,predicted,x,y``, sorted by utterance."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("utt", "lang", "predicted", "x", "y"))
    for row, (x, y) in zip(chart.rows.tolist(), chart.places.tolist(), strict=True):
        true = answers.languages[answers.true[row]]
        writer.writerow((answers.truth.key(row), true, _answer(answers, row), f"{x:.5f}", f"{y:.5f}"))
    return text.getvalue()


def map_png(answers: Answers, chart: EmbeddingMap) -> bytes:
    """Return the map as a PNG picture.

    Each language has a colour and a marker, and its name is written near its mean. A cross marks a wrong
    answer.
    """
    many = len(chart.languages) > 30
    figure = Figure(
        figsize=(16, 16) if many else (10, 10),
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.3, h_pad=0.3),
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    size = float(np.clip(40_000 / len(chart.rows), 9, 36))
    true, wrong = answers.true[chart.rows], _is_wrong(answers, chart)
    for language, (colour, marker) in zip(chart.languages, distinct_styles(chart.means), strict=True):
        here = true == language
        x, y = chart.places[here].T
        axes.scatter(x, y, s=size, c=colour, marker=MARKERS[marker], alpha=0.65, linewidths=0)
        x, y = chart.places[here & wrong].T
        axes.scatter(x, y, s=size, c=INK, marker="x", linewidths=0.13 * size**0.5)
    axes.set_title(
        f"{map_title(answers, chart)}\ncross: identified as another language; name: mean of a language",
        fontsize=13,
        color=INK,
        loc="left",
        parse_math=False,
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.04)
    axes.set_aspect("equal", adjustable="datalim")
    figure.draw_without_rendering()
    write_names(axes, _names(answers, chart), chart.means, letters=9 if many else 13)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    return picture.getvalue()


def write_names(axes: Axes, names: Sequence[str], means: npt.NDArray[np.float64], letters: float) -> None:
    """Write the name of each language near its mean, (languages, 2), without overlap.

    The size of ``letters`` is in points. Draw the figure without rendering first, so that its scale is known.
    """
    scale = float(axes.transData.get_matrix()[0, 0])
    places = name_places(means, names, scale, letters * axes.figure.dpi / 72)
    outline = [patheffects.withStroke(linewidth=3, foreground="white", alpha=0.9)]
    for name, mean, place, (colour, _) in zip(names, means, places, distinct_styles(means), strict=True):
        axes.plot(*np.stack([mean, place]).T, color=colour, linewidth=0.8, zorder=3)
        axes.text(
            place[0],
            place[1],
            name,
            fontsize=letters,
            fontweight="bold",
            color=darker(colour),
            ha="center",
            va="center",
            parse_math=False,
            path_effects=outline,
            zorder=4,
        )


def map_html(answers: Answers, chart: EmbeddingMap) -> str:
    """Return the map as an interactive page; hovering over a point shows its utterance and languages."""
    figure = go.Figure()
    kind = go.Scatter if len(chart.rows) <= SVG_AT_MOST else go.Scattergl
    true, wrong = answers.true[chart.rows], _is_wrong(answers, chart)
    styles = distinct_styles(chart.means)
    size = float(np.clip(400 / len(chart.rows) ** 0.5, 4, 8))
    for language, (colour, marker) in zip(chart.languages, styles, strict=True):
        all_wrong = bool(wrong[true == language].all())
        for mistaken in (False, True):
            here = np.flatnonzero((true == language) & (wrong == mistaken))
            figure.add_trace(
                kind(
                    x=chart.places[here, 0],
                    y=chart.places[here, 1],
                    mode="markers",
                    name=escape(display_name(answers.languages[language])),
                    legendgroup=str(language),
                    showlegend=mistaken == all_wrong,  # plotly leaves an empty trace out of the legend
                    text=[_hover(answers, int(row)) for row in chart.rows[here]],
                    hoverinfo="text",
                    marker={
                        "color": colour,
                        "symbol": PLOTLY_MARKERS[marker],
                        "size": size,
                        "opacity": 0.75,
                        "line": {"width": size / 5 if mistaken else 0, "color": INK},
                    },
                )
            )
    names = _names(answers, chart)
    scale = HTML_MAP_PIXELS / max(float(np.ptp(chart.places, axis=0).max()), 1e-6)
    places = name_places(chart.means, names, scale, HTML_LETTERS)
    for (x, y), name, (colour, _) in zip(places, names, styles, strict=True):
        figure.add_annotation(
            x=x,
            y=y,
            text=f"<b>{escape(name)}</b>",
            showarrow=False,
            font={"color": darker(colour), "size": HTML_LETTERS},
            bgcolor="rgba(255,255,255,0.7)",
        )
    _style(figure, f"{escape(map_title(answers, chart))}<br>outlined: identified as another language")
    body = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        config={"displaylogo": False, "scrollZoom": True, "responsive": True},
        default_height="96vh",
        div_id="map",
    )
    return render("map.html.j2", title=map_title(answers, chart), figure=Markup(body))


def _names(answers: Answers, chart: EmbeddingMap) -> list[str]:
    return [languages.name(answers.languages[language]) for language in chart.languages]


def _style(figure: go.Figure, title: str) -> None:
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False}
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        font={"family": FONT, "color": INK},
        autosize=True,
        margin={"l": 20, "r": 20, "t": 90, "b": 20},
        dragmode="pan",
        xaxis=axis,
        yaxis={**axis, "scaleanchor": "x"},
        legend={
            "title": "click: hide; double-click: show only this",
            "itemsizing": "constant",
            "tracegroupgap": 0,
        },
        hoverlabel={"bgcolor": "white", "bordercolor": MUTED, "font": {"color": INK}},
    )


def _hover(answers: Answers, row: int) -> str:
    true, answer = answers.languages[answers.true[row]], _answer(answers, row)
    answered = display_name(answer) if answer else "nothing"
    return (
        f"<b>{escape(answers.truth.key(row))}</b><br>true: {escape(display_name(true))}"
        f"<br>answered: {escape(answered)}<br>{answers.seconds[row]:.1f} s"
    )


def _answer(answers: Answers, row: int) -> str:
    """Return the answered label, or "" if there is no answer."""
    predicted = int(answers.predicted[row])
    return "" if predicted == FAILED else answers.languages[predicted]


def _is_wrong(answers: Answers, chart: EmbeddingMap) -> npt.NDArray[np.bool_]:
    return np.asarray(answers.true[chart.rows] != answers.predicted[chart.rows])
