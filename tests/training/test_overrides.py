"""Settings as text: keys that come twice, overrides in both forms, ESPnet's keys."""

from __future__ import annotations

import re

import pytest
import yaml
from models.espnet import FIXTURES

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import TrainConfig, parse_config
from lid_toolkit.training.espnet_yaml import FIXED, IGNORED
from lid_toolkit.training.overrides import override, read_settings


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("seed: 1\nmax_epoch: 2\nseed: 3\n", "line 3: duplicate key 'seed', first in line 1"),
        ("optim_conf:\n  lr: 1\n  lr: 2\n", "line 3: duplicate key 'lr', first in line 2"),
        ("optim_conf: {lr: 1, lr: 2}\n", "duplicate key 'lr'"),
    ],
)
def test_a_key_that_comes_twice_is_refused(tmp_path, text, where):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(LidError, match=where):
        read_settings(tmp_path / "a.yaml")


def test_merged_and_nested_keys_are_not_twice(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n")
    assert read_settings(tmp_path / "a.yaml") == {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}


def test_both_forms_of_overrides():
    words = ["--optim_conf.lr=1e-4", "--max_epoch", "3", "--wandb_name=a=b", "--scheduler="]
    assert override({"optim_conf": {"weight_decay": 0}}, words) == {
        "optim_conf": {"weight_decay": 0, "lr": "1e-4"},
        "max_epoch": 3,
        "wandb_name": "a=b",
        "scheduler": None,
    }


def test_espnets_whole_configuration_is_taken_or_refused_by_name(caplog):
    """Every key that ESPnet's trainer writes into an experiment's config.yaml."""
    raw = yaml.safe_load((FIXTURES / "config_aamsoftmax_sc_topk.yaml").read_text())
    with caplog.at_level("INFO"):
        config = parse_config(raw, "config.yaml")
    assert (config.grad_clip, config.patience, config.averaged) == (5.0, None, (1,))
    assert config.best_model_criterion == (("valid", "accuracy", "max"),)
    assert config.val_scheduler_criterion == ("valid", "loss")
    assert config.early_stopping_criterion == ("valid", "loss", "min")
    line = next(record.getMessage() for record in caplog.records if "ignored" in record.getMessage())
    assert re.fullmatch(
        r"config.yaml: keys of ESPnet are ignored: (\d+) \(options and directories \d+, "
        r"distributed training 11, batches and caches \d+, parts that are not used \d+\)",
        line,
    ), line
    whole, *parts = map(int, re.findall(r"\d+", line))
    assert whole == sum(parts) == len(IGNORED & set(raw))


def test_few_keys_that_are_ignored_are_named(caplog):
    with caplog.at_level("INFO"):
        parse_config({"ngpu": 1, "dist_backend": "nccl"}, "x.yaml")
    assert "x.yaml: keys of ESPnet are ignored: dist_backend ngpu" in caplog.text


@pytest.mark.parametrize("key", FIXED)
def test_what_is_not_done_here_is_refused(key):
    values, advice = FIXED[key]
    assert parse_config({key: values[0]}, "x") == TrainConfig()
    with pytest.raises(LidError, match=rf"x: {key}: something is not supported \(") as caught:
        parse_config({key: "something"}, "x")
    assert caught.value.mend == advice


def test_no_key_is_both_known_and_unknown():
    assert not (IGNORED | set(FIXED)) & set(TrainConfig.model_fields)
    assert not IGNORED & set(FIXED)
