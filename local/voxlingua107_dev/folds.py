"""Divide videos into folds, so that every clip is tested once by a model that has not heard its video.

The folds depend only on the clips' languages and videos, not on the order in which they are listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from local.corpus import share

FOLDS = 5
VALID_SHARE = 0.15
SALT = "voxlingua107_dev "

Sizes = Mapping[str, Mapping[str, int]]
"""Language -> video -> number of its clips in this language."""


def sizes_of(clips: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Return the number of clips of each video by language, from ``(language, video)`` of each clip."""
    sizes: dict[str, Counter[str]] = {}
    for language, video in clips:
        sizes.setdefault(language, Counter())[video] += 1
    return sizes


def assign_folds(sizes: Sizes, folds: int = FOLDS) -> dict[str, int]:
    """Return the fold of each video, from 1.

    - Languages with at least ``folds`` videos come first, by label. Their videos, the largest first and
      equally large ones in the order of a hash of their names, each go to the fold that has the fewest clips
      of the language, of these to the one with the fewest clips in all, of these to the first.
    - Then come the languages with fewer videos. All videos of such a language go to one fold, that with the
      fewest clips. So it is never tested by a model that was trained with it, and the other folds' models
      are trained with all of it.
    - A video that occurs in several languages goes to the fold that it was given first. A small language
      with such a video joins it there.
    """
    fold_of: dict[str, int] = {}
    totals = dict.fromkeys(range(1, folds + 1), 0)

    def put(video: str, fold: int) -> None:
        fold_of[video] = fold
        totals[fold] += sum(sizes[language].get(video, 0) for language in sizes)

    large = [language for language in sorted(sizes) if len(sizes[language]) >= folds]
    small = [language for language in sorted(sizes) if len(sizes[language]) < folds]
    for language in large:
        own = dict.fromkeys(totals, 0)
        for video in _ordered(sizes[language]):
            if video not in fold_of:
                put(video, min(totals, key=lambda fold: (own[fold], totals[fold], fold)))
            own[fold_of[video]] += sizes[language][video]
    for language in small:
        given = [fold_of[video] for video in _ordered(sizes[language]) if video in fold_of]
        fold = given[0] if given else min(totals, key=lambda fold: (totals[fold], fold))
        for video in sorted(sizes[language]):
            if video not in fold_of:
                put(video, fold)
    return fold_of


def choose_valid(sizes: Sizes, fold_of: Mapping[str, int], fold: int) -> set[str]:
    """Return the videos of the validation set of a fold: a part of those outside the fold.

    For each language with at least ``FOLDS`` videos, they are taken in the order of a hash of their names
    while the set has at most ``VALID_SHARE`` of the language's clips outside the fold, rounded up to a whole
    number. A video that does not fit is left in the training set, and so is the last one of a language, the
    videos of smaller languages, and videos that occur in several languages.
    """
    spread = Counter(chain.from_iterable(sizes.values()))
    taken: set[str] = set()
    for videos in sizes.values():
        if len(videos) < FOLDS:
            continue
        outside = [video for video in _by_hash(videos) if fold_of[video] != fold]
        left = -int(-VALID_SHARE * sum(videos[video] for video in outside) // 1)
        for video in outside[:-1]:
            if spread[video] == 1 and videos[video] <= left:
                taken.add(video)
                left -= videos[video]
    return taken


def _by_hash(videos: Iterable[str]) -> Sequence[str]:
    return sorted(videos, key=lambda video: (share(SALT + video), video))


def _ordered(videos: Mapping[str, int]) -> Sequence[str]:
    return sorted(_by_hash(videos), key=lambda video: -videos[video])
