"""The sampler that a configuration's keys ask for."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.data.sampling import Corpus, catpow
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.training.build_sampler import build_sampler
from lid_toolkit.training.config import parse_config

LENGTHS = np.arange(1, 41) * 4000
LABELS = (np.arange(40) % 7 == 0).astype(np.int32)


def utterances(datasets=None):
    refs = table_from_pairs((f"u{number:02d}", "a.wav") for number in range(40))
    return Utterances(refs, LABELS, LENGTHS, datasets)


def sampler(**keys):
    return build_sampler(parse_config(keys, "x.yaml"), utterances())


@pytest.mark.parametrize(
    ("keys", "power"),
    [
        ({}, 0.5),
        ({"upsampling_factor": 0.3}, 0.3),
        ({"category_upsampling_factor": 0.0}, 0.0),
        ({"upsampling_factor": 0.3, "category_upsampling_factor": 0.9}, 0.3),
    ],
)
def test_the_power_of_catpow_has_espnets_key_and_the_older_one(keys, power):
    expected = catpow(Corpus(LABELS, LENGTHS, None, power)).shares_g
    assert sampler(**keys).law.shares_g == pytest.approx(expected)


def test_powers_of_datasets_and_languages():
    keys = {
        "batch_type": "catpow_balance_dataset",
        "upsampling_factor": 1.0,
        "category_upsampling_factor": 0.0,
        "dataset_upsampling_factor": 0.0,
    }
    datasets = (np.arange(40) < 30).astype(np.int32)
    law = build_sampler(parse_config(keys, "x.yaml"), utterances(datasets)).law
    assert law.shares_g == pytest.approx(np.full(4, 0.25))
    with pytest.raises(LidError, match="utt2dataset"):
        sampler(**keys)


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        ({}, None),
        ({"max_batch_size": 16}, 16),
        ({"batch_size": 5}, None),
        ({"batch_size": 5, "batch_type": "sorted"}, 5),
        ({"batch_size": 5, "max_batch_size": 3, "batch_type": "catbel"}, 3),
    ],
)
def test_the_most_utterances_in_a_batch(keys, most):
    assert sampler(**keys).most == most


@pytest.mark.parametrize(
    ("keys", "draws"),
    [
        ({}, 48),
        ({"dataset_scaling_factor": 2}, 80),
        ({"batch_type": "length"}, 40),
        ({"batch_type": "catbel"}, 48),
    ],
)
def test_draws_in_an_epoch(keys, draws):
    assert sampler(**keys).draws == draws


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({}, (48000, 48000)),
        ({"target_duration": [1, 2.5]}, (16000, 40000)),
        ({"fix_duration": False}, None),
        ({"target_duration": None}, None),
    ],
)
def test_crops(conf, expected):
    assert sampler(preprocessor_conf=conf).crop_range == expected


def test_other_keys_reach_the_sampler():
    made = sampler(batch_bins=9000, min_batch_size=2, drop_last_iter=True, num_iters_per_epoch=6, seed=4)
    assert (made.batch_bins, made.fewest, made.drop_last) == (9000, 2, True)
    assert (made.batches_an_epoch, made.seed) == (6, 4)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"iterator_type": "sequence"}, "iterator_type sequence does not support batch_type catpow"),
        ({"max_batch_size": 2, "min_batch_size": 3}, "max_batch_size 2 is less than min_batch_size 3"),
        ({"batch_bins": 2, "min_batch_size": 3}, "batch_bins 2 is less than min_batch_size 3"),
        ({"batch_type": "catpov"}, "batch_type"),
    ],
)
def test_keys_that_contradict_each_other(keys, message):
    with pytest.raises(LidError, match=message):
        sampler(**keys)


def test_sequences_may_say_so():
    assert len(sampler(iterator_type="sequence", batch_type="numel").epoch(1)) > 0
