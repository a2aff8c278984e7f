"""The selection set: whole videos held out of train, some of every language, for picking the checkpoint.

Utterances of one video share a voice, a room and a microphone: were some in train, the set would tell
how well those are known. So no video of it is in train or dev.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

MOST_PER_LANGUAGE = 100
LARGEST_SHARE = 0.05

Hashes = npt.NDArray[np.uint64]


def video_hashes(videos: Sequence[str]) -> Hashes:
    """Return a 64-bit number for each video, the same on every machine; a run of one is hashed once."""
    found: dict[str, int] = {}
    for name in dict.fromkeys(videos):
        found[name] = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return np.fromiter((found[name] for name in videos), np.uint64, len(videos))


def barred(languages: Iterable[Hashes], dev: Hashes) -> Hashes:
    """Return the videos that cannot be held out: those of dev, and those that come under two languages."""
    distinct = np.concatenate([np.zeros(0, np.uint64), *(np.unique(hashes) for hashes in languages)])
    videos, counts = np.unique(distinct, return_counts=True)
    return np.union1d(videos[counts > 1], dev)


def held_out(hashes: Hashes, not_these: Hashes) -> npt.NDArray[np.bool_]:
    """Say which utterances of a language go to the selection set.

    Videos are taken in the order of their hashes while they fit into a twentieth of the language's
    utterances, at most 100. If none fits, the shortest goes, as long as another stays in train.

    Args:
        hashes: (utterances,) each one's video.
        not_these: videos that stay in train.

    Returns:
        (utterances,) bool; it depends on the videos alone, not on the order.
    """
    videos, sizes = np.unique(hashes, return_counts=True)
    may = ~np.isin(videos, not_these)
    quota = min(MOST_PER_LANGUAGE, math.ceil(LARGEST_SHARE * len(hashes)))
    taken: list[int] = []
    left = quota
    for place in np.flatnonzero(may).tolist():
        if sizes[place] <= left:
            taken.append(place)
            left -= int(sizes[place])
    if not taken and may.any() and len(videos) > 1:
        taken = [int(np.flatnonzero(may)[np.argmin(sizes[may])])]
    return np.isin(hashes, videos[taken])
