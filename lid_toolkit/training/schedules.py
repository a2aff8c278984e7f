"""Learning-rate schedules: the rate as a pure function of the update, the epoch and the measures so far.

No schedule keeps a state, so a training that continues from a checkpoint finds its rate by counting updates.
Names and arguments are ESPnet's where ESPnet has the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)


@dataclass(frozen=True)
class Standing:
    """What a rate depends on.

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

    max_steps: PositiveInt
    """Number of updates that the three ratios refer to."""
    warmup_ratio: NonNegativeFloat = 0.1
    """Part of `max_steps` in which the rate rises linearly."""
    hold_ratio: NonNegativeFloat = 0.4
    """Part in which the rate is constant."""
    decay_ratio: NonNegativeFloat = 0.5
    """Part in which the rate falls exponentially; after it the rate is constant."""
    init_lr_scale: PositiveFloat = 0.01
    """First rate, as a factor on ``lr``."""
    final_lr_scale: PositiveFloat = 0.01
    """Last rate, as a factor on ``lr``."""


class WarmupConf(ScheduleConf):
    """``warmuplr``: linear rise to ``lr``, then decay with the inverse square root of the update."""

    warmup_steps: PositiveInt = 25000
    """Number of warm-up updates."""


class WarmupStepConf(WarmupConf):
    """``warmupsteplr``: linear rise to ``lr``, then a reduction after every ``step_size`` epochs."""

    steps_per_epoch: PositiveInt = 10000
    """Number of updates that count as one epoch."""
    step_size: PositiveInt = 1
    """Number of these epochs between two reductions."""
    gamma: PositiveFloat = 0.1
    """Factor by which the rate is multiplied."""


class CosineConf(ScheduleConf):
    """``cosine``: linear rise, then half a cosine down (Loshchilov and Hutter, 2017), by updates."""

    max_steps: PositiveInt
    """Number of updates, warm-up included; after them the rate is constant."""
    warmup_steps: NonNegativeInt = 0
    """Number of warm-up updates."""
    final_lr_scale: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last rate, as a factor on ``lr``."""


class ExponentialDecayConf(ScheduleConf):
    """``exponentialdecaylr``, ``exponentialdecaywarmup``: warm-up, then exponential decay."""

    total_steps: PositiveInt
    """Number of updates, warm-up included; after them the rate is constant."""
    min_lr: PositiveFloat
    """Last rate."""
    max_lr: PositiveFloat | None = None
    """First rate; null for `lr`."""
    warmup_steps: NonNegativeInt = 0
    """Number of updates before the decay."""
    warm_from_zero: bool = False
    """Let the rate rise linearly from zero before the decay, instead of keeping it constant."""


class CosineAnnealingConf(ScheduleConf):
    """``cosineannealinglr``: torch's, by epochs."""

    T_max: PositiveInt
    """Number of epochs of half a cosine."""
    eta_min: NonNegativeFloat = 0.0
    """Lowest rate."""


class WarmupRestartsConf(ScheduleConf):
    """``cosineannealingwarmuprestarts``: cycles of a linear rise and half a cosine down, by updates."""

    first_cycle_steps: PositiveInt
    """Number of updates in the first cycle."""
    cycle_mult: PositiveFloat = 1.0
    """Ratio of the lengths of successive decays."""
    max_lr: PositiveFloat = 0.1
    """Highest rate in the first cycle; `lr` is not used."""
    min_lr: PositiveFloat = 0.001
    """Lowest rate."""
    warmup_steps: NonNegativeInt = 0
    """Number of warm-up updates in each cycle; must be less than `first_cycle_steps`."""
    gamma: PositiveFloat = 1.0
    """Ratio of the highest rates of successive cycles."""

    @model_validator(mode="after")
    def _check_rise(self) -> WarmupRestartsConf:
        if self.warmup_steps >= self.first_cycle_steps:
            raise ValueError("warmup_steps must be less than first_cycle_steps")
        return self


