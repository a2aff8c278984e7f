"""Colours, markers, names and files of all pictures.

Colours that tell things apart begin with those of Okabe and Ito (2008), which are distinct for colour-blind
readers too. Where there are more, marker shapes also differ. Heat maps use ``cividis``, which is perceptually
uniform (Nuñez, Anderton and Renslow 2018).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from lid_toolkit import languages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#5a6672"
GRID = "#e3e7eb"
PAPER = "#ffffff"
RIGHT = "#0072b2"
WRONG = "#c44601"
LIGHT = {"paper": PAPER, "ink": INK, "muted": MUTED, "grid": GRID, "right": RIGHT, "wrong": WRONG}
DARK = {
    "paper": "#15191e",
    "ink": "#e6e9ec",
    "muted": "#9aa5b1",
    "grid": "#323a43",
    "right": "#56b4e9",
    "wrong": "#ff9a5c",
}
"""Colours of pages by the reader's setting. A picture within a page takes those of the page, and those of
:func:`page_colours`."""
MARKER_CONTRAST = 3.0
"""What WCAG 2.2 asks of graphics; of text it asks 4.5."""
HEAT = "cividis"

PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#332288", "#882255", "#6b7178", "#999933", "#117733", "#8a5a3c"),
)
"""The first six are those of Okabe and Ito that are visible on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">", "p", "*")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FORMS = ("png", "svg")
"""Formats in which pictures are written: one for screens, one for print."""
DPI = 150
LONGEST_NAME = 40


def display_name(label: str) -> str:
    """Return e.g. ``German (deu)``, or only the label if its language is unknown; see :func:`printable`."""
    name = languages.name(label)
    return printable(label if name == label else f"{name} ({label})")


def short_name(label: str) -> str:
    """Return :func:`display_name` for a picture: cut if it is long."""
    return shortened(display_name(label))


def shortened(text: str) -> str:
    """Return a text for a picture: cut if it is long, without characters that show nothing."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def printable(text: str) -> str:
    """Return a text with a mark in place of each character that shows nothing.

    Such are those that are not valid in XML, and those that turn the direction of writing of what follows.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two ``#rrggbb`` colours, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, paper: str = PAPER, least: float = 4.5) -> str:
    """Return a colour that has at least this contrast with the paper: the same one, or darker or lighter.

    The default is what WCAG 2.2 asks of text.
    """
    end = "#000000" if _luminance(paper) > 0.18 else "#ffffff"
    for step in range(21):
        mixed = _mixed(colour, end, step / 20)
        if contrast(mixed, paper) >= least:
            return mixed
    return end


def page_colours(theme: Mapping[str, str]) -> dict[str, str]:
    """Return the colours of a page by their variables: those of a theme, and ``PALETTE`` legible on it."""
    colours = [readable(colour, theme["paper"], MARKER_CONTRAST) for colour in PALETTE]
    return {**theme, **{f"series{number}": colour for number, colour in enumerate(colours)}}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, grid: Literal["both", "x", "y", ""] = "both") -> None:
    """Give axes the style of all pictures: no frame, a pale grid behind the data, and quiet ticks."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, labelsize=8.5)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(color=MUTED, size=9)
    axes.yaxis.label.set(color=MUTED, size=9)


def saved(figure: Figure, form: str, dpi: int = DPI) -> bytes:
    """Return a figure as a file, the same on every run.

    Args:
        figure: what is drawn.
        form: ``png``, ``svg`` (with texts as texts) or ``pdf``.
        dpi: pixels for each inch of a PNG.
    """
    from matplotlib import rc_context

    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "lid_toolkit", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(picture, format=form, dpi=dpi, metadata=dates.get(form))
    return picture.getvalue()


def _channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(255 * ((1 - share) * one + share * two)):02x}" for one, two in pairs)


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
