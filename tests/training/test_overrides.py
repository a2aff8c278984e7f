"""Settings as text: keys that come twice, overrides in both forms, ESPnet's keys."""

from __future__ import annotations

import re

import pytest
import yaml
from models.espnet import FIXTURES

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import TrainConfig, parse_config
from lid_toolkit.training.espnet_yaml import FIXED, IGNORED, RENAMED
from lid_toolkit.training.overrides import override, read_settings

NAMES = yaml.safe_load((FIXTURES / "names.yaml").read_text(encoding="utf-8"))


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


def test_a_configuration_starts_from_another(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("seed: 1\nloss_conf: {mp: 0, K: 3}\noptim_conf: {lr: 1}\n")
    (tmp_path / "sub/b.yaml").write_text("base: ../a.yaml\nloss_conf: {mp: 1}\nmax_epoch: 2\n")
    (tmp_path / "c.yaml").write_text("base: sub/b.yaml\nseed: 5\noptim_conf: null\n")
    (tmp_path / "d.yaml").write_text("base: a.yaml\n")
    assert read_settings(tmp_path / "c.yaml") == {
        "seed": 5,
        "loss_conf": {"mp": 1, "K": 3},
        "optim_conf": None,
        "max_epoch": 2,
    }
    assert read_settings(tmp_path / "d.yaml") == read_settings(tmp_path / "a.yaml")


def test_a_base_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    with pytest.raises(LidError, match=r"b\.yaml: does not exist"):
        read_settings(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(LidError, match=r"b\.yaml: base: a\.yaml has this file as its own base"):
        read_settings(tmp_path / "a.yaml")


def test_nested_keys_as_in_espnet():
    words = ["--optim_conf", "lr=1e-4", "--frontend_conf", "frontend_conf.upstream=x", "--optim_conf=eps=1"]
    assert override({"optim_conf": {"weight_decay": 0}}, words) == {
        "optim_conf": {"weight_decay": 0, "lr": "1e-4", "eps": 1},
        "frontend_conf": {"frontend_conf": {"upstream": "x"}},
    }
    assert override({}, ["--optim_conf", "{lr: 1}", "--wandb_name", "a=b"]) == {
        "optim_conf": {"lr": 1},
        "wandb_name": "a=b",
    }


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


def test_a_former_name_is_taken():
    assert parse_config({"language_upsampling_factor": 0.3}, "x").category_upsampling_factor == 0.3
    both = {"language_upsampling_factor": 0.3, "category_upsampling_factor": 0.3}
    with pytest.raises(LidError, match="x: language_upsampling_factor is the former name of category_ups"):
        parse_config(both, "x")


@pytest.mark.parametrize("key", NAMES["keys"])
def test_every_key_of_espnet_is_accepted(key):
    iterator = {"batch_type": {"iterator_type": "category"}, "iterator_type": {"batch_type": "numel"}}
    assert parse_config({key: NAMES["keys"][key], **iterator.get(key, {})}, "x")


def test_two_of_espnets_defaults_are_read_as_lid1_reads_them():
    defaults = {key: NAMES["keys"][key] for key in ("batch_type", "best_model_criterion")}
    config = parse_config({**defaults, "iterator_type": "category"}, "x")
    assert config.batch_type == "catbel"
    assert config.best_model_criterion == (("train", "loss", "min"), ("valid", "loss", "min"))
    with pytest.raises(LidError, match="x: batch_type: "):
        parse_config({"batch_type": "folded"}, "x")
    with pytest.raises(LidError, match="x: best_model_criterion: "):
        parse_config({"best_model_criterion": [["valid", "acc", "max"]]}, "x")
    with pytest.raises(LidError, match="x: best_model_criterion: "):
        parse_config({"best_model_criterion": [["valid", "f1", "max"]]}, "x")


def test_no_key_is_both_known_and_unknown():
    assert not (IGNORED | set(FIXED)) & set(TrainConfig.model_fields)
    assert not IGNORED & set(FIXED)
    assert not (IGNORED | set(FIXED) | set(TrainConfig.model_fields)) & set(RENAMED)
