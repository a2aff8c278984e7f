"""Learning-rate schedules: the rate as a pure function of the update, the epoch and the measures so far.

No schedule keeps a state, so a training that goes on from a checkpoint finds its rate by counting.
Names and arguments are ESPnet's where ESPnet has the schedule.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Standing:
    """Where a training stands.

    Attributes:
        update: number of the coming update, from 0.
        epoch: number of the epoch under way, from 0.
        measures: the measure that ``val_scheduler_criterion`` names, of each finished epoch.
    """

    update: int = 0
    epoch: int = 0
    measures: Sequence[float] = ()


class ScheduleConf(BaseModel):
    """Arguments of a schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TriStageConf(ScheduleConf):
    """``tristagelr`` (Park et al., Interspeech 2019; fairseq's tri-stage)."""

    max_steps: Positive
    """Updates that the three ratios are shares of."""
    warmup_ratio: Rate = 0.1
    """Share in which the rate rises linearly."""
    hold_ratio: Rate = 0.4
    """Share in which it stays."""
    decay_ratio: Rate = 0.5
    """Share in which it falls exponentially; then it stays at its end."""
    init_lr_scale: PositiveFloat = 0.01
    """First rate, as a factor on ``lr``."""
    final_lr_scale: PositiveFloat = 0.01
    """Last rate, as a factor on ``lr``."""


class WarmupConf(ScheduleConf):
    """``warmuplr``: linear rise to ``lr``, then a fall with the root of the update."""

    warmup_steps: Positive = 25000
    """Updates of the rise."""


class WarmupStepConf(WarmupConf):
    """``warmupsteplr``: linear rise to ``lr``, then drops by epochs of a given number of updates."""

    steps_per_epoch: Positive = 10000
    """Updates that count as an epoch."""
    step_size: Positive = 1
    """Such epochs between two drops."""
    gamma: PositiveFloat = 0.1
    """Factor of a drop."""


class PiecewiseConf(ScheduleConf):
    """``piecewiselinearwarmuplr``: a rise through given points, then a fall with the root of the update."""

    warmup_steps_list: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0, 25000)
    """Updates of the points, rising."""
    warmup_lr_list: tuple[Rate, ...] = (0.0, 0.001)
    """Rates at the points, as many; after the last the rate is of ``lr``."""

    @model_validator(mode="after")
    def _check_points(self) -> PiecewiseConf:
        if len(self.warmup_lr_list) != len(self.warmup_steps_list):
            raise ValueError("warmup_lr_list and warmup_steps_list have different lengths")
        if any(now >= then for now, then in itertools.pairwise(self.warmup_steps_list)):
            raise ValueError("warmup_steps_list does not rise")
        return self


class NoamConf(WarmupConf):
    """``noamlr`` (Vaswani et al., 2017, equation 3), times ``lr``."""

    model_size: PositiveFloat = 320
    """Dimension of the model in that equation."""


class CosineConf(ScheduleConf):
    """``cosine``: linear rise, then half a cosine down (Loshchilov and Hutter, 2017), by updates."""

    max_steps: Positive
    """Updates until the end of the fall; then the rate stays."""
    warmup_steps: NotNegative = 0
    """Updates of the rise."""
    final_lr_scale: Share = 0.0
    """Last rate, as a factor on ``lr``."""


class ExponentialDecayConf(ScheduleConf):
    """``exponentialdecaylr``, ``exponentialdecaywarmup``: rise or hold, exponential fall."""

    total_steps: Positive
    """Updates until the end of the fall; then the rate stays."""
    min_lr: PositiveFloat
    """Last rate."""
    max_lr: PositiveFloat | None = None
    """First rate; null for ``lr``."""
    warmup_steps: NotNegative = 0
    """Updates before the fall."""
    warm_from_zero: bool = False
    """Rise linearly in them instead of holding the first rate."""


class CosineAnnealingConf(ScheduleConf):
    """``cosineannealinglr``: torch's, by epochs."""

    T_max: Positive
    """Epochs of half a cosine."""
    eta_min: Rate = 0.0
    """Lowest rate."""


class WarmRestartsConf(ScheduleConf):
    """``cosineannealingwarmrestarts``: torch's, by updates."""

    T_0: Positive
    """Updates of the first fall."""
    T_mult: Positive = 1
    """Factor from one fall's length to the next."""
    eta_min: Rate = 0.0
    """Lowest rate."""


