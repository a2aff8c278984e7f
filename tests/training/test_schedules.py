"""Rates beside ESPnet's stored curve, torch's schedulers, and values worked out by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
from models.espnet import FIXTURES
from pydantic import ValidationError

from lid_toolkit.training.schedules import (
    SCHEDULES,
    Standing,
    TriStageConf,
    WarmupRestartsConf,
    learning_rate,
    tri_stage,
)


def rates(name, conf, standings, lr=1.0):
    return [learning_rate(name, conf, lr, standing) for standing in standings]


def by_updates(*updates):
    return [Standing(update) for update in updates]


def by_epochs(*epochs):
    return [Standing(epoch=epoch) for epoch in epochs]


def test_the_tri_stage_curve_is_espnets_one_step_later():
    stored = json.loads((FIXTURES / "tristage_lr.json").read_text())
    conf = TriStageConf(**stored["scheduler_conf"])
    for calls, rate in stored["curve"]:
        assert tri_stage(conf, stored["base_lr"], Standing(calls + 1)) == pytest.approx(rate, rel=1e-6)


def test_the_tri_stage_curve_by_hand():
    conf = {"max_steps": 100, "init_lr_scale": 0.01, "final_lr_scale": 0.04}
    curve = rates("tristagelr", conf, by_updates(0, 5, 10, 49, 50, 75, 100, 1000))
    assert curve == pytest.approx([0.01, 0.505, 1.0, 1.0, 1.0, 0.2, 0.04, 0.04])
    no_stage = {"max_steps": 10, "warmup_ratio": 0, "hold_ratio": 0, "decay_ratio": 0, "final_lr_scale": 0.5}
    assert rates("tristagelr", no_stage, by_updates(0)) == [0.5]


def test_no_schedule_keeps_the_rate():
    assert rates(None, {}, by_updates(0, 12345), lr=0.3) == [0.3, 0.3]


def test_warm_up_peaks_at_lr():
    curve = rates("warmuplr", {"warmup_steps": 100}, by_updates(0, 49, 99, 399), lr=2.0)
    assert curve == pytest.approx([0.02, 1.0, 2.0, 1.0])


def test_cosine_by_hand():
    conf = {"max_steps": 110, "warmup_steps": 10, "final_lr_scale": 0.2}
    curve = rates("cosine", conf, by_updates(0, 9, 10, 35, 60, 110, 999))
    assert curve == pytest.approx([0.1, 1.0, 1.0, 0.6 + 0.4 * math.cos(math.pi / 4), 0.6, 0.2, 0.2])


@pytest.mark.parametrize("name", ["exponentialdecaylr", "cosineannealinglr"])
def test_a_part_at_rate_0_stays_there(name):
    conf = {
        "exponentialdecaylr": {"total_steps": 9, "min_lr": 0.1},
        "cosineannealinglr": {"T_max": 9, "eta_min": 0.1},
    }
    assert rates(name, conf[name], by_updates(0, 5), lr=0.0) == [0.0, 0.0]


def test_exponential_decay_by_hand():
    conf = {"total_steps": 120, "warmup_steps": 20, "min_lr": 0.01, "max_lr": 1.0}
    assert rates("exponentialdecaylr", conf, by_updates(0, 20, 70, 120, 500), lr=7.0) == pytest.approx(
        [1.0, 1.0, 0.1, 0.01, 0.01]
    )
    assert rates("exponentialdecaylr", {**conf, "warm_from_zero": True}, by_updates(0, 9)) == pytest.approx(
        [0.05, 0.5]
    )


def test_the_rise_and_drops_of_warmupsteplr_by_hand():
    conf = {"warmup_steps": 20, "steps_per_epoch": 10, "step_size": 2, "gamma": 0.5}
    curve = rates("warmupsteplr", conf, by_updates(0, 9, 19, 20, 38, 39, 58, 59), lr=2.0)
    assert curve == pytest.approx([0.1, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.5])


def test_cosine_cycles_with_a_rise_by_hand():
    conf = {"first_cycle_steps": 12, "warmup_steps": 2, "cycle_mult": 2.0, "max_lr": 1.0, "min_lr": 0.2}
    curve = rates("cosineannealingwarmuprestarts", {**conf, "gamma": 0.5}, by_updates(0, 1, 2, 7, 12, 14, 24))
    assert curve == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2, 0.5, 0.35])
    with pytest.raises(ValidationError, match="must be less than first_cycle_steps"):
        WarmupRestartsConf(first_cycle_steps=3, warmup_steps=3)


TORCH = {
    "cosineannealinglr": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}, by_epochs),
    "steplr": ("StepLR", {"step_size": 4}, by_epochs),
}


@pytest.mark.parametrize("name", TORCH)
def test_torchs_schedules_are_torchs(name):
    theirs, conf, standings = TORCH[name]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler = getattr(torch.optim.lr_scheduler, theirs)(optimizer, **conf)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(name, conf, standings(*range(20)), lr=0.3) == pytest.approx(expected)


def test_a_plateau_lowers_the_rate():
    conf = {"patience": 1, "factor": 0.5}
    measures = [3.0, 2.0, 2.1, 2.2, 1.0]
    curve = rates("reducelronplateau", conf, [Standing(measures=measures[:n]) for n in range(6)])
    assert curve == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_every_schedule_has_positive_rates_over_a_long_training():
    confs = {
        "tristagelr": {"max_steps": 50},
        "cosine": {"max_steps": 50, "final_lr_scale": 0.1},
        "exponentialdecaylr": {"total_steps": 50, "min_lr": 1e-3},
        "exponentialdecaywarmup": {"total_steps": 50, "min_lr": 1e-3},
        "cosineannealingwarmuprestarts": {"first_cycle_steps": 9},
        **{
            name: {**conf, "eta_min": 0.1} if "cosine" in name else conf
            for name, (_, conf, _) in TORCH.items()
        },
    }
    for name in SCHEDULES:
        standings = [Standing(step, step // 10, [1.0] * (step // 10)) for step in range(0, 200, 7)]
        assert all(rate > 0 for rate in rates(name, confs.get(name, {}), standings)), name
