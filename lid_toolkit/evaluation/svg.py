"""Pictures within a page: SVG in the colours of the page, with texts that are shown where one points.

A page shows the text of ``data-tip`` of the element under the pointer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

from lid_toolkit.evaluation.style import LIGHT, PALETTE, printable, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SVG, LINKS = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
POINTS = 72
SMALLEST = 10.0
"""Least width and height in points of the place of a text."""


@dataclass(frozen=True)
class Spot:
    """A rectangle of a picture with a text. The corners are in the units of the data, in any order."""

    axes: Axes
    x: tuple[float, float]
    y: tuple[float, float]
    text: str


@dataclass(frozen=True)
class Cells:
    """Squares of side 1 around whole numbers, of which some have a text.

    Attributes:
        axes: where they are; row r and column c are at (c, r).
        content: for the page's script: names of ``rows`` and ``columns``, and ``cells``.
    """

    axes: Axes
    content: Mapping[str, object]


@dataclass(frozen=True)
class Picture:
    """A figure, and the texts that a page shows at its parts.

    Attributes:
        figure: what is drawn.
        title: what is drawn, in words, for readers who cannot see it.
        spots: places with a text.
        cells: the cells of a matrix, if it is one.
    """

    figure: Figure
    title: str
    spots: Sequence[Spot] = field(default_factory=tuple)
    cells: Cells | None = None

    @cached_property
    def svg(self) -> bytes:
        """The picture as an SVG file."""
        return saved(self.figure, "svg")

    def file(self, form: str) -> bytes:
        """Return the picture as a file of one of the ``FORMS``."""
        return self.svg if form == "svg" else saved(self.figure, form)


def inline_svg(picture: Picture) -> Markup:
    """Return a picture as an element of a page."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINKS)
    text = picture.svg.decode()
    root = ElementTree.fromstring(text[text.index("<svg") :])
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    height = float(root.attrib.pop("height").removesuffix("pt"))
    root.attrib |= {"role": "img", "aria-label": printable(picture.title), "style": f"--width: {width:.0f}px"}
    root.extend(_places(picture, height))
    return Markup(_themed(ElementTree.tostring(root, encoding="unicode")))


def _places(picture: Picture, height: float) -> list[ElementTree.Element]:
    """Return invisible rectangles with the texts."""
    scale = POINTS / picture.figure.dpi
    places = []

    def rectangle(axes: Axes, x: tuple[float, float], y: tuple[float, float], least: float) -> dict[str, str]:
        (left, low), (right, high) = (
            scale * axes.transData.transform((across, up)) for across, up in zip(x, y, strict=True)
        )
        left, right, low, high = *sorted((left, right)), *sorted((low, high))
        wide, tall = max(right - left, least), max(high - low, least)
        corner = {"x": (left + right - wide) / 2, "y": height - (low + high + tall) / 2}
        numbers = {**corner, "width": wide, "height": tall}
        return {name: f"{number:.1f}" for name, number in numbers.items()}

    for spot in picture.spots:
        place = rectangle(spot.axes, spot.x, spot.y, SMALLEST)
        places.append(
            ElementTree.Element(f"{{{SVG}}}rect", {"class": "spot", "data-tip": _lines(spot.text), **place})
        )
    if picture.cells is not None:
        axes = picture.cells.axes
        place = rectangle(axes, axes.get_xlim(), axes.get_ylim(), 0)
        content = json.dumps(picture.cells.content, ensure_ascii=True, separators=(",", ":"))
        places.append(
            ElementTree.Element(f"{{{SVG}}}rect", {"class": "spot", "data-cells": content, **place})
        )
    return places


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _themed(text: str) -> str:
    """Return SVG with the variables of the page in place of the colours that have one."""
    variables = {colour: f"var(--series{number})" for number, colour in enumerate(PALETTE)}
    variables |= {colour: f"var(--{name})" for name, colour in LIGHT.items()}
    pattern = re.compile(f"(?:{'|'.join(variables)})(?![0-9a-f])")
    styles = re.compile(r'style="[^"]*"')
    return styles.sub(lambda style: pattern.sub(lambda found: variables[found[0]], style[0]), text)
