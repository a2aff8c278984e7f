"""Draws to batches: the law stays, bins are never exceeded, little is padded, ranks share alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from lid_toolkit.data.samplers import (
    Batches,
    Position,
    Sampler,
    cut,
    evenly_spaced,
    sorted_batches,
    whole_steps,
    zigzag,
)
from lid_toolkit.data.sampling import BY_BATCH_SIZE, LAWS, Corpus, catpow
from lid_toolkit.errors import LidError

COUNTS = (400, 100, 30, 5)
LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS)
BINS = 640000


def speech_lengths(utterances, seed=0):
    """Log-normal around 4 s, 0.5 to 20 s, as prompts and read speech are."""
    seconds = np.clip(np.random.default_rng(seed).lognormal(np.log(4), 0.6, utterances), 0.5, 20)
    return (seconds * 16000).astype(np.int64)


def sampler(name="catpow", labels=LABELS, lengths=None, **changes):
    lengths = speech_lengths(len(labels)) if lengths is None else np.array(lengths)
    law = LAWS[name](Corpus(labels, lengths, np.zeros(len(labels), np.int32)))
    limit = {"most": 8} if name in BY_BATCH_SIZE else {}
    return Sampler(law, lengths, **{"batch_bins": BINS, "draws": len(labels), **limit, **changes})


def padded(batch, lengths):
    """Samples of the batch as a tensor, cropped as it says."""
    return int(np.minimum(lengths[batch.rows_b], batch.crop).max()) * len(batch.rows_b)


def rows_of(batches):
    return np.concatenate([batch.rows_b for batch in batches])


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a.rows_b, b.rows_b) and a.crop == b.crop and np.array_equal(a.seed, b.seed)
        for a, b in zip(one, other, strict=True)
    )


def test_a_number_of_batches_leaves_a_language_of_short_utterances_its_share():
    """Where the draws end batches are of short utterances, and only these were left out."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 400)
    lengths = (rng.uniform(4, 10, 1600) * 16000).astype(np.int64)
    lengths[:400] = (rng.uniform(1, 2, 400) * 16000).astype(np.int64)
    law = catpow(Corpus(labels, lengths, language_power=0.0))
    made = Sampler(law, lengths, batch_bins=960000, batches_an_epoch=75)
    epochs = [made.epoch(epoch) for epoch in range(1, 31)]
    drawn = labels[np.concatenate([rows_of(batches) for batches in epochs])]
    assert [len(batches) for batches in epochs] == [75] * 30
    # 30 epochs of some 900 utterances: a share of 0.25 has a standard error below 0.003
    assert np.bincount(drawn) / len(drawn) == pytest.approx(0.25, abs=0.012)


@pytest.mark.parametrize("changes", [{}, {"batches_an_epoch": 7}, {"crop_range": (16000, 48000)}])
def test_batching_does_not_bend_the_law(changes):
    law = sampler(**changes)
    drawn = np.concatenate([rows_of(law.epoch(epoch)) for epoch in range(1, 30)])
    observed = np.bincount(LABELS[drawn], minlength=len(COUNTS))
    assert chisquare(observed, len(drawn) * law.law.shares_g).pvalue > 1e-3


def test_a_batch_has_no_preference_for_a_language():
    """Of a corpus whose languages are of one length, batches are as mixed as the law."""
    law = sampler(lengths=np.full(len(LABELS), 32000))
    firsts = np.array([LABELS[batch.rows_b[0]] for e in range(1, 30) for batch in law.epoch(e)])
    observed = np.bincount(firsts, minlength=len(COUNTS))
    assert chisquare(observed, len(firsts) * law.law.shares_g).pvalue > 1e-3


@pytest.mark.parametrize("name", ["catpow", "catpow_balance_dataset", "catbel", "length"])
@pytest.mark.parametrize("utterances", [17, 144, 1000])
def test_a_batch_of_crops_has_as_many_different_utterances_as_there_are(name, utterances):
    """Clips of three languages have three lengths, all longer than the crop."""
    labels = np.arange(utterances) % 3
    lengths = 40_000 * (1 + labels) + np.random.default_rng(0).integers(0, 9_000, utterances)
    made = sampler(
        name, labels, lengths, batch_bins=480_000, crop_range=(16_000, 16_000), batches_an_epoch=40, most=30
    )
    different = [len(set(batch.rows_b)) / min(len(batch.rows_b), utterances) for batch in made.epoch(1)]
    assert np.mean(different) > 0.95
    in_batch_bl = np.array([np.bincount(labels[batch.rows_b], minlength=3) for batch in made.epoch(1)])
    assert in_batch_bl.min() >= 1


