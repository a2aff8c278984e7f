"""A map of embeddings that one can zoom, for pages: its points as data for the page's script."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from lid_toolkit import languages
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.map_layout import distinct_styles
from lid_toolkit.evaluation.pages import json_for_script, render
from lid_toolkit.evaluation.style import (
    DARK,
    MARKER_CONTRAST,
    PAPER,
    display_name,
    printable,
    readable,
    shortened,
)

MAP_NOTE = "An outline marks a wrong answer. Select languages in the list; the wheel zooms."
COLUMNS = ["utt", "lang", "predicted", "x", "y"]


@dataclass(frozen=True)
class Point:
    """A point of a map: an utterance and its true language, its answer ("" if none), and its place."""

    utterance: str
    language: str
    answer: str
    x: float
    y: float


def read_points(path: Path) -> list[Point]:
    """Read the points of ``tsne.csv``.

    Raises:
        LidError: the file is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream)
            if next(rows, None) != COLUMNS:
                raise ValueError
            return [Point(utt, lang, answer, float(x), float(y)) for utt, lang, answer, x, y in rows]
    except ValueError:
        raise LidError("not a table of a map", where=path, redo="t-SNE") from None


def thinned(points: Sequence[Point], at_most: int) -> list[Point]:
    """Return at most about ``at_most`` points: of each language the first ones, up to the same number."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.language, []).append(point)
    if len(points) <= at_most:
        return list(points)
    each = max(1, at_most // len(groups))
    return [point for group in groups.values() for point in group[:each]]


def map_data(points: Sequence[Point]) -> Markup:
    """Return the points as JSON for the script of a page; languages in the order of their names."""
    return json_for_script(_content(points))


def means_data(labels: Sequence[str], places_l: npt.NDArray[np.float64]) -> Markup:
    """Return a map of languages alone, one point each at (languages, 2), for the script of a page."""
    points = zip(labels, places_l.tolist(), strict=True)
    content = _content([Point(display_name(label), label, label, x, y) for label, (x, y) in points])
    return json_for_script({**content, "answers": []})


def map_html(title: str, data: Markup, note: str) -> str:
    """Return a map as a page of its own."""
    return render("map.html.j2", title=title, map=data, note=note)


def _content(points: Sequence[Point]) -> dict[str, object]:
    labels = sorted({point.language for point in points}, key=display_name)
    number = {label: index for index, label in enumerate(labels)}
    places = np.array([(point.x, point.y) for point in points])
    of_points = np.array([number[point.language] for point in points])
    means = np.stack([places[of_points == index].mean(axis=0) for index in range(len(labels))])
    answers = sorted({point.answer for point in points})
    answer = {label: index for index, label in enumerate(answers)}
    return {
        "languages": _languages(labels, means, of_points),
        "answers": [display_name(label) if label else "nothing" for label in answers],
        "x": _short(places[:, 0]),
        "y": _short(places[:, 1]),
        "language": of_points.tolist(),
        "answer": [answer[point.answer] for point in points],
        "wrong": [int(point.answer != point.language) for point in points],
        "names": [printable(point.utterance) for point in points],
    }


def _languages(
    labels: Sequence[str], means: npt.NDArray[np.float64], of_points: npt.NDArray[np.int64]
) -> list[Mapping[str, object]]:
    counts = np.bincount(of_points, minlength=len(labels)).tolist()
    return [
        {
            "name": display_name(label),
            "short": shortened(languages.name(label)),
            "colours": [
                readable(colour, PAPER, MARKER_CONTRAST),
                readable(colour, DARK["paper"], MARKER_CONTRAST),
            ],
            "marker": marker,
            "count": count,
        }
        for label, (colour, marker), count in zip(labels, distinct_styles(means), counts, strict=True)
    ]


def _short(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
