"""What a configuration does here and not in ESPnet."""

from __future__ import annotations

import json

import pytest
import yaml
from models.espnet import FIXTURES

from lid_toolkit.models.build import build_model
from lid_toolkit.training.config import TrainConfig, parse_config
from lid_toolkit.training.espnet_notes import OTHER_DEFAULTS, espnet_notes

SET = {  # keys with other defaults in ESPnet
    **{"batch_type": "catpow", "iterator_type": "category", "max_epoch": 3, "optim": "adam"},
    **{"best_model_criterion": "loss", "keep_nbest_models": 1},
}
SMALL = {**SET, "encoder": "identity", "input_size": 8, "projector_conf": {"output_size": 4}}
ESPNET = {"num_att_plot": 0}  # a key that only ESPnet has
POWER = "ESPnet uses only upsampling_factor, by default 0.5"
BATCHES = "batch_bins counts padding, and no batch is larger; ESPnet adds utterances until it is exceeded"
VALIDATION = "validation goes over every utterance once; ESPnet draws utterances as for training"
PENALTY = "loss_conf.mp {} acts; in ESPnet it never does, and mp: 0 trains as ESPnet does"


def notes(changes, from_espnet=False):
    raw = {**SMALL, **changes}
    config = parse_config(raw, "x.yaml")
    return espnet_notes(raw, config, build_model(config.model_description(), 3), from_espnet)


def test_other_defaults_of_keys_that_are_not_set_are_said():
    names = yaml.safe_load((FIXTURES / "names.yaml").read_text(encoding="utf-8"))["keys"]
    fields = {key: field.default for key, field in TrainConfig.model_fields.items() if key in names}
    different = {
        key for key, default in fields.items() if json.dumps(default, default=str) != json.dumps(names[key])
    }
    of_no_result = {"cudnn_deterministic", "num_workers", "early_stopping_criterion"}
    same_but_written_otherwise = {"freeze_param", "init_param", "preprocessor_conf", "optim_conf"}
    same_but_written_otherwise |= {"upsampling_factor"}
    assert set(OTHER_DEFAULTS) == different - of_no_result - same_but_written_otherwise
    raw = {**ESPNET, "encoder": "identity", "input_size": 8, "max_epoch": 3, "optim": "sgd"}
    config = parse_config(raw, "x.yaml")
    said = espnet_notes(raw, config, build_model(config.model_description(), 3))
    assert said[2] == (
        "keys that are not set and have other defaults in ESPnet: batch_type, best_model_criterion, "
        "iterator_type, keep_nbest_models"
    )


def test_nothing_is_said_without_a_sign_of_espnet():
    assert notes({"loss": "aamsoftmax_sc_topk"}) == []


@pytest.mark.parametrize("key", ["num_att_plot", "use_deepspeed", "language_upsampling_factor"])
def test_a_key_of_espnet_is_a_sign(key):
    value = {"num_att_plot": 0, "use_deepspeed": False, "language_upsampling_factor": 0.5}[key]
    assert notes({key: value}) == notes({}, from_espnet=True) == [BATCHES, VALIDATION]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iterator_type": "sequence", "batch_type": "unsorted"}, []),
        ({"iterator_type": "sequence", "batch_type": "numel"}, [BATCHES]),
        ({"loss": "aamsoftmax_sc_topk"}, [BATCHES, VALIDATION, PENALTY.format(0.06)]),
        (
            {"loss": "aamsoftmax_sc_topk", "loss_conf": {"mp": 0.1}},
            [BATCHES, VALIDATION, PENALTY.format(0.1)],
        ),
        ({"loss": "aamsoftmax_sc_topk", "loss_conf": {"mp": 0, "do_lm": False}}, [BATCHES, VALIDATION]),
        ({"loss": "aamsoftmax_sc_topk", "loss_conf": {"k_top": 0}}, [BATCHES, VALIDATION]),
    ],
)
def test_what_applies_is_said(changes, expected):
    assert notes({**changes, **ESPNET}) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"category_upsampling_factor": 0.5}, []),
        ({"upsampling_factor": 0.3}, []),
        (
            {"category_upsampling_factor": 0.3},
            [f"catpow uses category_upsampling_factor 0.3; {POWER}"],
        ),
        ({"upsampling_factor": 0.3, "category_upsampling_factor": 0.3}, []),
        (
            {"upsampling_factor": 0.3, "category_upsampling_factor": 0.5},
            ["catpow uses upsampling_factor 0.3, not category_upsampling_factor 0.5"],
        ),
        ({"category_upsampling_factor": 0.3, "batch_type": "catpow_balance_dataset"}, []),
    ],
)
def test_the_power_that_is_used_is_said(changes, expected):
    assert notes(changes) == expected
