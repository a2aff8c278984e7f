"""Deal groups of utterances to sets so that each set gets its share of every language.

A group is what must stay together: the utterances of a speaker, for example. This is the law:

1. Languages are dealt one after the other. Those with the fewest groups are first, because they leave the
   least choice. A group in several languages is dealt with the first of them.
2. The groups of a language are dealt from the largest to the smallest, equally large ones in a random order.
   Each goes to the set that still lacks the most utterances of this language. If several lack the same, it
   goes to the one that lacks the most utterances of all languages.
3. If a set would then have no group of the language, the smallest groups are kept for the sets without.
4. If a language has fewer groups than there are sets, the sets with the largest shares get one each; of
   equally large shares, the sets that lack the most utterances of all languages.

Rule 2 is the greedy law of Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on Applied
Mathematics 17, 1969; rule 1 is from Sechidis et al., "On the stratification of multi-label data", ECML 2011.
Equally large groups are dealt at once, so millions of groups take seconds.

Shapes: u utterances, g groups, k groups of one language, s sets, l languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dealt:
    """The result of dealing.

    Attributes:
        set_u: (utterances,) the number of each utterance's set.
        utterances_ls: utterances of each language in each set.
        groups_ls: groups with an utterance of the language, in each set.
    """

    set_u: Ints
    utterances_ls: Ints
    groups_ls: Ints


def deal(
    language_u: NDArray[np.integer], group_u: NDArray[np.integer], shares: Sequence[float], seed: int
) -> Dealt:
    """Deal groups to sets; the module's docstring has the law.

    Args:
        language_u: (utterances,) the number of each utterance's language, from 0.
        group_u: (utterances,) the number of its group, from 0, without gaps.
        shares: of each set; their sum is 1.
        seed: seed of the order of equally large groups.
    """
    groups, sets = int(group_u.max()) + 1, len(shares)
    languages = int(language_u.max()) + 1
    pairs, sizes = np.unique(language_u.astype(np.int64) * groups + group_u, return_counts=True)
    language_of, group_of = np.divmod(pairs, groups)
    bounds = np.searchsorted(language_of, np.arange(languages + 1))
    total_g = np.bincount(group_u, minlength=groups)
    place_g = np.random.default_rng(seed).permutation(groups)
    share_s, set_g = np.array(shares), np.full(groups, -1, dtype=np.int64)
    lacking_s = share_s * len(group_u)
    for language in np.argsort(np.diff(bounds), kind="stable").tolist():
        rows = slice(bounds[language], bounds[language + 1])
        group_k, size_k = group_of[rows], sizes[rows]
        is_dealt_k = set_g[group_k] >= 0
        has_s = np.bincount(set_g[group_k[is_dealt_k]], size_k[is_dealt_k], minlength=sets)
        order = np.argsort(-lacking_s, kind="stable")
        free = np.flatnonzero(~is_dealt_k)
        free = free[np.lexsort((place_g[group_k[free]], -size_k[free]))]
        lacking_here_s = share_s * size_k.sum() - has_s
        set_k = order[_deal_one(size_k[free], lacking_here_s[order], has_s[order] > 0, share_s[order])]
        set_g[group_k[free]] = set_k
        lacking_s -= np.bincount(set_k, total_g[group_k[free]], minlength=sets)
    utterances_ls, groups_ls = np.zeros((2, languages, sets), dtype=np.int64)
    np.add.at(utterances_ls, (language_of, set_g[group_of]), sizes)
    np.add.at(groups_ls, (language_of, set_g[group_of]), 1)
    return Dealt(set_g[group_u], utterances_ls, groups_ls)


def _deal_one(size_k: Ints, lacking_s: Floats, has_s: NDArray[np.bool_], share_s: Floats) -> Ints:
    """Return the set of each group of a language: rules 2 to 4.

    Args:
        size_k: (groups,) their utterances, in descending order.
        lacking_s: utterances that each set lacks, the first of equal ones to be preferred.
        has_s: whether a set has groups of the language already.
        share_s: the share of each set.
    """
    without = np.flatnonzero(~has_s)
    without = without[np.argsort(-share_s[without], kind="stable")]
    if len(size_k) <= len(without):
        return without[: len(size_k)]
    kept = without[:0]
    while True:
        first_kept = len(size_k) - len(kept)
        lacking = lacking_s.copy()
        lacking[kept] -= size_k[first_kept:]
        set_k = np.append(_greedy(size_k[:first_kept], lacking), kept)
        missing = ~np.isin(without, set_k)
        if not missing.any():
            return set_k
        kept = without[missing | np.isin(without, kept)]


def _greedy(size_k: Ints, lacking_s: Floats) -> Ints:
    """Return the set of each group: one after the other to the set that lacks the most."""
    lacking = lacking_s.copy()
    sizes, counts = np.unique(-size_k, return_counts=True)
    sets = []
    for size, count in zip((-sizes).tolist(), counts.tolist(), strict=True):
        taken_s = _taken(lacking, size, count)
        lacking -= size * taken_s
        sets.append(np.repeat(np.arange(len(lacking)), taken_s))
    return np.concatenate(sets) if sets else np.zeros(0, dtype=np.int64)


def _taken(lacking_s: Floats, size: int, count: int) -> Ints:
    """Return how many of ``count`` groups of one size each set takes.

    As if poured into the sets, the groups fill them to a common level. Each set surely takes one less than
    fits below the level; the few others are dealt one by one.
    """
    ordered = np.sort(lacking_s / size)[::-1]
    levels = (np.cumsum(ordered) - count) / np.arange(1, len(ordered) + 1)
    level = levels[np.flatnonzero(ordered > levels)[-1]]
    taken_s: Ints = np.maximum(np.floor(lacking_s / size - level).astype(np.int64) - 1, 0)
    for _ in range(count - int(taken_s.sum())):
        taken_s[np.argmax(lacking_s - size * taken_s)] += (
            1  # not divided: rounding would decide between equals
        )
    return taken_s


def some_groups(
    group_u: NDArray[np.integer], kind_u: NDArray[np.integer], part: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which items (U,) belong to a part of the groups of each kind: of the speakers of each language.

    The number of groups is rounded up, so no kind is lost. They are the first in one random order of all
    groups, so with the same generator a smaller part is inside a larger one.

    Args:
        group_u: number of each item's group, from 0.
        kind_u: number of each item's kind, from 0; a group may have several.
        part: proportion of the groups, above 0 and at most 1.
        rng: draws the order.
    """
    place_u = rng.permutation(int(group_u.max()) + 1)[group_u]
    pairs, pair_u = np.unique(np.stack((kind_u, place_u)), axis=1, return_inverse=True)
    kind_p = pairs[0]
    wanted_p = np.ceil(np.round(part * np.bincount(kind_p)[kind_p], 9))  # 0.7 * 10 is a little more than 7
    kept_p = np.arange(len(kind_p)) - np.searchsorted(kind_p, kind_p) < wanted_p
    kept_u: NDArray[np.bool_] = kept_p[pair_u.reshape(-1)]
    return kept_u
