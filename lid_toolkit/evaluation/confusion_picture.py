"""Draw the confusion matrix: one row for each true language, one column for each answered language."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from lid_toolkit.evaluation.metrics import Evaluation
from lid_toolkit.evaluation.style import GRID, INK, MUTED, RIGHT, WRONG, display_name
from lid_toolkit.evaluation.wording import plural

FAILED_NAME, NO_ANSWER_NAME = "(failed)", "(no answer)"
MARGIN_INCH = 0.3
LETTER_WIDTH = 0.6


@dataclass(frozen=True)
class Confusion:
    """The non-empty part of a confusion matrix.

    Attributes:
        rows: names of the true languages that have utterances.
        columns: the same names in the same order, then other languages that were answered, then failures.
        counts: (rows, columns) numbers of utterances.
        shares: (rows, columns) counts divided by the sum of the row, in [0, 1].
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """(rows, columns) True on the diagonal."""
        return np.eye(len(self.rows), len(self.columns), dtype=bool)


def drawn_confusion(evaluation: Evaluation) -> Confusion:
    """Return the rows that have utterances, and the columns that have a row or an answer."""
    counts = evaluation.confusion
    names = [
        *(display_name(label) for label in evaluation.languages),
        FAILED_NAME if evaluation.policy is None else NO_ANSWER_NAME,
    ]
    present = np.flatnonzero(counts.sum(axis=1))
    answered = np.flatnonzero(counts.sum(axis=0))
    columns = np.concatenate([present, np.setdiff1d(answered, present)])
    chosen = counts[np.ix_(present, columns)]
    return Confusion(
        rows=tuple(names[row] for row in present),
        columns=tuple(names[column] for column in columns),
        counts=chosen,
        shares=chosen / chosen.sum(axis=1, keepdims=True),
    )


def confusion_png(evaluation: Evaluation) -> bytes:
    """Return the confusion matrix as a PNG picture.

    The colour of a cell is its share of the row: blue for correct answers, red for wrong ones, on a
    square-root scale so that single mistakes are visible. The number in a cell is its count.
    """
    confusion = drawn_confusion(evaluation)
    cell, letters = _sizes(len(confusion.columns))
    figure, axes = _canvas(confusion, cell, letters)
    axes.imshow(_cell_colours(confusion), aspect="equal", interpolation="nearest")
    _write_counts(axes, confusion, letters)
    _label_axes(axes, confusion, evaluation, letters)
    whole, macro = evaluation.accuracy.estimate, evaluation.macro_accuracy
    figure.text(
        MARGIN_INCH / figure.get_figwidth(),
        1 - MARGIN_INCH / figure.get_figheight(),
        f"{evaluation.name}: {plural(evaluation.accuracy.utterances, 'utterance')}, "
        f"{plural(len(confusion.rows), 'language')}\n"
        f"accuracy {100 * whole.value:.1f} % [{100 * whole.low:.1f}, {100 * whole.high:.1f}]\n"
        f"macro accuracy {100 * macro.value:.1f} % [{100 * macro.low:.1f}, {100 * macro.high:.1f}]",
        fontsize=_title_size(len(confusion.columns)),
        color=INK,
        va="top",
        linespacing=1.4,
        parse_math=False,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150 if len(confusion.columns) <= 40 else 110)
    return picture.getvalue()


def _sizes(columns: int) -> tuple[float, float]:
    """Return the width of a cell in inches and the font size in points that keep the matrix legible."""
    for most, cell, letters in ((8, 0.7, 11.0), (16, 0.52, 10.0), (40, 0.36, 8.0)):
        if columns <= most:
            return cell, letters
    return 0.21, 7.0


def _title_size(columns: int) -> float:
    return 12.0 if columns <= 40 else 22.0


