"""The laws of the draws: shares, without replacement, and a function of seed and epoch alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from lid_toolkit.data.sampling import LAWS, Corpus, catbel, catpow, catpow_balance_dataset, draw, powers
from lid_toolkit.errors import LidError

FIXTURE = Path(__file__).parents[1] / "fixtures" / "espnet" / "catpow_sampler.json"
COUNTS = (400, 100, 30, 5)
LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS)
LENGTHS = np.random.default_rng(0).integers(8000, 160000, len(LABELS))
SAMPLES = np.bincount(LABELS, weights=LENGTHS)


def corpus(**changes):
    return Corpus(**{"labels_u": LABELS, "lengths_u": LENGTHS, **changes})


def agrees(observed, probabilities):
    return chisquare(observed, np.sum(observed) * probabilities).pvalue > 1e-3


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_catpow_follows_the_power_of_the_share_of_speech(power):
    rows, _ = draw(catpow(corpus(language_power=power)), 20000, 1, seed=1)
    weights = (SAMPLES / SAMPLES.sum()) ** power
    assert agrees(np.bincount(LABELS[rows]), weights / weights.sum())


@pytest.mark.parametrize("case", range(4))
def test_catpow_has_espnets_probabilities(case):
    content = json.loads(FIXTURE.read_text())
    lengths = {
        label: list(utterances.values()) for label, utterances in content["category_to_utt_lengths"].items()
    }
    labels = np.repeat(np.arange(len(lengths)), [len(own) for own in lengths.values()])
    expected = content["cases"][case]
    law = catpow(Corpus(labels, np.concatenate(list(lengths.values())), None, expected["upsampling_factor"]))
    assert law.shares_g == pytest.approx(list(expected["expected_probability"].values()), abs=1e-12)


def test_datasets_first_then_languages_within_each():
    datasets = np.where(np.arange(len(LABELS)) % 3 == 0, 7, 2)
    law = catpow_balance_dataset(corpus(datasets_u=datasets, language_power=0.4, dataset_power=0.3))
    rows, _ = draw(law, 40000, 1, seed=2)
    by_dataset = np.array([LENGTHS[datasets == d].sum() for d in (2, 7)])
    expected = []
    for dataset, share in zip((2, 7), powers(by_dataset, 0.3), strict=True):
        inside = np.bincount(LABELS[datasets == dataset], weights=LENGTHS[datasets == dataset])
        expected += (share * powers(inside, 0.4)).tolist()
    observed = [
        np.sum((LABELS[rows] == label) & (datasets[rows] == dataset))
        for dataset in (2, 7)
        for label in range(4)
    ]
    assert agrees(observed, np.array(expected))


def test_one_dataset_is_plain_catpow():
    one = catpow_balance_dataset(corpus(datasets_u=np.zeros(len(LABELS), np.int32)))
    assert np.allclose(one.shares_g, catpow(corpus()).shares_g)


def test_a_language_that_a_dataset_lacks_is_drawn_from_the_other():
    datasets = (LABELS == 3).astype(np.int32)
    law = catpow_balance_dataset(corpus(datasets_u=datasets, dataset_power=0.0))
    rows, _ = draw(law, 10000, 1, seed=3)
    assert np.mean(LABELS[rows] == 3) == pytest.approx(0.5, abs=0.02)


def test_balancing_datasets_needs_to_know_them():
    with pytest.raises(LidError, match="utt2dataset"):
        catpow_balance_dataset(corpus())


def test_catbel_takes_languages_in_turn():
    rows, _ = draw(catbel(corpus()), 4000, 1, seed=0)
    labels = LABELS[rows]
    assert (np.bincount(labels) == 1000).all()
    for start in (0, 1, 17, 3990):
        assert len(set(labels[start : start + 4].tolist())) == 4


@pytest.mark.parametrize("name", ["unsorted", "sorted", "length", "numel"])
def test_a_pass_over_the_corpus_takes_every_utterance_once(name):
    rows, visits = draw(LAWS[name](corpus()), len(LABELS), 3, seed=0)
    assert sorted(rows.tolist()) == list(range(len(LABELS)))
    assert (visits == 2).all()


@pytest.mark.parametrize("name", sorted(LAWS))
@pytest.mark.parametrize("draws", [100, 999])
def test_utterances_come_once_before_any_comes_again_from_epoch_to_epoch(name, draws):
    law = LAWS[name](corpus(datasets_u=LABELS % 2, language_power=0.0))
    epochs = [draw(law, draws, epoch, seed=5) for epoch in range(1, 8)]
    rows, visits = (np.concatenate(parts) for parts in zip(*epochs, strict=True))
    groups = np.split(law.members, law.starts_g[1:-1])
    for group in groups:
        taken = np.isin(rows, group)
        own = rows[taken]
        for start in range(0, len(own), len(group)):
            part = own[start : start + len(group)]
            assert len(set(part.tolist())) == len(part)
        assert np.array_equal(visits[taken], np.arange(len(own)) // len(group))


def test_shares_are_exact_over_many_epochs_too():
    law = catpow(corpus())
    rows = np.concatenate([draw(law, 300, epoch, seed=8)[0] for epoch in range(1, 41)])
    assert agrees(np.bincount(LABELS[rows]), law.shares_g)


def test_draws_are_independent_of_what_came_before():
    labels = LABELS[draw(catpow(corpus()), 30000, 1, seed=4)[0]]
    after = np.bincount(labels[1:][labels[:-1] == 0], minlength=4)
    assert agrees(after, catpow(corpus()).shares_g)


@pytest.mark.parametrize("name", sorted(LAWS))
def test_seed_and_epoch_decide_and_global_generators_are_left_alone(name):
    law = LAWS[name](corpus(datasets_u=LABELS % 2))
    np.random.seed(0)
    random.seed(0)
    before = np.random.get_state()[1].copy(), random.getstate()
    one, again = draw(law, 500, 4, seed=3), draw(law, 500, 4, seed=3)
    assert np.array_equal(one[0], again[0])
    for epoch, seed in ((5, 3), (4, 2)):
        assert not np.array_equal(one[0], draw(law, 500, epoch, seed)[0])
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert before[1] == random.getstate()


@pytest.mark.parametrize("name", sorted(LAWS))
def test_one_language_and_one_utterance(name):
    lonely = LAWS[name](Corpus(np.array([0]), np.array([16000]), np.array([0])))
    rows, visits = draw(lonely, 3, 2, seed=0)
    assert rows.tolist() == [0, 0, 0]
    assert visits.tolist() == [3, 4, 5]
    alone = LAWS[name](Corpus(np.zeros(9, np.int32), np.full(9, 16000), np.zeros(9, np.int32), 0.0, 0.0))
    assert sorted(draw(alone, 9, 1, seed=0)[0].tolist()) == list(range(9))


def test_a_class_without_utterances_is_never_drawn():
    law = catpow(Corpus(np.array([0, 0, 3]), np.full(3, 16000), None, 0.0))
    rows, _ = draw(law, 1000, 1, seed=0)
    assert np.bincount(rows, minlength=3)[2] == pytest.approx(500, abs=70)
    assert set(rows.tolist()) == {0, 1, 2}


def test_no_two_passes_over_a_group_have_the_same_order():
    law = LAWS["unsorted"](corpus())
    orders = {tuple(draw(law, len(LABELS), epoch, seed=0)[0].tolist()) for epoch in range(1, 21)}
    assert len(orders) == 20


def test_groups_of_equal_size_have_different_orders():
    labels = np.repeat([0, 1], 60)
    rows, _ = draw(catbel(Corpus(labels, np.full(120, 16000))), 120, 1, seed=0)
    assert (rows[labels[rows] == 0] != rows[labels[rows] == 1] - 60).any()


def test_numbers_and_order_of_languages_differ_from_epoch_to_epoch():
    epochs = [LABELS[draw(catpow(corpus()), 300, epoch, seed=8)[0]] for epoch in range(1, 5)]
    assert len({tuple(np.bincount(labels, minlength=4).tolist()) for labels in epochs}) > 1
    turns = [LABELS[draw(catbel(corpus()), 40, epoch, seed=8)[0]][:4] for epoch in range(1, 9)]
    assert len({tuple(labels.tolist()) for labels in turns}) > 1


def test_more_groups_than_sixteen_bits_can_count():
    law = catpow(Corpus(np.arange(65537), np.full(65537, 16000)))
    assert np.array_equal(law.members, np.arange(65537))