class WarmupRestartsConf(ScheduleConf):
    """``cosineannealingwarmuprestarts``: cycles of a linear rise and half a cosine down, by updates."""

    first_cycle_steps: Positive
    """Updates of the first cycle."""
    cycle_mult: PositiveFloat = 1.0
    """Factor from one fall's length to the next."""
    max_lr: PositiveFloat = 0.1
    """Rate at the top of the first cycle; ``lr`` is not used."""
    min_lr: PositiveFloat = 0.001
    """Rate at the bottom."""
    warmup_steps: NotNegative = 0
    """Updates of each rise, fewer than the first cycle's."""
    gamma: PositiveFloat = 1.0
    """Factor from one top to the next."""

    @model_validator(mode="after")
    def _check_rise(self) -> WarmupRestartsConf:
        if self.warmup_steps >= self.first_cycle_steps:
            raise ValueError("warmup_steps is not below first_cycle_steps")
        return self


class ExponentialConf(ScheduleConf):
    """``exponentiallr``: torch's, by epochs."""

    gamma: PositiveFloat
    """Factor from one epoch to the next."""


class StepConf(ScheduleConf):
    """``steplr``: torch's, by epochs."""

    step_size: Positive
    """Epochs between two drops."""
    gamma: PositiveFloat = 0.1
    """Factor of a drop."""


class MultiStepConf(ScheduleConf):
    """``multisteplr``: torch's, by epochs."""

    milestones: tuple[NotNegative, ...]
    """Epochs of the drops."""
    gamma: PositiveFloat = 0.1
    """Factor of a drop."""


class PlateauConf(ScheduleConf):
    """``reducelronplateau``: torch's, by the measure that ``val_scheduler_criterion`` names."""

    mode: Literal["min", "max"] = "min"
    """Whether lower or higher is better."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of a drop."""
    patience: NotNegative = 10
    """Epochs without a better one that are borne."""
    threshold: Rate = 1e-4
    """Least difference that counts as better."""
    threshold_mode: Literal["rel", "abs"] = "rel"
    """Whether that is a share of the best or a difference from it."""
    cooldown: NotNegative = 0
    """Epochs after a drop in which none counts as bad."""
    min_lr: Rate = 0.0
    """Lowest rate."""
    eps: Rate = 1e-8
    """Smaller drops are left out."""


def tri_stage(conf: TriStageConf, lr: float, standing: Standing) -> float:
    """Return the tri-stage rate: linear rise, hold, exponential fall, then constant.

    ESPnet 202511 is one step ahead: its first update already has the rate of update 1.
    """
    warmup, hold, decay = (
        int(conf.max_steps * ratio) for ratio in (conf.warmup_ratio, conf.hold_ratio, conf.decay_ratio)
    )
    if standing.update < warmup:
        return lr * (conf.init_lr_scale + (1.0 - conf.init_lr_scale) * standing.update / warmup)
    if standing.update < warmup + hold:
        return lr
    past = min(standing.update - warmup - hold, decay)
    return lr * (math.exp(math.log(conf.final_lr_scale) * past / decay) if decay else conf.final_lr_scale)


