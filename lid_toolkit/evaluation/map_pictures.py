"""Draw a map of embeddings for print, and write it as a CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lid_toolkit import languages
from lid_toolkit.evaluation.answers import FAILED, Answers
from lid_toolkit.evaluation.embedding_map import EmbeddingMap
from lid_toolkit.evaluation.map_layout import distinct_styles, name_places
from lid_toolkit.evaluation.style import INK, MARKERS, PAPER, new_figure, printable, readable, shortened
from lid_toolkit.evaluation.wording import plural

SHAPES_AT_MOST = 4000
"""Number of points up to which an SVG has a shape for each; above, it has a picture of them."""
MARGIN = 0.05
MANY = 30


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
        predicted = int(answers.predicted[row])
        answer = "" if predicted == FAILED else answers.languages[predicted]
        writer.writerow((answers.truth.key(row), true, answer, f"{x:.5f}", f"{y:.5f}"))
    return text.getvalue()


def map_figure(answers: Answers, chart: EmbeddingMap) -> Figure:
    """Draw the map.

    Each language has a colour and a marker, and its name is written near its mean. A cross marks a wrong
    answer.
    """
    true = np.searchsorted(chart.languages, answers.true[chart.rows])
    wrong = answers.true[chart.rows] != answers.predicted[chart.rows]
    many = len(chart.languages) > MANY
    title = f"{map_title(answers, chart)}\ncross: identified as another language; name: a language"
    figure, axes = map_axes(chart.places, title, 14 if many else 9)
    size = float(np.clip(40_000 / len(chart.rows), 9, 36))
    styles = distinct_styles(chart.means)
    for number, (colour, marker) in enumerate(styles):
        here = true == number
        flat = len(chart.rows) > SHAPES_AT_MOST
        x, y = chart.places[here].T
        axes.scatter(x, y, s=size, c=colour, marker=MARKERS[marker], alpha=0.7, linewidths=0, rasterized=flat)
        x, y = chart.places[here & wrong].T
        axes.scatter(x, y, s=size, c=INK, marker="x", linewidths=0.13 * size**0.5, rasterized=flat)
    names = [shortened(languages.name(answers.languages[language])) for language in chart.languages]
    write_names(axes, names, chart.means, chart.places, true, letters=9 if many else 11)
    return figure


def map_axes(places: npt.NDArray[np.float64], title: str, inches: float) -> tuple[Figure, Axes]:
    """Return a square figure with axes of one scale that hold all (points, 2) places, and room for names."""
    figure = new_figure(inches, inches + 0.7)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98 * inches / (inches + 0.7)))
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = (low + high) / 2, (0.5 + MARGIN) * max(float((high - low).max()), 1e-6)
    axes.set(
        xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - half, middle[1] + half),
        xticks=[],
        yticks=[],
    )
    axes.spines[:].set_visible(False)
    figure.text(
        0.02,
        0.985,
        printable(title.split("\n")[0]) + "".join(f"\n{line}" for line in title.split("\n")[1:]),
        va="top",
        fontsize=11,
        linespacing=1.4,
        color=INK,
        parse_math=False,
    )
    return figure, axes


def write_names(
    axes: Axes,
    names: Sequence[str],
    means: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    of_points: npt.NDArray[np.int64],
    letters: float,
) -> None:
    """Write the name of each language near its mean, (languages, 2), where it hides few points.

    ``of_points`` has the number of the language of each point. The size of ``letters`` is in points.
    """
    pixels, dots = axes.transData, letters * axes.figure.dpi / 72
    (left, bottom), (right, top) = axes.transAxes.transform([(0, 0), (1, 1)]).tolist()
    places = name_places(
        pixels.transform(means), names, pixels.transform(points), of_points, (left, right, bottom, top), dots
    )
    # Not an outline of the letters: in an SVG file they would no longer be text.
    paper = {"facecolor": PAPER, "alpha": 0.7, "linewidth": 0, "pad": 0.6}
    written = zip(names, means, pixels.inverted().transform(places), distinct_styles(means), strict=True)
    for name, mean, place, (colour, _) in written:
        axes.plot(*np.stack([mean, place]).T, color=colour, linewidth=0.8, zorder=3)
        axes.text(
            place[0],
            place[1],
            name,
            fontsize=letters,
            fontweight="bold",
            color=readable(colour),
            ha="center",
            va="center",
            parse_math=False,
            bbox=paper,
            zorder=4,
        )
