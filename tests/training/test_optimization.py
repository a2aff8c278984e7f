"""Optimizers by name, groups of parameters, frozen parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.optimization import (
    configured_optimizer,
    freeze,
    fused_kernels,
    make_optimizer,
    with_own_kernels,
)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimizers_by_name(name, kind):
    optimizer = make_optimizer([{"params": list(nn.Linear(2, 2).parameters())}], name, {"lr": 0.1})
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("adan", {}, "unknown optimizer 'adan'"),
        ("optimizer", {}, "unknown optimizer"),
        ("lbfgs", {}, "unknown optimizer"),
        ("adam", {"lrr": 1}, "unexpected keyword argument 'lrr'"),
        ("adam", {"lr": -1}, "Invalid learning rate"),
        ("adam", {"lr": "fast"}, "optim_conf: "),
        ("adam", {"params": []}, "multiple values for argument 'params'"),
        ("adam", {"betas": [0.9]}, r"optim_conf: \{'betas': \[0.9\]\}: "),
        ("adam", {"betas": [0.9, 0.9, 0.9]}, "optim_conf: "),
        ("sparseadam", {}, "optim_conf: .* does not support dense gradients"),
    ],
)
def test_faults_name_the_nearest(name, conf, message):
    with pytest.raises(LidError, match=message):
        make_optimizer([{"params": list(nn.Linear(2, 2).parameters())}], name, conf)


def test_fused_kernels_only_on_nvidia_gpus_and_where_nothing_else_is_chosen():
    gpu = torch.device("cuda")
    assert fused_kernels("adam", gpu, [{"lr": 0.1}]) == fused_kernels("adamw", gpu, [{}]) == {"fused": True}
    assert fused_kernels("adam", torch.device("cpu"), [{}]) == {}
    assert fused_kernels("sgd", gpu, [{}]) == {}
    assert fused_kernels("adam", gpu, [{}, {"foreach": False}]) == {}


@pytest.mark.parametrize("fused", [True, False])
def test_a_state_of_other_kernels_goes_on_with_its_own(fused):
    """As from a GPU to a CPU and back; PyTorch's fused Adam runs on a CPU too."""

    def step(optimizer, weight, gradient):
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()

    whole, before, after = (nn.Parameter(torch.ones(3)) for _ in range(3))
    reference = torch.optim.Adam([whole], lr=0.1)
    first = torch.optim.Adam([before], lr=0.1, fused=fused)
    for gradient in (1.0, -3.0):
        step(reference, whole, gradient)
        step(first, before, gradient)
    after.data.copy_(before.data)
    second = torch.optim.Adam([after], lr=0.1, fused=not fused)
    second.load_state_dict(with_own_kernels(first.state_dict(), second))
    assert second.param_groups[0]["fused"] is not fused
    step(reference, whole, 2.0)
    step(second, after, 2.0)
    assert torch.allclose(after, whole)


def model():
    return nn.ModuleDict({"front": nn.Linear(2, 3), "front2": nn.Linear(3, 3), "head": nn.Linear(3, 2)})


def arguments_of(optimizer, parameter, name):
    (group,) = (g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    return group[name]


def freeze_and_configure(made, config):
    freeze(made, config.freeze_param)
    return configured_optimizer(made, config)


def test_parts_have_their_own_arguments_and_the_longest_name_wins():
    groups = {"front": {"lr": 0.1}, "front.bias": {"lr": 0.01, "weight_decay": 0.5}}
    config = parse_config({"optim": "adamw", "optim_conf": {"lr": 1.0}, "optim_groups": groups}, "x")
    made = model()
    optimizer = configured_optimizer(made, config)
    assert arguments_of(optimizer, made["front"].weight, "lr") == 0.1
    assert arguments_of(optimizer, made["front"].bias, "weight_decay") == 0.5
    assert arguments_of(optimizer, made["front2"].weight, "lr") == 1.0
    assert arguments_of(optimizer, made["front"].bias, "initial_lr") == 0.01
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


def test_weight_decay_spares_vectors():
    config = parse_config(
        {"optim": "adamw", "optim_conf": {"lr": 1.0, "weight_decay": 0.2}, "exclude_weight_decay": True}, "x"
    )
    made = model()
    optimizer = configured_optimizer(made, config)
    assert arguments_of(optimizer, made["head"].weight, "weight_decay") == 0.2
    assert arguments_of(optimizer, made["head"].bias, "weight_decay") == 0.0


def test_frozen_parts_are_not_trained():
    made = model()
    optimizer = freeze_and_configure(made, parse_config({"freeze_param": ["front", "head.bias"]}, "x"))
    assert [name for name, p in made.named_parameters() if p.requires_grad] == [
        "front2.weight",
        "front2.bias",
        "head.weight",
    ]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"freeze_param": ["fron"]},
            r"freeze_param: no parameter's name starts with 'fron' \(did you mean 'front",
        ),
        ({"freeze_param": ["front", "front2", "head"]}, "every parameter is frozen"),
        ({"optim_groups": {"head.wait": {}}}, r"optim_groups: .* \(did you mean 'head\.weight'"),
        (
            {"optim_groups": {"head": {"rl": 1}}},
            r"optim_groups: .* keyword argument 'rl'",
        ),
        ({"optim_groups": {"head": {"lr": "fast"}}}, r"optim_groups: \{'lr': 'fast'\}: "),
        ({"optim_groups": {"head": {"lr": -1}}}, "optim_groups: .* Invalid learning rate: -1"),
        ({"optim_groups": {"head": {"weight_decay": -0.1}}}, "optim_groups: .* Invalid weight_decay"),
    ],
)
def test_faulty_parts_name_the_nearest(raw, message):
    with pytest.raises(LidError, match=message):
        freeze_and_configure(model(), parse_config(raw, "x"))