class StepConf(ScheduleConf):
    """``steplr``: torch's, by epochs."""

    step_size: PositiveInt
    """Number of epochs between two reductions."""
    gamma: PositiveFloat = 0.1
    """Factor by which the rate is multiplied."""


class PlateauConf(ScheduleConf):
    """``reducelronplateau``: torch's, by the measure that ``val_scheduler_criterion`` names."""

    mode: Literal["min", "max"] = "min"
    """Whether lower (`min`) or higher (`max`) is better."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor by which the rate is multiplied."""
    patience: NonNegativeInt = 10
    """Epochs without improvement before the rate is reduced."""
    threshold: NonNegativeFloat = 1e-4
    """Smallest difference that counts as an improvement."""
    threshold_mode: Literal["rel", "abs"] = "rel"
    """Whether `threshold` is relative to the best value or absolute."""
    cooldown: NonNegativeInt = 0
    """Epochs after a reduction that are not counted towards `patience`."""
    min_lr: NonNegativeFloat = 0.0
    """Lowest rate."""
    eps: NonNegativeFloat = 1e-8
    """Reductions smaller than this are not made."""


def tri_stage(conf: TriStageConf, lr: float, standing: Standing) -> float:
    """Return the tri-stage rate: linear rise, constant, exponential decay, then constant.

    ESPnet 202511 is one update ahead: its first update already has the rate of our second.
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
    """Return the rate of ``warmuplr``, which is ``lr`` at the end of the warm-up."""
    step = standing.update + 1
    return (
        lr * math.sqrt(conf.warmup_steps) * min(1 / math.sqrt(step), step / math.pow(conf.warmup_steps, 1.5))
    )


def warmup_steps(conf: WarmupStepConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``warmupsteplr``: at most ``lr``; epochs of the warm-up are not counted."""
    step = standing.update + 1
    if step <= conf.warmup_steps:
        return lr * step / conf.warmup_steps
    epochs = step // conf.steps_per_epoch - conf.warmup_steps // conf.steps_per_epoch
    return lr * math.pow(conf.gamma, epochs // conf.step_size)


def cosine(conf: CosineConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``cosine``; the first warm-up update has ``lr / warmup_steps``."""
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


def steps(conf: StepConf, lr: float, standing: Standing) -> float:
    """Return the rate of ``steplr``."""
    return lr * math.pow(conf.gamma, standing.epoch // conf.step_size)


def plateau(conf: PlateauConf, lr: float, standing: Standing) -> float:
    """Return the rate that torch's ReduceLROnPlateau has after the measures so far."""
    import torch  # takes seconds to import; reading a configuration does not need it

    stand_in = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(stand_in, **conf.model_dump())
    for measure in standing.measures:
        scheduler.step(measure)
    return float(stand_in.param_groups[0]["lr"])


def _half_cosine(high: float, low: float, progress: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: Mapping[str, tuple[type[ScheduleConf], Callable[..., float]]] = {
    "tristagelr": (TriStageConf, tri_stage),
    "warmuplr": (WarmupConf, warmup),
    "warmupsteplr": (WarmupStepConf, warmup_steps),
    "cosine": (CosineConf, cosine),
    "exponentialdecaylr": (ExponentialDecayConf, exponential_decay),
    "exponentialdecaywarmup": (ExponentialDecayConf, exponential_decay),
    "cosineannealinglr": (CosineAnnealingConf, cosine_annealing),
    "cosineannealingwarmuprestarts": (WarmupRestartsConf, warmup_restarts),
    "steplr": (StepConf, steps),
    "reducelronplateau": (PlateauConf, plateau),
}
"""For each name: its arguments, and the function ``(arguments, lr, standing) -> rate``."""


def learning_rate(name: str | None, conf: Mapping[str, object], lr: float, standing: Standing) -> float:
    """Return the rate for the coming update of parameters whose configured rate is ``lr`` (0 stays 0)."""
    if name is None or lr == 0:
        return lr
    model, schedule = SCHEDULES[name]
    return schedule(model.model_validate(conf), lr, standing)
