"""Optimizers by name, and learning rate as a function of the update."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.training.config import TrainConfig, TriStageConf

WITHOUT_STEPS = ("Optimizer", "LBFGS")  # the base class, and what evaluates the model several times a step


def make_optimizer(
    parameters: Iterable[nn.Parameter], name: str, conf: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Return the optimizer of ``torch.optim`` called ``name`` in lower case.

    Raises:
        LidError: unknown optimizer or argument, naming the nearest known one.
    """
    known = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and key not in WITHOUT_STEPS
    }
    if name not in known:
        raise LidError(f"unknown optimizer '{name}'", where="optim", mend=nearest(name, known))
    arguments = set(inspect.signature(known[name]).parameters) - {"params"}
    for argument in conf:
        if argument not in arguments:
            raise LidError(f"unknown '{argument}'", where="optim_conf", mend=nearest(argument, arguments))
    try:
        optimizer: torch.optim.Optimizer = known[name](parameters, **conf)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LidError(str(error), where="optim_conf", mend="correct the value") from error
    return optimizer


def learning_rate_scale(config: TrainConfig, update: int) -> float:
    """Return the factor on ``lr`` for the update with this number, counted from 0."""
    if config.scheduler is None:
        return 1.0
    return tri_stage(TriStageConf.model_validate(config.scheduler_conf), update)


def tri_stage(conf: TriStageConf, update: int) -> float:
    """Return the tri-stage factor: linear rise, hold, exponential fall, then constant.

    ESPnet 202511 is one step ahead: its first update already has the rate of update 1.
    """
    warmup, hold, decay = (
        int(conf.max_steps * ratio) for ratio in (conf.warmup_ratio, conf.hold_ratio, conf.decay_ratio)
    )
    if update < warmup:
        return conf.init_lr_scale + (1.0 - conf.init_lr_scale) * update / warmup
    if update < warmup + hold:
        return 1.0
    past = min(update - warmup - hold, decay)
    return math.exp(math.log(conf.final_lr_scale) * past / decay) if decay else conf.final_lr_scale
