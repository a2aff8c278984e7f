"""Find utterances that are the same sound, for example under two language labels.

1. Each utterance is read once, for its fingerprint (:mod:`lid_toolkit.audio.fingerprint`).
2. Pairs whose lengths differ by less than 5 % and whose fingerprints have a cosine above ``ALIKE`` are alike.
   Blocks of utterances in order of length are compared by matrix products of the first 32 coefficients of the
   fingerprints' cosine transform. With the length of what is left out, these give an upper bound of the
   cosine, so no pair is missed, and few are compared in full.
3. Of those that are alike, the spectra of the most similar pair of each utterance decide.

Memory: 1 KB for each utterance, and blocks of a fixed size.

Shapes: u utterances, d dimensions, p pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from lid_toolkit.audio.fingerprint import BANDS, STEPS

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ALIKE = 0.9
"""Lowest cosine of the fingerprints of two sounds that may be the same."""

LENGTHS_WITHIN = 0.05
"""Largest difference of the logarithms of their lengths."""

COARSE = 32
ROWS, COLUMNS = 2048, 8192
PAIRS = 1 << 16


def alike(
    prints_ud: Floats, seconds_u: NDArray[np.floating], threshold: float = ALIKE, label_u: Ints | None = None
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Yield all pairs of utterances that are alike, in pieces: first, second (pairs,) and their cosine.

    In each pair, the first utterance comes before the second. Silent utterances are like no other.

    Args:
        prints_ud: the values of the fingerprints.
        seconds_u: their durations.
        threshold: lowest cosine.
        label_u: numbers of labels: only pairs with different ones; None: all pairs.
    """
    usable = np.flatnonzero(seconds_u > 0)
    order = usable[np.argsort(seconds_u[usable], kind="stable")]
    log_seconds = np.log(seconds_u[order])
    coarse = np.concatenate(
        [_bounds(prints_ud[order[at : at + COLUMNS]]) for at in range(0, len(order), COLUMNS)]
        or [np.zeros((0, COARSE + 1), np.float32)]
    )
    for begin in range(0, len(order), ROWS):
        rows = coarse[begin : begin + ROWS]
        longest = log_seconds[begin + len(rows) - 1] + LENGTHS_WITHIN
        last = int(np.searchsorted(log_seconds, longest))
        for left in range(begin, last, COLUMNS):
            columns = coarse[left : min(left + COLUMNS, last)]
            one, other = np.nonzero(rows @ columns.T > threshold)
            one, other = one + begin, other + left
            near = (other > one) & (log_seconds[other] - log_seconds[one] < LENGTHS_WITHIN)
            if label_u is not None:
                near &= label_u[order[one]] != label_u[order[other]]
            one, other = order[one[near]], order[other[near]]
            for at in range(0, len(one), PAIRS):
                yield from _compared(prints_ud, one[at : at + PAIRS], other[at : at + PAIRS], threshold)


def _compared(
    prints_ud: Floats, one: Ints, other: Ints, threshold: float
) -> Iterator[tuple[Ints, Ints, Floats]]:
    cosine = np.einsum("pd,pd->p", prints_ud[one].astype(np.float32), prints_ud[other].astype(np.float32))
    kept = cosine > threshold
    if kept.any():
        first, second = np.minimum(one, other)[kept], np.maximum(one, other)[kept]
        yield first, second, cosine[kept]


def _bounds(prints_ud: Floats) -> Floats:
    """Return (utterances, 33) float32 whose products are upper bounds of the cosines (Cauchy, Schwarz)."""
    grid = dctn(prints_ud.astype(np.float32).reshape(-1, STEPS, BANDS), axes=(1, 2), norm="ortho")
    steps, bands = np.indices((STEPS, BANDS))
    first = np.argsort((steps / STEPS + bands / BANDS).ravel(), kind="stable")[:COARSE]
    kept = grid.reshape(len(grid), -1)[:, first]
    rest = np.square(prints_ud, dtype=np.float32).sum(axis=1) - np.square(kept).sum(axis=1)
    return np.column_stack([kept, np.sqrt(np.maximum(rest, 0))])
