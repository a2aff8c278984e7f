"""Archives of vectors that are given by key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lid_toolkit.datadir.ark import write_vectors


def write_pairs(ark: Path, scp: Path, pairs: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write vectors one by one, in the order of their keys."""
    ordered = sorted(pairs, key=lambda pair: pair[0].encode())
    write_vectors(ark, scp, (((key,), np.asarray(vector)[None]) for key, vector in ordered))