def _canvas(confusion: Confusion, cell: float, letters: float) -> tuple[Figure, Axes]:
    """Return a figure whose margins are just wide enough for the longest names."""
    letter = letters * LETTER_WIDTH / 72
    left = MARGIN_INCH + 0.35 + letter * max(map(len, confusion.rows))
    right = MARGIN_INCH + letter * 14
    bottom = MARGIN_INCH + 0.35 + letter * max(map(len, confusion.columns))
    title = 3 * 1.4 * _title_size(len(confusion.columns)) / 72 + 2 * MARGIN_INCH
    top = title + (bottom - MARGIN_INCH if _names_on_both_sides(confusion) else 0)
    inner_width, inner_height = cell * len(confusion.columns), cell * len(confusion.rows)
    width, height = max(left + inner_width + right, 5.5), top + inner_height + bottom
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, inner_width / width, inner_height / height))
    return figure, axes


def _names_on_both_sides(confusion: Confusion) -> bool:
    return len(confusion.rows) > 40


def _cell_colours(confusion: Confusion) -> npt.NDArray[np.float64]:
    """Return (rows, columns, 4) RGBA colours."""
    right = LinearSegmentedColormap.from_list("right", ["white", RIGHT])
    wrong = LinearSegmentedColormap.from_list("wrong", ["white", WRONG])
    strength = np.where(confusion.is_right, confusion.shares, np.sqrt(confusion.shares))
    return np.asarray(np.where(confusion.is_right[..., None], right(strength), wrong(strength)))


def _write_counts(axes: Axes, confusion: Confusion, letters: float) -> None:
    """Write the counts as one collection of outlines: thousands of texts take 20 seconds to lay out."""
    rows, columns = np.nonzero(confusion.counts)
    counts, shares = confusion.counts[rows, columns], confusion.shares[rows, columns]
    sizes = {
        text: letters * min(1.0, 3.2 / len(text)) * (0.9 if letters < 8 else 1) for text in map(str, counts)
    }
    outlines = {text: _centred(text, size) for text, size in sizes.items()}
    on_dark = shares > np.where(rows == columns, 0.5, 0.25)
    written = PathCollection(
        [outlines[str(count)] for count in counts],
        offsets=np.column_stack((columns, rows)),
        offset_transform=axes.transData,
        facecolors=np.where(on_dark, "white", INK).tolist(),
        linewidths=0,
    )
    written.set_transform(axes.figure.dpi_scale_trans)
    axes.add_collection(written, autolim=False)


def _centred(text: str, points: float) -> Path:
    """Return the outline of a number around (0, 0), in inches."""
    outline = TextPath((0, 0), text, size=points)
    (left, bottom), (right, top) = outline.get_extents().get_points()
    return Path((outline.vertices - ((left + right) / 2, (bottom + top) / 2)) / 72, outline.codes)


def _label_axes(axes: Axes, confusion: Confusion, evaluation: Evaluation, letters: float) -> None:
    axes.set_xticks(range(len(confusion.columns)), confusion.columns, rotation=90, parse_math=False)
    axes.set_yticks(range(len(confusion.rows)), confusion.rows, parse_math=False)
    both = _names_on_both_sides(confusion)
    axes.tick_params(length=0, labelsize=letters, labelcolor=INK, top=both, labeltop=both)
    axes.set_xlabel("answered", fontsize=letters + 1, color=MUTED)
    axes.set_ylabel("true", fontsize=letters + 1, color=MUTED)
    axes.set_xticks(np.arange(0.5, len(confusion.columns) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(confusion.rows) - 1), minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color(GRID)
    if len(confusion.columns) > len(confusion.rows):
        axes.axvline(len(confusion.rows) - 0.5, color=MUTED, linewidth=1.2)
    for row, result in enumerate(evaluation.per_language):
        axes.text(
            len(confusion.columns) - 0.35,
            row,
            f"{100 * result.recall.estimate.value:.1f} % of {result.recall.utterances}",
            va="center_baseline",
            fontsize=letters * 0.9,
            color=MUTED,
        )
