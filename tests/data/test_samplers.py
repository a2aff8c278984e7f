"""The law of the draws, the bounds of the batches, and that nothing is lost."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from lid_toolkit.data.samplers import CatpowSampler, draw_catpow, sorted_batches

COUNTS = (400, 100, 30, 5)
LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS)


def speech_lengths(utterances, seed=0):
    """Log-normal around 4 s, 0.5 to 20 s, as prompts and read speech are."""
    seconds = np.clip(np.random.default_rng(seed).lognormal(np.log(4), 0.6, utterances), 0.5, 20)
    return (seconds * 16000).astype(np.int64)


def sampler(**changes):
    lengths = speech_lengths(len(LABELS))
    return dataclasses.replace(CatpowSampler(LABELS, lengths, batch_bins=640000), **changes)


def padded(batch, lengths):
    """Samples of the batch as a tensor, cropped as it says."""
    return int(np.minimum(lengths[batch.rows_b], batch.crop).max()) * len(batch.rows_b)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_languages_follow_the_power_of_their_share(power):
    rows = draw_catpow(LABELS, power, 20000, np.random.default_rng(1))
    weights = np.array(COUNTS) ** power
    observed = np.bincount(LABELS[rows], minlength=len(COUNTS))
    assert chisquare(observed, 20000 * weights / weights.sum()).pvalue > 1e-3


def test_batching_does_not_bend_the_law():
    drawn = np.concatenate([b.rows_b for e in range(1, 30) for b in sampler(power=0.5).epoch(e)])
    weights = np.sqrt(COUNTS)
    observed = np.bincount(LABELS[drawn], minlength=len(COUNTS))
    assert chisquare(observed, len(drawn) * weights / weights.sum()).pvalue > 1e-3


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_utterances_come_once_before_any_comes_again(power):
    rows = draw_catpow(LABELS, power, 3000, np.random.default_rng(2))
    for label in range(len(COUNTS)):
        own = rows[LABELS[rows] == label]
        for start in range(0, len(own), COUNTS[label]):
            part = own[start : start + COUNTS[label]]
            assert len(set(part.tolist())) == len(part)


def test_an_epoch_follows_from_seed_and_number_alone():
    one, again = sampler(seed=3).epoch(5), sampler(seed=3).epoch(5)
    assert len(one) == len(again)
    for a, b in zip(one, again, strict=True):
        assert np.array_equal(a.rows_b, b.rows_b)
        assert (a.crop, a.seed) == (b.crop, b.seed)
    for other in (sampler(seed=3).epoch(6), sampler(seed=4).epoch(5)):
        assert not all(np.array_equal(a.rows_b, b.rows_b) for a, b in zip(one, other, strict=False))


@given(
    lengths=st.lists(st.integers(1, 2_000_000), min_size=1, max_size=60),
    bins=st.integers(1, 1_000_000),
    most=st.one_of(st.none(), st.integers(1, 5)),
    crop=st.one_of(st.none(), st.tuples(st.integers(1, 40000), st.integers(40000, 80000))),
)
@settings(max_examples=60, deadline=None)
def test_bins_are_never_exceeded_but_by_one_long_utterance_and_no_draw_is_lost(lengths, bins, most, crop):
    lengths = np.array(lengths)
    labels = np.arange(len(lengths)) % 3
    law = CatpowSampler(labels, lengths, bins, crop_range=crop, max_batch_size=most)
    batches = law.epoch(1)
    assert sum(len(batch.rows_b) for batch in batches) == len(lengths)
    for batch in batches:
        assert 1 <= len(batch.rows_b) <= (most or len(lengths))
        assert len(batch.rows_b) == 1 or padded(batch, lengths) <= bins
        assert crop is None or batch.crop <= crop[1]


@pytest.mark.parametrize("wanted", [1, 3, 200])
def test_the_number_of_batches_is_what_was_asked_for(wanted):
    assert len(sampler(batches_an_epoch=wanted).epoch(1)) == wanted


@pytest.mark.parametrize("factor", [0.1, 1.0, 2.5])
def test_draws_are_a_multiple_of_the_corpus(factor):
    batches = sampler(scaling_factor=factor).epoch(1)
    assert sum(len(batch.rows_b) for batch in batches) == round(factor * len(LABELS))


@pytest.mark.parametrize(("crop_s", "most"), [(None, 0.05), ((2.0, 4.0), 0.03)])
def test_padding_is_a_small_share(crop_s, most):
    labels, lengths = np.arange(20000) % 7, speech_lengths(20000)
    crop = None if crop_s is None else tuple(round(16000 * s) for s in crop_s)
    batches = CatpowSampler(labels, lengths, 640000, crop_range=crop).epoch(1)
    total = sum(padded(batch, lengths) for batch in batches)
    speech = sum(int(np.minimum(lengths[batch.rows_b], batch.crop).sum()) for batch in batches)
    assert 1 - speech / total < most


def test_one_language_and_one_utterance():
    lengths = np.array([16000])
    (batch,) = CatpowSampler(np.array([0]), lengths, 640000).epoch(1)
    assert batch.rows_b.tolist() == [0]
    many = CatpowSampler(np.zeros(9, np.int64), speech_lengths(9), 640000, power=0.0).epoch(1)
    assert sorted(row for batch in many for row in batch.rows_b.tolist()) == list(range(9))


def test_a_label_without_utterances_is_never_drawn():
    rows = draw_catpow(np.array([0, 0, 3]), 0.0, 1000, np.random.default_rng(0))
    assert set(rows.tolist()) == {0, 1, 2}


@given(lengths=st.lists(st.integers(1, 900), max_size=40), most=st.one_of(st.none(), st.integers(1, 4)))
@settings(max_examples=40, deadline=None)
def test_sorted_batches_hold_every_utterance_once_longest_first(lengths, most):
    lengths = np.array(lengths, dtype=np.int64)
    batches = sorted_batches(lengths, 1000, most)
    rows = [row for batch in batches for row in batch.rows_b.tolist()]
    assert sorted(rows) == list(range(len(lengths)))
    assert (np.diff(lengths[rows]) <= 0).all()
    for batch in batches:
        assert len(batch.rows_b) == 1 or lengths[batch.rows_b].max() * len(batch.rows_b) <= 1000
        assert batch.crop is None
        assert batch.seed is None


def test_a_large_corpus_is_batched_in_time_linear_in_its_size():
    lengths = speech_lengths(60_000)
    started = time.process_time()
    batches = sorted_batches(lengths, 640000, 1)
    assert len(batches) == 60_000
    CatpowSampler(np.arange(60_000) % 107, lengths, 640000, max_batch_size=1).epoch(1)
    assert time.process_time() - started < 20
