"""Where crops of utterances lie: the law of the duration curve.

A crop begins at a proportion of what the crop leaves of its utterance. The proportion depends on the
utterance's id alone, and is distributed evenly from 0 to 1. So crops are the same in each run and for each
system, and a longer crop of an utterance contains each shorter one. Utterances that are shorter than a crop
are left out.

Shapes: u utterances.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = b"lid crop 0"
"""Part of what the proportions are made from."""
CROPS = "crops"

Counts = npt.NDArray[np.int64]


def crop_samples(seconds: float, rate: int) -> int:
    """Return the number of samples of a crop, at least 1."""
    return max(1, round(seconds * rate))


def crop_begins(ids: Iterable[str], lengths_u: Counts, size: int) -> Counts:
    """Return the first sample (U,) of a crop of each utterance.

    Args:
        ids: the utterances.
        lengths_u: their numbers of samples, each at least ``size``.
        size: number of samples of a crop.
    """
    shares = (int.from_bytes(_digest(key), "little") / 2**64 for key in ids)
    shares_u = np.fromiter(shares, np.float64, len(lengths_u))
    left_u = lengths_u - size
    return np.minimum((shares_u * (left_u + 1)).astype(np.int64), left_u)


def crop_dir(inference_dir: Path, seconds: float) -> Path:
    """Return the directory with the answers to crops: ``.../MODEL/SET/crops/3s``."""
    return inference_dir / CROPS / f"{seconds:g}s"


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8, key=SEED).digest()