def test_utterances_that_a_law_repeats_are_repeated_evenly():
    """Two utterances of a language with half of the draws: a batch of eight has each of them twice."""
    labels = np.repeat([0, 1], (2, 300))
    lengths = np.full(302, 16_000)
    law = catpow(Corpus(labels, lengths, language_power=0.0))
    made = Sampler(law, lengths, batch_bins=8 * 16_000, crop_range=(8000, 8000), most=8, batches_an_epoch=200)
    counts_bu = np.array([np.bincount(batch.rows_b, minlength=302) for batch in made.epoch(1)])
    assert counts_bu[:, :2].mean() == pytest.approx(2, abs=0.1)
    assert counts_bu[:, :2].std() < 0.7  # drawn freely: 1.3
    assert counts_bu[:, 2:].max() == 1


def test_different_values_in_a_batch_by_hand():
    batches = Batches(np.array([0, 1, 1, 4, 4, 4]), np.array([0, 3]), np.array([3, 6]))
    assert batches.mean_different() == 1.5
    assert batches.mean_different(np.array([7, 8, 0, 0, 8], dtype=np.int32)) == 1.5
    assert batches.mean_different(np.zeros(5, dtype=np.int32)) == 1


def test_even_spacing_by_hand():
    rows = np.array([3, 5, 3, 3, 5, 3])
    numbers = evenly_spaced(rows, np.array([0, 0, 0, 0, 1, 1]), np.random.default_rng(0))
    assert np.diff(numbers[[0, 2, 3]]) == pytest.approx(1 / 3)  # three draws of 3 in the first window
    assert 0 <= numbers.min() <= numbers.max() < 1


@pytest.mark.parametrize("name", sorted(LAWS))
def test_an_epoch_follows_from_seed_and_number_alone(name):
    conf = {"crop_range": (8000, 32000), "seed": 3}
    assert same(sampler(name, **conf).epoch(5), sampler(name, **conf).epoch(5))
    for other in (sampler(name, **conf).epoch(6), sampler(name, **{**conf, "seed": 4}).epoch(5)):
        assert not same(sampler(name, **conf).epoch(5), other)


@given(
    name=st.sampled_from(sorted(LAWS)),
    lengths=st.lists(st.integers(1, 2_000_000), min_size=1, max_size=60),
    bins=st.integers(10, 1_000_000),
    most=st.one_of(st.none(), st.integers(3, 6)),
    fewest=st.integers(1, 3),
    crop=st.one_of(st.none(), st.tuples(st.integers(1, 40000), st.integers(40000, 80000))),
)
@settings(max_examples=150, deadline=None)
def test_bins_are_never_exceeded_and_no_draw_is_lost(name, lengths, bins, most, fewest, crop):
    lengths = np.array(lengths)
    labels = np.arange(len(lengths)) % 3
    law = sampler(name, labels, lengths, batch_bins=bins, most=most, fewest=fewest, crop_range=crop)
    batches = law.epoch(1)
    for batch in batches:
        assert len(batch.rows_b) <= (most or 2 * len(lengths))
        assert len(batch.rows_b) >= fewest or len(batches) == 1
        assert 1 <= padded(batch, lengths) <= bins
        assert batch.crop >= 1
        assert crop is None or batch.crop <= crop[1]
    drawn = sum(len(batch.rows_b) for batch in batches)
    assert len(lengths) - fewest < drawn < len(lengths) + 3


def test_an_utterance_longer_than_the_bins_is_cropped_to_them():
    batches = sampler(
        labels=np.array([0, 1]), lengths=[50_000, 9_000_000], draws=40, batch_bins=160_000
    ).epoch(1)
    alone = [batch for batch in batches if 1 in batch.rows_b]
    assert alone
    assert all(batch.crop == 160_000 and len(batch.rows_b) == 1 for batch in alone)


def test_whole_utterances_stay_whole():
    lengths = speech_lengths(len(LABELS))
    assert all((lengths[batch.rows_b] <= batch.crop).all() for batch in sampler().epoch(1))


@pytest.mark.parametrize("wanted", [1, 3, 200])
@pytest.mark.parametrize("crop", [None, (8000, 64000)])
def test_the_number_of_batches_is_what_was_asked_for(wanted, crop):
    law = sampler(batches_an_epoch=wanted, crop_range=crop)
    assert [len(law.epoch(epoch)) for epoch in (1, 2, 9)] == [wanted] * 3


def test_epochs_of_few_batches_go_on_through_the_corpus():
    """Not the same few utterances again: two epochs of a quarter of the corpus hardly overlap."""
    labels = np.zeros(4000, np.int32)
    law = sampler(labels=labels, batches_an_epoch=100)
    one, other = (set(rows_of(law.epoch(epoch)).tolist()) for epoch in (1, 2))
    assert len(one) > 500
    assert not one & other


@pytest.mark.parametrize("last", [False, True])
def test_what_nothing_filled_can_be_left_out(last):
    lengths = np.full(10, 100)
    batches = sampler("length", np.zeros(10, np.int32), lengths, batch_bins=400, drop_last=last).epoch(1)
    assert sorted(batches.sizes_b().tolist()) == ([4, 4] if last else [2, 4, 4])
    (only,) = sampler("length", np.zeros(3, np.int32), lengths[:3], batch_bins=400, drop_last=last).epoch(1)
    assert len(only.rows_b) == 3


