"""Faults of a data directory by kind: where each is, what is wrong, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.errors import LidError


@dataclass(frozen=True, eq=False)
class Faults:
    """All faults of one kind in one file. Messages are made only when needed: there may be millions.

    Attributes:
        kind: what they have in common, e.g. ``"duplicate key"``.
        path: the file.
        lines: (faults,) the line of each, counted from 1; 0 for the whole file.
        what: returns the message for a fault, given its index.
        mend: what the user can do.
    """

    kind: str
    path: str | Path
    lines: NDArray[np.int64]
    what: Callable[[int], str]
    mend: str = ""

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[LidError]:
        return map(self.error, range(len(self)))

    def error(self, number: int) -> LidError:
        """Return the error for a fault, given its index."""
        line = int(self.lines[number])
        where = f"{self.path}:{line}" if line else self.path
        return LidError(self.what(number), where=where, mend=self.mend)


def whole_file(kind: str, path: str | Path, what: str, mend: str = "") -> Faults:
    """Return a fault of a whole file."""
    return Faults(kind, path, np.zeros(1, dtype=np.int64), lambda _: what, mend)


def counted(faults: Sequence[Faults]) -> str:
    """Return the number of faults by kind: ``3 faults: 2 duplicate key, 1 missing file``."""
    counts: dict[str, int] = {}
    for group in faults:
        counts[group.kind] = counts.get(group.kind, 0) + len(group)
    total = sum(counts.values())
    return f"{total} fault{'s' * (total != 1)}: {', '.join(f'{n} {kind}' for kind, n in counts.items())}"