def warmup(conf: WarmupConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``warmuplr``: ``lr`` at the end of the rise."""
    step = standing.update + 1
    return (
        lr * math.sqrt(conf.warmup_steps) * min(1 / math.sqrt(step), step / math.pow(conf.warmup_steps, 1.5))
    )


def warmup_steps(conf: WarmupStepConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``warmupsteplr``; epochs of the rise do not count, ``lr`` is the highest."""
    step = standing.update + 1
    if step <= conf.warmup_steps:
        return lr * step / conf.warmup_steps
    epochs = step // conf.steps_per_epoch - conf.warmup_steps // conf.steps_per_epoch
    return lr * math.pow(conf.gamma, epochs // conf.step_size)


def piecewise(conf: PiecewiseConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``piecewiselinearwarmuplr``."""
    step, last = standing.update + 1, conf.warmup_steps_list[-1]
    if step > last:
        return lr * math.sqrt(last / step)
    return float(np.interp(step, conf.warmup_steps_list, conf.warmup_lr_list))


def noam(conf: NoamConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``noamlr``."""
    step = standing.update + 1
    return lr / math.sqrt(conf.model_size) * min(1 / math.sqrt(step), step / math.pow(conf.warmup_steps, 1.5))


def cosine(conf: CosineConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``cosine``; the first update of a rise has ``lr / warmup_steps``."""
    if standing.update < conf.warmup_steps:
        return lr * (standing.update + 1) / conf.warmup_steps
    length = max(conf.max_steps - conf.warmup_steps, 1)
    return _half_cosine(
        lr, lr * conf.final_lr_scale, min((standing.update - conf.warmup_steps) / length, 1.0)
    )


def exponential_decay(conf: ExponentialDecayConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``exponentialdecaylr``."""
    first = conf.max_lr or lr
    if standing.update < conf.warmup_steps:
        return first * (standing.update + 1) / conf.warmup_steps if conf.warm_from_zero else first
    length = max(conf.total_steps - conf.warmup_steps, 1)
    past = min((standing.update - conf.warmup_steps) / length, 1.0)
    return first * math.pow(conf.min_lr / first, past)


def cosine_annealing(conf: CosineAnnealingConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``cosineannealinglr``: it rises again after ``T_max`` epochs."""
    return _half_cosine(lr, conf.eta_min, standing.epoch / conf.T_max)


def warm_restarts(conf: WarmRestartsConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``cosineannealingwarmrestarts``."""
    into, length = standing.update, conf.T_0
    while into >= length:
        into, length = into - length, length * conf.T_mult
        if conf.T_mult == 1:
            into %= length
    return _half_cosine(lr, conf.eta_min, into / length)


def warmup_restarts(conf: WarmupRestartsConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``cosineannealingwarmuprestarts``."""
    del lr
    into, length, top = standing.update, conf.first_cycle_steps, conf.max_lr
    while into >= length:
        into, top = into - length, top * conf.gamma
        length = max(int((length - conf.warmup_steps) * conf.cycle_mult), 1) + conf.warmup_steps
    if into < conf.warmup_steps:
        return conf.min_lr + (top - conf.min_lr) * into / conf.warmup_steps
    return _half_cosine(top, conf.min_lr, (into - conf.warmup_steps) / (length - conf.warmup_steps))


def exponential(conf: ExponentialConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``exponentiallr``."""
    return lr * math.pow(conf.gamma, standing.epoch)


def steps(conf: StepConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``steplr``."""
    return lr * math.pow(conf.gamma, standing.epoch // conf.step_size)


def multi_steps(conf: MultiStepConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``multisteplr``."""
    return lr * conf.gamma ** sum(standing.epoch >= milestone for milestone in conf.milestones)


def plateau(conf: PlateauConf, lr: float, standing: Standing) -> float:
    """Return the rate that torch's ReduceLROnPlateau has after the measures so far."""
    import torch  # takes seconds; reading a configuration, which each stage does, needs none of it

    stand_in = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(stand_in, **conf.model_dump())
    for measure in standing.measures:
        scheduler.step(measure)
    return float(stand_in.param_groups[0]["lr"])


def _half_cosine(high: float, low: float, share: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: Mapping[str, tuple[type[ScheduleConf], Callable[[Any, float, Standing], float]]] = {
    "tristagelr": (TriStageConf, tri_stage),
    "warmuplr": (WarmupConf, warmup),
    "warmupsteplr": (WarmupStepConf, warmup_steps),
    "piecewiselinearwarmuplr": (PiecewiseConf, piecewise),
    "noamlr": (NoamConf, noam),
    "cosine": (CosineConf, cosine),
    "exponentialdecaylr": (ExponentialDecayConf, exponential_decay),
    "exponentialdecaywarmup": (ExponentialDecayConf, exponential_decay),
    "cosineannealinglr": (CosineAnnealingConf, cosine_annealing),
    "cosineannealingwarmrestarts": (WarmRestartsConf, warm_restarts),
    "cosineannealingwarmuprestarts": (WarmupRestartsConf, warmup_restarts),
    "exponentiallr": (ExponentialConf, exponential),
    "steplr": (StepConf, steps),
    "multisteplr": (MultiStepConf, multi_steps),
    "reducelronplateau": (PlateauConf, plateau),
}
"""For each name its arguments and ``(arguments, lr, standing) -> rate``."""


def learning_rate(name: str | None, conf: Mapping[str, Any], lr: float, standing: Standing) -> float:
    """Return the rate for the coming update of parameters whose configured rate is ``lr``; 0 stays 0."""
    if name is None or lr == 0:
        return lr
    model, schedule = SCHEDULES[name]
    return schedule(model.model_validate(conf), lr, standing)