def test_catbel_is_balanced_within_every_batch():
    labels = np.repeat(np.arange(5), (300, 200, 40, 7, 2))
    for most in (3, 5, 12):
        for batch in sampler("catbel", labels, most=most, batch_bins=10**9).epoch(2):
            counts = np.bincount(labels[batch.rows_b], minlength=5)
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["unsorted", "sorted"])
def test_the_batch_size_counts_as_far_as_bins_allow(name):
    sizes = sampler(name, most=8, batch_bins=10**9).epoch(1).sizes_b()
    assert set(sizes.tolist()) == {len(LABELS) % 8, 8}
    assert sampler(name, most=8, batch_bins=320_000).epoch(1).sizes_b().min() < 8


@pytest.mark.parametrize(("crop_s", "most"), [(None, 0.05), ((2.0, 4.0), 0.03)])
@pytest.mark.parametrize("name", ["catpow", "catpow_balance_dataset", "catbel", "length", "sorted"])
def test_padding_is_a_small_share(name, crop_s, most):
    labels = np.sort(np.random.default_rng(0).choice(7, 20000, p=np.arange(1, 8) / 28))
    lengths = speech_lengths(20000)
    crop = None if crop_s is None else tuple(round(16000 * s) for s in crop_s)
    assert sampler(name, labels, lengths, crop_range=crop).epoch(1).padding(lengths) < most


def test_padding_by_hand():
    batches = sorted_batches(np.array([4, 10, 9]), 20)
    assert [batch.rows_b.tolist() for batch in batches] == [[1, 2], [0]]
    assert batches.padding(np.array([4, 10, 9])) == pytest.approx(1 / 24)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_one_order_and_have_the_same_number(world_size):
    batches = sampler().epoch(1)
    shares = [batches.share(rank, world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(batches) // world_size}
    together = [share[step] for step in range(len(shares[0])) for share in shares]
    assert same(together, batches[: len(together)])


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_an_epoch_goes_on_where_it_was_with_any_number_of_ranks(world_size):
    batches = sampler().epoch(2)
    rests = [batches.share(rank, world_size, done=6) for rank in range(world_size)]
    together = [share[step] for step in range(len(rests[0])) for share in rests]
    assert same(together, batches[6:][: len(together)])
    assert len(batches) - 6 - len(together) < world_size


def test_a_position_is_two_integers_and_comes_back():
    position, other = Position(epoch=3, batches=6), Position()
    other.load_state_dict(position.state_dict())
    assert other == position
    assert position.state_dict() == {"epoch": 3, "batches": 6}
    position.begin_next_epoch()
    assert (position, other) == (Position(4, 0), Position(3, 6))


def test_fewer_batches_than_processes_are_refused():
    with pytest.raises(LidError, match="3 batches per epoch are too few for 4 processes"):
        sampler(batches_an_epoch=3).epoch(1).share(rank=0, world_size=4)


def test_every_draw_has_a_seed_of_its_own():
    law = sampler(labels=np.zeros(3, np.int32), draws=30)
    seeds = [tuple(seed) for epoch in (1, 2) for batch in law.epoch(epoch) for seed in batch.seed.tolist()]
    assert len(set(seeds)) == 60


def test_cut_by_hand():
    lengths, crops = np.array([5, 3, 9, 9, 2, 1]), np.array([10, 6, 10, 10, 10, 10])
    ends, longest = cut(lengths, crops, 12, 3)
    assert (ends.tolist(), longest.tolist()) == ([2, 4, 6], [5, 6, 2])


def test_windows_fall_and_rise():
    order = zigzag(np.array([[3], [1], [2], [5], [4], [6], [8], [7]]), 3)[:, 0]
    assert order.tolist() == [0, 2, 1, 4, 3, 5, 6, 7]


def test_crops_are_whole_steps():
    assert whole_steps(np.array([5, 1600, 1700, 48001])).tolist() == [5, 1600, 1600, 48000]


@given(lengths=st.lists(st.integers(1, 1500), max_size=40), most=st.one_of(st.none(), st.integers(1, 4)))
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


def test_a_large_corpus_in_batches_of_one():
    lengths = speech_lengths(60_000)
    assert len(sorted_batches(lengths, BINS, 1)) == 60_000
    law = catpow(Corpus(np.arange(60_000) % 107, lengths))
    assert len(dataclasses.replace(Sampler(law, lengths, BINS, most=1), draws=60_000).epoch(1)) == 60_000


def test_a_training_does_not_go_from_long_to_short():
    lengths = np.random.default_rng(0).integers(16000, 160000, 2000)
    law = LAWS["length"](Corpus(np.zeros(2000, np.int64), lengths))
    batches = Sampler(law, lengths, 640000, draws=2000).epoch(1)
    longest = [lengths[batch.rows_b].max() for batch in batches]
    assert len(longest) > 200
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.3
