"""The selection set, for picking the checkpoint: whole videos of every language, held out from train.

Utterances of one video share voice, room and microphone. If some of them were in train, the accuracy on the
others would show how well the model recognises these instead of the language. So no video of the selection
set is in train or dev.
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
    """Return a 64-bit hash for each video, the same on every machine. Repeated videos are hashed once."""
    found: dict[str, int] = {}
    for name in dict.fromkeys(videos):
        found[name] = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return np.fromiter((found[name] for name in videos), np.uint64, len(videos))


def barred(languages: Iterable[Hashes], dev: Hashes) -> Hashes:
    """Return the videos that cannot be held out: those in dev and those that occur in several languages."""
    distinct = np.concatenate([np.zeros(0, np.uint64), *(np.unique(hashes) for hashes in languages)])
    videos, counts = np.unique(distinct, return_counts=True)
    return np.union1d(videos[counts > 1], dev)


def held_out(hashes: Hashes, not_these: Hashes) -> npt.NDArray[np.bool_]:
    """Choose the utterances of a language for the selection set.

    Videos are tried in the order of their hashes, and taken while the set has at most a twentieth of the
    language's utterances, rounded up, and at most 100. If no video fits, the one with the fewest utterances
    is taken. A language's last video always remains in train, because a language that is not trained cannot
    be tested.

    Args:
        hashes: (utterances,) video hash of each utterance.
        not_these: hashes of videos that must not be held out.

    Returns:
        (utterances,) bool, True if chosen; it does not depend on the order of the utterances.
    """
    videos, sizes = np.unique(hashes, return_counts=True)
    if len(videos) < 2:
        return np.zeros(len(hashes), dtype=np.bool_)
    may = ~np.isin(videos, not_these)
    quota = min(MOST_PER_LANGUAGE, math.ceil(LARGEST_SHARE * len(hashes)))
    taken: list[int] = []
    left = quota
    for place in np.flatnonzero(may).tolist():
        if sizes[place] <= left:
            taken.append(place)
            left -= int(sizes[place])
    if not taken and may.any():
        taken = [int(np.flatnonzero(may)[np.argmin(sizes[may])])]
    return np.isin(hashes, videos[taken])
