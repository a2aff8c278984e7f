"""Draw the languages of a recording over time: one row for each language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lid_toolkit.evaluation.style import (
    INK,
    MUTED,
    PALETTE,
    new_figure,
    plain_axes,
    saved,
    short_name,
    shortened,
)
from lid_toolkit.evaluation.wording import plural

WIDTH_INCH, ROW_INCH, REST_INCH = 10.0, 0.42, 1.35
NARROWEST = 0.002
"""Least width of a bar as a fraction of the picture, so that short segments are visible."""

HOUR, MINUTE = 3600, 60


class Part(Protocol):
    """A part of a recording in one language."""

    @property
    def start(self) -> float:
        """Begin in seconds."""

    @property
    def end(self) -> float:
        """End in seconds."""

    @property
    def language(self) -> str:
        """Label."""

    @property
    def score(self) -> float:
        """Posterior of the language, 0 to 1."""


def timeline_picture(name: str, duration: float, parts: Sequence[Part], form: str = "png") -> bytes:
    """Return a timeline: a row for each language in the order of their first segments.

    The bars of a row have one colour, paler where the posterior is lower. At the right is the time and the
    share of the language in all segments. The rows and their names tell languages apart without colours.

    Args:
        name: of the recording.
        duration: of the recording in seconds.
        parts: the segments, in order.
        form: ``png``, ``svg`` or ``pdf``.
    """
    labels = list(dict.fromkeys(part.language for part in parts))
    figure = new_figure(WIDTH_INCH, REST_INCH + ROW_INCH * max(1, len(labels)))
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12))
    axes = figure.add_subplot()
    for row, label in enumerate(labels):
        own = [part for part in parts if part.language == label]
        _draw_row(axes, row, own, duration)
        seconds = sum(part.end - part.start for part in own)
        share = seconds / sum(part.end - part.start for part in parts)
        axes.annotate(
            f"{clock(seconds)}, {100 * share:.0f} %",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=MUTED,
        )
    _label_axes(axes, labels, duration)
    axes.set_title(
        f"{shortened(name)}: {clock(duration)}, {plural(len(labels), 'language')}, "
        f"{plural(len(parts), 'segment')}",
        fontsize=11,
        color=INK,
        loc="left",
        parse_math=False,
    )
    return saved(figure, form)


def clock(seconds: float) -> str:
    """Return a time as people write it: ``7.5 s``, ``2:05`` or ``1:02:05``."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes = f"{whole % HOUR // MINUTE:02d}" if whole >= HOUR else f"{whole // MINUTE}"
    return f"{f'{whole // HOUR}:' if whole >= HOUR else ''}{minutes}:{whole % MINUTE:02d}"


def paler(colour: str, white: float) -> tuple[float, ...]:
    """Return a colour mixed with white: unlike transparency, it hides the grid behind it."""
    return tuple(part + (1 - part) * white for part in to_rgb(colour))


def tick(seconds: float) -> str:
    """Return a time for an axis: ``0``, ``20 s`` or ``2:05``."""
    if seconds < MINUTE:
        return f"{seconds:g} s" if seconds else "0"
    return clock(seconds)


def _draw_row(axes: Axes, row: int, own: Sequence[Part], duration: float) -> None:
    colour = PALETTE[row % len(PALETTE)]
    for part in own:
        axes.barh(
            row,
            max(part.end - part.start, NARROWEST * duration),
            left=part.start,
            height=0.7,
            color=paler(colour, 0.65 * (1 - part.score)),
            linewidth=0,
        )


def _label_axes(axes: Axes, labels: Sequence[str], duration: float) -> None:
    axes.set_xlim(0, duration)
    axes.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    plain_axes(axes, grid="x")
    names = [short_name(label) for label in labels]
    axes.set_yticks(range(len(labels)), names, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 3, 6, 10] if duration >= MINUTE else None))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=9, labelcolor=MUTED)
