"""Find pairs of utterances whose fingerprints (:mod:`lid_toolkit.audio.fingerprint`) are alike.

Only utterances of nearly the same length are compared: they are ordered by length, and blocks of them are
multiplied. The time grows with the square of their number: 2 million pairs take a second on one core. Memory
is that of the fingerprints, and of blocks of a fixed size.

Shapes: u utterances, d dimensions of a fingerprint, p pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ALIKE = 0.75
"""Lowest cosine of the fingerprints of two sounds that may be the same."""

SPREADS_WITHIN = 0.05
"""Largest difference of the natural logarithms of their lengths."""

ROWS, COLUMNS = 2048, 8192


def alike(
    prints_ud: NDArray[np.floating],
    spread_u: NDArray[np.floating],
    threshold: float = ALIKE,
    group_u: Ints | None = None,
) -> Iterator[tuple[Ints, Ints, NDArray[np.float32]]]:
    """Yield all pairs of utterances that are alike, in pieces: first, second (pairs,) and their cosine.

    In each pair, the first utterance has the lower number. Utterances without sound are like no other.

    Args:
        prints_ud: the values of the fingerprints; may be a memory map.
        spread_u: their lengths, 0 if there is no sound.
        threshold: lowest cosine.
        group_u: numbers of groups: only pairs of different groups; None: all pairs.
    """
    with_sound = np.flatnonzero(spread_u > 0)
    order = with_sound[np.argsort(spread_u[with_sound], kind="stable")]
    length = np.log(spread_u[order].astype(np.float64))
    for begin in range(0, len(order), ROWS):
        rows = order[begin : begin + ROWS]
        last = int(np.searchsorted(length, length[begin + len(rows) - 1] + SPREADS_WITHIN))
        rows_pd = prints_ud[rows].astype(np.float32)
        for left in range(begin, last, COLUMNS):
            columns = order[left : min(left + COLUMNS, last)]
            cosines = rows_pd @ prints_ud[columns].astype(np.float32).T
            one, other = np.nonzero(cosines > threshold)
            kept = (other + left > one + begin) & (
                length[other + left] - length[one + begin] < SPREADS_WITHIN
            )
            if group_u is not None:
                kept &= group_u[rows[one]] != group_u[columns[other]]
            one, other = one[kept], other[kept]
            if len(one):
                pairs = rows[one], columns[other]
                yield np.minimum(*pairs), np.maximum(*pairs), cosines[one, other]
