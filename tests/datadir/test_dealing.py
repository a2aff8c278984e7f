"""Dealing groups to sets, against a plain loop, values computed by hand, and what must always hold."""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lid_toolkit.datadir.dealing import _greedy, deal, some_groups


def dealt(groups_of, shares, seed=1):
    """Deal ``{language: sizes of its groups}``; groups are numbered in this order."""
    language_u, group_u, group = [], [], 0
    for language, sizes in enumerate(groups_of):
        for size in sizes:
            language_u += [language] * size
            group_u += [group] * size
            group += 1
    return deal(np.array(language_u), np.array(group_u), shares, seed)


def one_by_one(sizes, lacking):
    lacking, chosen = list(lacking), [0] * len(lacking)
    for size in sizes:
        best = max(range(len(lacking)), key=lambda s: (lacking[s], -s))
        lacking[best] -= size
        chosen[best] += size
    return chosen


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=60),
    st.lists(st.integers(-20, 400), min_size=2, max_size=6),
)
@example([7, 5, 3, 3], [0, 5])  # in the end both sets lack -5, which is no float in units of 3
def test_equally_large_groups_at_once_are_as_one_by_one(sizes, lacking):
    size_k = np.sort(sizes)[::-1].astype(np.int64)
    set_k = _greedy(size_k, np.array(lacking, dtype=float))
    got = np.bincount(set_k, size_k, minlength=len(lacking)).tolist()
    assert got == one_by_one(size_k.tolist(), lacking)


def test_a_hand_computed_deal():
    """The sets lack 176, 22 and 22; 100 and 50 go to the first, then each 10 to the one that lacks most."""
    found = dealt([[100, 50, *[10] * 7]], [0.8, 0.1, 0.1])
    assert found.utterances_ls.tolist() == [[180, 20, 20]]
    assert found.groups_ls.tolist() == [[5, 2, 2]]


def test_small_languages():
    """Three groups: the largest to the largest set, one to each of the others. Two, and one: see rule 4."""
    found = dealt([[50, 10, 5], [7, 3], [4]], [0.8, 0.1, 0.1])
    assert found.groups_ls[0].tolist() == [1, 1, 1]
    assert found.utterances_ls[0].tolist()[0] == 50
    assert found.utterances_ls[1].tolist()[0] == 7
    assert found.groups_ls[1].sum() == 2
    assert found.groups_ls[2].tolist() == [1, 0, 0]


def test_groups_are_kept_for_sets_that_would_have_none():
    """The sets lack 24, 3 and 3: without rule 3, all groups go to the first."""
    assert dealt([[10, 10, 10]], [0.8, 0.1, 0.1]).groups_ls.tolist() == [[1, 1, 1]]
    assert dealt([[9, 8, 7, 6]], [0.9, 0.05, 0.05]).utterances_ls.tolist() == [[17, 7, 6]]


def test_languages_of_two_groups_are_in_either_of_the_small_sets():
    found = dealt([[5, 5]] * 20, [0.8, 0.1, 0.1])
    assert found.groups_ls[:, 0].tolist() == [1] * 20
    assert found.groups_ls[:, 1:].sum(axis=0).tolist() == [10, 10]


def test_a_group_in_several_languages_is_in_one_set():
    language_u = np.array([0, 0, 1, 1, 1, 1, 1, 0])
    group_u = np.array([0, 1, 1, 1, 2, 3, 4, 0])
    found = deal(language_u, group_u, [0.5, 0.5], seed=1)
    assert len({*found.set_u[group_u == 1].tolist()}) == 1
    assert (found.groups_ls[0] == 1).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=8),
    st.integers(2, 5),
    st.integers(1, 3),
)
def test_what_always_holds(groups_of, sets, seed):
    shares = [0.5, *[0.5 / (sets - 1)] * (sets - 1)]
    found = dealt(groups_of, shares, seed)
    totals = np.array([sum(sizes) for sizes in groups_of])
    assert (found.utterances_ls.sum(axis=1) == totals).all()
    for language, sizes in enumerate(groups_of):
        assert (found.groups_ls[language] > 0).sum() == min(sets, len(sizes))
        over = found.utterances_ls[language] - np.array(shares) * totals[language]
        assert over.max() <= max(sizes)  # a set takes a group only while it lacks utterances, or has none


def test_folds_are_equal_and_the_seed_decides():
    found = [dealt([[1] * 1000, [3] * 10, [2] * 5], [0.2] * 5, seed) for seed in (1, 1, 2)]
    assert found[0].utterances_ls.tolist() == [[200] * 5, [6] * 5, [2] * 5]
    assert found[0].set_u.tolist() == found[1].set_u.tolist() != found[2].set_u.tolist()


def test_millions_of_groups_take_seconds():
    rng = np.random.default_rng(0)
    began = time.process_time()
    found = deal(rng.integers(0, 107, 500_000), np.arange(500_000), [0.8, 0.1, 0.1], seed=1)
    assert time.process_time() - began < 5
    assert found.utterances_ls.sum(axis=0) == pytest.approx([400_000, 50_000, 50_000], abs=107)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), min_size=1, max_size=60),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
)
def test_a_part_of_the_groups_of_each_kind(items, part, other):
    group_u, kind_u = np.array(items).T
    smaller, larger = (
        some_groups(group_u, kind_u, share, np.random.default_rng(3)) for share in sorted((part, other))
    )
    assert not (smaller & ~larger).any()
    for kind in np.unique(kind_u):
        here = kind_u == kind
        groups = len(np.unique(group_u[here]))
        assert len(np.unique(group_u[here & smaller])) == int(np.ceil(min(part, other) * groups))
        for group in np.unique(group_u[here]):
            assert len(np.unique(smaller[here & (group_u == group)])) == 1


def test_a_part_of_ten_groups_is_not_rounded_up_for_its_last_digit():
    kept = some_groups(np.arange(10), np.zeros(10, np.int64), 0.7, np.random.default_rng(0))
    assert kept.sum() == 7
