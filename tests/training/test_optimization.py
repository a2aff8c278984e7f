"""Optimizers by name, and the tri-stage curve beside ESPnet's."""

from __future__ import annotations

import json

import pytest
import torch
from models.espnet import FIXTURES
from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import TriStageConf, parse_config
from lid_toolkit.training.optimization import learning_rate_scale, make_optimizer, tri_stage


def test_the_curve_is_espnets_one_step_later():
    stored = json.loads((FIXTURES / "tristage_lr.json").read_text())
    conf = TriStageConf(
        max_steps=30000,
        warmup_ratio=0.3,
        hold_ratio=0.2,
        decay_ratio=0.5,
        init_lr_scale=0.6,
        final_lr_scale=0.1,
    )
    for calls, rate in stored["curve"]:
        assert 5e-6 * tri_stage(conf, calls + 1) == pytest.approx(rate, rel=1e-6)


def test_the_curve_by_hand():
    conf = TriStageConf(
        max_steps=100,
        warmup_ratio=0.1,
        hold_ratio=0.4,
        decay_ratio=0.5,
        init_lr_scale=0.01,
        final_lr_scale=0.04,
    )
    factors = [tri_stage(conf, update) for update in (0, 5, 10, 49, 50, 75, 100, 1000)]
    assert factors == pytest.approx([0.01, 0.505, 1.0, 1.0, 1.0, 0.2, 0.04, 0.04])


def test_stages_of_no_length():
    conf = TriStageConf(max_steps=10, warmup_ratio=0, hold_ratio=0, decay_ratio=0, final_lr_scale=0.5)
    assert tri_stage(conf, 0) == 0.5


def test_no_schedule_keeps_the_rate():
    assert learning_rate_scale(parse_config({}, "x"), 12345) == 1.0


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimizers_by_name(name, kind):
    optimizer = make_optimizer(nn.Linear(2, 2).parameters(), name, {"lr": 0.1})
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("adan", {}, "unknown optimizer 'adan'"),
        ("optimizer", {}, "unknown optimizer"),
        ("lbfgs", {}, "unknown optimizer"),
        ("adam", {"lrr": 1}, "unknown 'lrr'"),
        ("adam", {"lr": -1}, "Invalid learning rate"),
        ("adam", {"lr": "fast"}, "optim_conf: "),
        ("adam", {"params": []}, "unknown 'params'"),
    ],
)
def test_faults_name_the_nearest(name, conf, message):
    with pytest.raises(LidError, match=message):
        make_optimizer(nn.Linear(2, 2).parameters(), name, conf)
