"""Choose the colour and marker of each language of a map, and the position of its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.style import MARKERS, PALETTE

ROUNDS = 300

Places = npt.NDArray[np.float64]


def distinct_styles(means: Places) -> list[tuple[str, int]]:
    """Return a colour and the index of a marker for each language.

    Languages of the same colour should be far apart. So each language takes, of the colours used least so
    far, the one whose nearest language is farthest away.

    Args:
        means: (languages, 2) mean of each language on the map.
    """
    colours = np.full(len(means), -1)
    for number, place in enumerate(means):
        placed, distance = colours[:number], np.hypot(*(means[:number] - place).T)
        nearest = [np.min(distance[placed == colour], initial=np.inf) for colour in range(len(PALETTE))]
        used = np.bincount(placed, minlength=len(PALETTE))
        colours[number] = max(range(len(PALETTE)), key=lambda c: (used[c] == used.min(), nearest[c], -c))
    turns = [int(np.count_nonzero(colours[:number] == colours[number])) for number in range(len(means))]
    return [(PALETTE[colour], turn % len(MARKERS)) for colour, turn in zip(colours, turns, strict=True)]


def name_places(means: Places, names: Sequence[str], scale: float, letter: float) -> Places:
    """Return (languages, 2) centres of the names: close to the means, but without overlap.

    Args:
        means: (languages, 2) points to label.
        names: their names.
        scale: pixels per unit of ``means``.
        letter: height of a letter in pixels.
    """
    sizes = np.array([(0.62 * letter * len(name) + 4, 1.25 * letter) for name in names])
    return separated(means * scale, sizes) / scale


def separated(centres: Places, sizes: Places) -> Places:
    """Move boxes apart, as little as possible, until they no longer overlap.

    Overlapping pairs push each other apart along the axis of least overlap. This is repeated, because a
    push can cause a new overlap; after ``ROUNDS`` rounds the rest remains.

    Args:
        centres: (N, 2) centres of the boxes.
        sizes: (N, 2) widths and heights.

    Returns:
        (N, 2) new centres.
    """
    placed: Places = centres.astype(np.float64)
    reach = (sizes[:, None] + sizes[None]) / 2
    tie = np.sign(np.arange(len(placed))[:, None] - np.arange(len(placed))[None])
    for _ in range(ROUNDS):
        gaps = placed[:, None] - placed[None]
        overlap = reach - np.abs(gaps)
        overlap[np.eye(len(placed), dtype=bool)] = 0
        touching = np.all(overlap > 1e-9, axis=2, keepdims=True)
        if not touching.any():
            break
        way = np.where(gaps == 0, tie[..., None], np.sign(gaps))
        easiest = np.argmin(overlap / reach, axis=2)[..., None] == np.arange(2)
        push = np.where(touching & easiest, way * (overlap + 1e-6) / 2, 0)
        placed += push.sum(axis=1) / np.maximum(touching.sum(axis=1), 1)
    return placed
