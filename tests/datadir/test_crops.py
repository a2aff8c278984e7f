"""The law of crops: where they begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from lid_toolkit.datadir.crops import crop_begins, crop_dir, crop_samples

KEYS = [f"utt-{number}-é" for number in range(2000)]


def test_begins_depend_on_the_id_alone_and_are_spread_evenly():
    lengths = np.full(len(KEYS), 160_000)
    begins = crop_begins(KEYS, lengths, 16_000)
    assert np.array_equal(crop_begins(KEYS[::-1], lengths, 16_000)[::-1], begins)
    assert len(np.unique(begins)) > 1950
    assert kstest(begins / 144_000, "uniform").pvalue > 0.01


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(0, 10**7), st.text(min_size=1))
def test_a_longer_crop_contains_a_shorter_one_and_lies_in_the_utterance(short, more, rest, key):
    length = np.array([short + more + rest])
    inner, outer = (int(crop_begins([key], length, size)[0]) for size in (short, short + more))
    assert 0 <= outer <= inner
    assert inner + short <= outer + short + more + 1  # one sample of rounding
    assert outer + short + more <= length[0]


def test_a_crop_of_the_whole_utterance_begins_with_it():
    assert crop_begins(KEYS[:3], np.array([5, 5, 5]), 5).tolist() == [0, 0, 0]
    assert crop_begins([], np.zeros(0, np.int64), 5).tolist() == []


def test_durations_and_directories():
    assert (crop_samples(1.5, 16_000), crop_samples(1e-9, 8000)) == (24_000, 1)
    assert [crop_dir(Path("a"), seconds).name for seconds in (1.0, 2.5, 10)] == ["1s", "2.5s", "10s"]
