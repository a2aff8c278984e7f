"""Colours, markers and names shared by all pictures."""

from __future__ import annotations

from lid_toolkit import languages

INK = "#1f2933"
MUTED = "#66717d"
GRID = "#e3e7eb"
LIGHT = {"paper": "#ffffff", "ink": INK, "muted": MUTED, "grid": GRID}
DARK = {"paper": "#15191e", "ink": "#e6e9ec", "muted": "#9aa5b1", "grid": "#323a43"}
"""Colours of pages by the reader's setting."""
RIGHT = "#1c5fa8"
WRONG = "#c8321f"

# Distinct on white. Together with the markers they are also distinct for most colour-blind readers.
PALETTE = (
    "#1c5fa8",
    "#e0701a",
    "#2a8f4b",
    "#c8321f",
    "#7d4fb0",
    "#8a5a3c",
    "#d6509b",
    "#5f6b76",
    "#a39a12",
    "#12a5b5",
    "#8fb3e6",
    "#f0a868",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">", "p", "*")
PLOTLY_MARKERS = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-left",
    "triangle-right",
    "pentagon",
    "star",
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def display_name(label: str) -> str:
    """Return e.g. ``German (deu)``, or only the label if its language is unknown."""
    name = languages.name(label)
    return label if name == label else f"{name} ({label})"


def darker(colour: str) -> str:
    """Return a ``#rrggbb`` colour at 70 % of its brightness, which is legible as text on white."""
    return "#" + "".join(f"{int(0.7 * int(colour[start : start + 2], 16)):02x}" for start in (1, 3, 5))
