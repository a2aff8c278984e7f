"""Draw the confusion matrix: one row for each true language, one column for each answered language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from lid_toolkit.evaluation.style import (
    GRID,
    INK,
    MUTED,
    RIGHT,
    WRONG,
    display_name,
    new_figure,
    short_name,
    shortened,
)
from lid_toolkit.evaluation.svg import Cells, Picture
from lid_toolkit.evaluation.wording import plural

FAILED_NAME, NO_ANSWER_NAME = "(failed)", "(no answer)"
MARGIN_INCH = 0.3
LETTER_WIDTH = 0.6
LEGIBLE = 40
"""Number of languages up to which every row has its name and every cell its count."""


@dataclass(frozen=True)
class Confusion:
    """The non-empty part of a confusion matrix. Languages that are confused are beside each other.

    Attributes:
        rows: names of the true languages that have utterances.
        columns: the same names in the same order, then other languages that were answered, then failures.
        counts: (rows, columns) numbers of utterances.
        shares: (rows, columns) counts divided by the sum of the row, in [0, 1].
        recalls: (rows,) text about the recall of each row.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]
    recalls: tuple[str, ...]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """(rows, columns) True on the diagonal."""
        return np.eye(len(self.rows), len(self.columns), dtype=bool)

    @property
    def wrong(self) -> npt.NDArray[np.int64]:
        """(rows, columns) counts without those of the diagonal."""
        return np.where(self.is_right, 0, self.counts)


def drawn_confusion(results: Mapping[str, Any]) -> Confusion:
    """Return the rows that have utterances, and the columns that have a row or an answer.

    Args:
        results: the content of ``results.json``.
    """
    labels, true = results["confusion"]["predicted"][:-1], results["confusion"]["true"]
    counts = np.asarray(results["confusion"]["counts"], np.int64)
    place = {label: number for number, label in enumerate(labels)}
    own = np.array([place[label] for label in true])
    order = _order([display_name(label) for label in true], counts[:, own])
    missing = NO_ANSWER_NAME if "abstained" in results else FAILED_NAME
    names = [*(short_name(label) for label in labels), missing]
    others = np.setdiff1d(np.flatnonzero(counts.sum(axis=0)), own).tolist()
    others.sort(key=lambda column: (column == len(labels), names[column]))
    columns = np.array([*own[order], *others], np.int64)
    chosen = counts[order][:, columns]
    totals = chosen.sum(axis=1, keepdims=True)
    rights = chosen[np.arange(len(order)), np.arange(len(order))]
    return Confusion(
        rows=tuple(names[own[row]] for row in order),
        columns=tuple(names[column] for column in columns),
        counts=chosen,
        shares=chosen / totals,
        recalls=tuple(
            f"{100 * right / total:.1f} % of {total}"
            for right, total in zip(rights.tolist(), totals[:, 0].tolist(), strict=True)
        ),
    )


def confusion_picture(results: Mapping[str, Any]) -> Picture:
    """Draw the confusion matrix of ``results.json``.

    The colour of a cell is its share of the row: blue for correct answers, red for wrong ones, on a
    square-root scale so that single mistakes are visible. The number in a cell is its count. With many
    languages, only rows and columns with errors are named, and cells have no numbers.
    """
    confusion = drawn_confusion(results)
    cell, letters = _sizes(len(confusion.columns))
    figure, axes = _canvas(confusion, cell, letters)
    axes.imshow(_cell_colours(confusion), aspect="equal", interpolation="none")
    if len(confusion.columns) <= LEGIBLE:
        _write_counts(axes, confusion, letters)
    _label_axes(axes, confusion, letters)
    title = _title(results, len(confusion.rows))
    figure.text(
        MARGIN_INCH / figure.get_figwidth(),
        1 - MARGIN_INCH / figure.get_figheight(),
        title,
        fontsize=_title_size(len(confusion.columns)),
        color=INK,
        va="top",
        linespacing=1.4,
        parse_math=False,
    )
    return Picture(figure, f"Confusions. {title}", cells=Cells(axes, _cells(confusion)))


