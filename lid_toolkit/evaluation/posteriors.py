"""Log posteriors as the measures read them: rows of a matrix in blocks, so that millions need no copy.

Shapes: u utterances, c languages, b utterances of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 14
LEAST = -69.0
"""Log posterior, about 1e-30, that stands for any lower one, such as that of a language a policy excludes."""

Floats = npt.NDArray[np.floating]
Columns = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some rows of log posteriors, with ``LEAST`` in place of lower values. They are made when they are read.

    Attributes:
        scores_uc: log posteriors of a set.
        rows: the rows that are chosen.
        change: what is done to log posteriors (B, C), such as a calibration, before they are read.
    """

    scores_uc: npt.NDArray[np.float32]
    rows: Columns
    change: Callable[[Floats], Floats] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chosen rows, and of languages."""
        return len(self.rows), self[:1].shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return some of the chosen rows."""
        block_bc = self.scores_uc[self.rows[places]]
        if self.change is not None:
            block_bc = self.change(block_bc).astype(np.float32, copy=False)
        floored_bc: npt.NDArray[np.float32] = np.maximum(block_bc, np.float32(LEAST), dtype=np.float32)
        return floored_bc


LogPosteriors: TypeAlias = "Floats | Chosen"
"""Log posteriors (U, C)."""


def by_blocks(log_posteriors_uc: LogPosteriors, measure: Callable[[Floats, slice], Floats]) -> Floats:
    """Return a measure of each utterance (U,).

    Args:
        log_posteriors_uc: log posteriors.
        measure: from log posteriors (B, C) and their places in the set to values (B,).
    """
    found: list[Floats] = [np.zeros(0)]
    for first in range(0, len(log_posteriors_uc), BLOCK):
        places = slice(first, first + BLOCK)
        found.append(measure(log_posteriors_uc[places], places))
    return np.concatenate(found[1:] or found)


def best(log_posteriors_uc: LogPosteriors) -> tuple[Columns, Floats]:
    """Return the column (U,) of the highest log posterior, the first of equal ones, and its value (U,)."""
    columns = by_blocks(log_posteriors_uc, lambda block_bc, _: block_bc.argmax(axis=1))
    return columns.astype(np.int64), at(log_posteriors_uc, columns.astype(np.int64))


def at(log_posteriors_uc: LogPosteriors, columns_u: Columns) -> Floats:
    """Return the log posterior of one language of each utterance (U,)."""
    return by_blocks(
        log_posteriors_uc,
        lambda block_bc, places: np.take_along_axis(block_bc, columns_u[places, None], axis=1)[:, 0],
    )
