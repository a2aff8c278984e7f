"""Colours that can be told apart and read, and names that fit in pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lid_toolkit.evaluation.style import (
    DARK,
    LIGHT,
    MARKER_CONTRAST,
    PALETTE,
    contrast,
    display_name,
    page_colours,
    readable,
    short_name,
)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # a known borderline grey
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_and_markers_are_legible(theme):
    for name in ("ink", "muted", "right"):
        assert contrast(theme[name], theme["paper"]) >= 4.5
    for name, colour in page_colours(theme).items():
        if name.startswith("series"):
            assert contrast(colour, theme["paper"]) >= MARKER_CONTRAST
    for colour in PALETTE:
        assert contrast(readable(colour, theme["paper"]), theme["paper"]) >= 4.5
    assert readable(theme["ink"], theme["paper"]) == theme["ink"]


def simulated(colour: str, kind: str) -> np.ndarray:
    """Return what a colour looks like without one kind of cone (Viénot, Brettel and Mollon 1999)."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    without = {
        "protan": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
        "deutan": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    }[kind]
    return np.linalg.inv(to_lms) @ np.array(without) @ to_lms @ linear


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_the_first_colours_differ_for_colour_blind_readers(kind):
    for one, other in itertools.combinations(PALETTE[:4], 2):
        assert np.linalg.norm(simulated(one, kind) - simulated(other, kind)) > 0.08


def test_names():
    assert display_name("deu") == "German (deu)"
    assert display_name("x1") == "x1"
    assert short_name("x" * 500) == "x" * 39 + "…"
    assert short_name("a\u202eb\x01") == "a\ufffdb\ufffd"
