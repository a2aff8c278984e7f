"""Choose the colour and marker of each language of a map, and the position of its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lid_toolkit.evaluation.style import MARKERS, PALETTE

ROUNDS = 300
DIRECTIONS = 16
GAPS = (0.4, 1.2, 2.2, 3.5, 5.0, 7.0, 10.0)
"""Distances between a point and the edge of its name, in letters."""
COST_OF_DISTANCE = 0.04
"""Of one letter, where to hide all points of a language costs 1."""

Places = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Box = tuple[float, float, float, float]


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


def name_places(
    means: Places, names: Sequence[str], points: Places, languages: Codes, box: Box, letter: float
) -> Places:
    """Return (languages, 2) centres of the names: close to the means, where they hide as little as possible.

    All places are in pixels. Each name takes the best of some places around its mean, small languages first.
    A place is bad for points that the name would hide, above all if they are a large part of a language, for
    names that are there already, and for its distance.

    Args:
        means: (languages, 2) means to name.
        names: their names.
        points: (points, 2) all points of the map.
        languages: (points,) number of each point's language.
        box: limits within which names must be: left, right, bottom, top.
        letter: height of a letter.
    """
    counts = np.bincount(languages, minlength=len(names))
    sizes = np.array([(0.62 * letter * len(name) + 4, 1.25 * letter) for name in names])
    hidden = Hidden.by(points, 1 / np.maximum(counts, 1)[languages], letter / 3)
    placed = np.full((len(names), 2), np.inf)
    for number in np.argsort(counts, kind="stable").tolist():
        around = means[number] + _directions(sizes[number], letter)
        others = np.isfinite(placed[:, 0])
        reach = (sizes[others] + sizes[number]) / 2
        overlap = np.maximum(reach - np.abs(around[:, None] - placed[others]), 0).prod(axis=2).sum(axis=1)
        low, high = around - sizes[number] / 2, around + sizes[number] / 2
        outside = np.maximum(np.array(box)[[0, 2]] - low, 0) + np.maximum(high - np.array(box)[[1, 3]], 0)
        distance = np.hypot(*(around - means[number]).T)
        cost = (
            hidden.share(low, high)
            + overlap / letter**2
            + outside.sum(axis=1)
            + COST_OF_DISTANCE * distance / letter
        )
        placed[number] = around[np.argmin(cost)]
    return separated(placed, sizes)


def _directions(size: npt.NDArray[np.float64], letter: float) -> Places:
    """Return (places, 2) moves of a name of this size: at the point itself, or just beside or beyond it."""
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False) + np.pi / 2
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # How far the edge of the box is from its centre in each direction.
    edge = (size / 2 / np.maximum(np.abs(unit), 1e-9)).min(axis=1, keepdims=True)
    return np.concatenate([unit * (edge + gap * letter) for gap in GAPS])


@dataclass(frozen=True)
class Hidden:
    """How much lies in any rectangle, from sums over a grid (Crow 1984, summed-area tables)."""

    corner: npt.NDArray[np.float64]
    cell: float
    sums: npt.NDArray[np.float64]

    @classmethod
    def by(cls, points: Places, weights: npt.NDArray[np.float64], cell: float) -> Hidden:
        """Add up the weights of points, (points, 2) in pixels, in cells of this size."""
        corner = points.min(axis=0)
        places = ((points - corner) / cell).astype(np.int64)
        sums = np.zeros(places.max(axis=0) + 2)
        np.add.at(sums, (places[:, 0] + 1, places[:, 1] + 1), weights)
        return cls(corner, cell, sums.cumsum(axis=0).cumsum(axis=1))

    def share(self, low: Places, high: Places) -> npt.NDArray[np.float64]:
        """Return the weight in each rectangle with these lower left and upper right corners, (places, 2)."""
        most = np.array(self.sums.shape) - 1
        first = np.clip(np.floor((low - self.corner) / self.cell), 0, most).astype(np.int64)
        last = np.clip(np.ceil((high - self.corner) / self.cell), 0, most).astype(np.int64)
        (left, bottom), (right, top) = first.T, last.T
        sums = self.sums
        return np.asarray(
            sums[right, top] - sums[left, top] - sums[right, bottom] + sums[left, bottom], np.float64
        )


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
