"""The selection set holds whole videos, some of every language, and depends on their names alone."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from local.voxlingua107.selection import MOST_PER_LANGUAGE, barred, held_out, video_hashes

NONE = np.zeros(0, np.uint64)


@st.composite
def languages(draw):
    """Draw the videos of a language's utterances, some of them barred."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=60))
    hashes = np.repeat(np.arange(10, 10 + len(sizes), dtype=np.uint64), sizes)
    return hashes, np.array(draw(st.lists(st.integers(10, 10 + len(sizes)), max_size=9)), np.uint64)


@given(languages())
def test_whole_videos_within_the_quota(drawn):
    hashes, stay = drawn
    out = held_out(hashes, stay)
    inside, outside = set(hashes[out].tolist()), set(hashes[~out].tolist())
    assert not inside & outside
    assert not inside & set(stay.tolist())
    assert outside
    free = set(hashes.tolist()) - set(stay.tolist())
    if len(set(hashes.tolist())) > 1 and free:
        assert inside
    quota = min(MOST_PER_LANGUAGE, np.ceil(0.05 * len(hashes)))
    assert out.sum() <= quota or len(inside) == 1


@given(languages(), st.randoms())
def test_the_order_of_utterances_does_not_matter(drawn, random):
    hashes, stay = drawn
    order = list(range(len(hashes)))
    random.shuffle(order)
    assert np.array_equal(held_out(hashes[order], stay), held_out(hashes, stay)[order])


def test_a_large_language_gives_a_hundred_of_many_videos():
    hashes = np.repeat(np.arange(4000, dtype=np.uint64), 7)
    out = held_out(hashes, NONE)
    assert 94 <= out.sum() <= 100
    assert len(np.unique(hashes[out])) == 14


def test_a_language_of_one_video_stays_in_train():
    for utterances in (1, 2, 50):
        assert not held_out(np.full(utterances, 3, np.uint64), NONE).any()


def test_videos_of_dev_and_of_several_languages_are_barred():
    one, other = np.array([5, 5, 7, 9], np.uint64), np.array([7, 11], np.uint64)
    assert barred([one, other], np.array([9, 100], np.uint64)).tolist() == [7, 9, 100]
    assert barred([], NONE).tolist() == []


def test_hashes_are_the_same_everywhere():
    expected = int.from_bytes(hashlib.blake2b(b"-a", digest_size=8).digest(), "little")
    assert video_hashes(["-a", "b", "-a"]).tolist()[::2] == [expected] * 2
    assert len(set(video_hashes([f"v{i}" for i in range(1000)]).tolist())) == 1000