def _order(names: list[str], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return an order of the languages in which those that are confused are together; the others by name.

    The confused ones are clustered (average linkage) by how much of the one is answered as the other, and
    ordered so that neighbours are as similar as possible (Bar-Joseph, Gifford and Jaakkola 2001).
    """
    by_name = np.argsort(np.array(names), kind="stable")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alike = shares + shares.T
    np.fill_diagonal(alike, 0)
    confused = by_name[alike[by_name].any(axis=1)]
    if len(confused) > 2:
        distances = squareform(
            2 - alike[np.ix_(confused, confused)] - 2 * np.eye(len(confused)), checks=False
        )
        confused = confused[leaves_list(linkage(distances, "average", optimal_ordering=True))]
    return np.concatenate([confused, by_name[~alike[by_name].any(axis=1)]]).astype(np.int64)


def _cells(confusion: Confusion) -> dict[str, object]:
    """Return names and counts of the cells that are not empty, for the page."""
    rows, columns = np.nonzero(confusion.counts)
    return {
        "rows": confusion.rows,
        "columns": confusion.columns,
        "totals": confusion.counts.sum(axis=1).tolist(),
        "cells": np.stack([rows, columns, confusion.counts[rows, columns]], axis=1).tolist(),
    }


def _title(results: Mapping[str, Any], languages: int) -> str:
    whole, macro = results["accuracy"], results["macro_accuracy"]
    return (
        f"{shortened(results['set'])}: {plural(results['utterances'], 'utterance')}, "
        f"{plural(languages, 'language')}\n"
        f"accuracy {_percent(whole)}\nmacro accuracy {_percent(macro)}"
    )


def _percent(share: Mapping[str, float]) -> str:
    return f"{100 * share['value']:.1f} % [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"


def _sizes(columns: int) -> tuple[float, float]:
    """Return the width of a cell in inches and the font size in points that keep the matrix legible."""
    for most, cell, letters in ((8, 0.7, 11.0), (16, 0.52, 10.0), (LEGIBLE, 0.36, 8.0)):
        if columns <= most:
            return cell, letters
    return 0.14, 8.5


def _title_size(columns: int) -> float:
    return 12.0 if columns <= LEGIBLE else 18.0


def _canvas(confusion: Confusion, cell: float, letters: float) -> tuple[Figure, Axes]:
    """Return a figure whose margins are just wide enough for the longest names."""
    letter = letters * LETTER_WIDTH / 72
    left = MARGIN_INCH + 0.35 + letter * max(map(len, confusion.rows))
    right = MARGIN_INCH + letter * 14
    bottom = MARGIN_INCH + 0.35 + letter * max(map(len, confusion.columns))
    top = 3 * 1.4 * _title_size(len(confusion.columns)) / 72 + 2 * MARGIN_INCH
    inner_width, inner_height = cell * len(confusion.columns), cell * len(confusion.rows)
    width, height = max(left + inner_width + right, 5.5), top + inner_height + bottom
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, bottom / height, inner_width / width, inner_height / height))
    return figure, axes


def _cell_colours(confusion: Confusion) -> npt.NDArray[np.float64]:
    """Return (rows, columns, 4) RGBA colours: what is pale is transparent, for a dark page too."""
    strength = np.where(confusion.is_right, confusion.shares, np.sqrt(confusion.shares))
    colours = np.where(confusion.is_right[..., None], to_rgba(RIGHT), to_rgba(WRONG))
    return np.concatenate([colours[..., :3], strength[..., None]], axis=-1)


def _write_counts(axes: Axes, confusion: Confusion, letters: float) -> None:
    """Write the counts as one collection of outlines: thousands of texts take 20 seconds to lay out."""
    rows, columns = np.nonzero(confusion.counts)
    counts, shares = confusion.counts[rows, columns], confusion.shares[rows, columns]
    sizes = {text: letters * min(1.0, 3.2 / len(text)) for text in map(str, counts)}
    outlines = {text: _centred(text, size) for text, size in sizes.items()}
    on_dark = shares > np.where(rows == columns, 0.5, 0.25)
    written = PathCollection(
        [outlines[str(count)] for count in counts],
        offsets=np.column_stack((columns, rows)),
        offset_transform=axes.transData,
        facecolors=np.where(on_dark, "#fffffe", INK).tolist(),  # not the colour of paper, which pages change
        linewidths=0,
    )
    written.set_transform(axes.figure.dpi_scale_trans)
    axes.add_collection(written, autolim=False)


def _centred(text: str, points: float) -> Path:
    """Return the outline of a number around (0, 0), in inches."""
    outline = TextPath((0, 0), text, size=points)
    (left, bottom), (right, top) = outline.get_extents().get_points()
    return Path((outline.vertices - ((left + right) / 2, (bottom + top) / 2)) / 72, outline.codes)


def _label_axes(axes: Axes, confusion: Confusion, letters: float) -> None:
    rows, columns = np.arange(len(confusion.rows)), np.arange(len(confusion.columns))
    if len(columns) > LEGIBLE:
        rows = np.flatnonzero(confusion.wrong.any(axis=1))
        columns = np.flatnonzero(confusion.wrong.any(axis=0))
    axes.set_xticks(columns, [confusion.columns[column] for column in columns], rotation=90, parse_math=False)
    axes.set_yticks(rows, [confusion.rows[row] for row in rows], parse_math=False)
    axes.tick_params(length=0, labelsize=letters, labelcolor=INK)
    axes.set_xlabel("answered", fontsize=letters + 1, color=MUTED)
    axes.set_ylabel("true", fontsize=letters + 1, color=MUTED)
    axes.set_xticks(np.arange(0.5, len(confusion.columns) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(confusion.rows) - 1), minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color(GRID)
    if len(confusion.columns) > len(confusion.rows):
        axes.axvline(len(confusion.rows) - 0.5, color=MUTED, linewidth=1.2)
    for row in rows.tolist():
        axes.text(
            len(confusion.columns) - 0.35,
            row,
            confusion.recalls[row],
            va="center_baseline",
            fontsize=letters * 0.9,
            color=MUTED,
        )
