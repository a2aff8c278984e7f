"""Optimizers by name, groups of parameters, frozen parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.optimization import configured_optimizer, make_optimizer


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
