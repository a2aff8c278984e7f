"""The parts of a training: its fixed settings, the model and optimizer, the progress, and the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypedDict, cast

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.readers import Readers
from lid_toolkit.data.samplers import Batch, Position, Sampler
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel, LidOutput
from lid_toolkit.training.background import Background, snapshot
from lid_toolkit.training.checkpoint import load, save
from lid_toolkit.training.config import TrainConfig, default_settings
from lid_toolkit.training.distributed import (
    World,
    full_model_state,
    full_optimizer_state,
    is_sharded,
    load_optimizer_state,
)
from lid_toolkit.training.precision import Precision

LONGEST_DIFFERENCE = 60


class EpochMeasures(TypedDict):
    """Measures of a finished epoch: a line of ``metrics.jsonl``.

    ``seconds`` and ``waited_s`` (time spent waiting for data) are of the main process, ``updates``,
    ``bad_updates`` and ``failed`` are counted since the start of the training.
    """

    epoch: int
    updates: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    valid_macro_accuracy: float
    valid_per_language: dict[str, float]
    lr: float
    audio_s: float
    seconds: float
    waited_s: float
    bad_updates: int
    failed: int


def measure(epoch: EpochMeasures, name: str) -> float:
    """Return a measure by its name, such as ``valid_loss``."""
    return cast(Mapping[str, float], epoch)[name]


@dataclass
class State:
    """The progress of a training. A checkpoint holds this and the :class:`Learner`.

    Attributes:
        position: the current epoch and how many of its batches are done.
        updates: optimizer steps since the start.
        bad_updates: steps skipped because the loss or the gradient was not finite.
        failed: number of recordings that could not be read.
        sums: sums over the current epoch. utterances, loss, correct and audio_s are of all processes;
            seconds and waited of this one.
        history: measures of the finished epochs.
    """

    position: Position = field(default_factory=Position)
    updates: int = 0
    bad_updates: int = 0
    failed: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[EpochMeasures] = field(default_factory=list)

    def add(self, **amounts: float) -> None:
        """Add to the epoch's sums."""
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + amount


@dataclass(frozen=True)
class Learner:
    """What an update changes.

    Attributes:
        model: the language identifier.
        wrapped: the same model, averaging gradients over the processes.
        forward: ``wrapped``, compiled with ``torch_compile``.
        optimizer: the optimizer of the trained parameters.
        scaler: scales the loss for float16.
        average: the moving average of the model, with ``ema_decay``.
    """

    model: LidModel
    wrapped: nn.Module
    forward: Callable[..., LidOutput]
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    average: AveragedModel | None = None

    @property
    def judged(self) -> LidModel:
        """The model that is validated and saved."""
        return self.model if self.average is None else cast(LidModel, self.average.module)


@dataclass(frozen=True)
class Training:
    """What stays the same during a training.

    Attributes:
        config: the configuration.
        train: training utterances.
        valid: utterances that select the best epoch.
        picked_by: description of ``valid`` for messages.
        languages: labels in index order.
        sampler: draws the training batches.
        world: the processes.
        precision: number format of the forward pass.
        identity: settings and digests that a checkpoint must match to be continued.
        checkpoint: the checkpoint file.
        checkpoint_interval_s: longest time between two checkpoints in seconds.
        background: writes checkpoints while the training goes on.
    """

    config: TrainConfig
    train: Utterances
    valid: Utterances
    picked_by: str
    languages: tuple[str, ...]
    sampler: Sampler
    world: World
    precision: Precision
    identity: Mapping[str, object]
    checkpoint: Path
    checkpoint_interval_s: float
    background: Background = field(default_factory=Background)

    @cached_property
    def _readers(self) -> Readers:
        """The workers, which are started with the first batches and serve all epochs."""
        config, gpu = self.config, self.world.device.type == "cuda"
        sets = (self.train, self.valid)
        return Readers(sets, config.preprocessor_conf, config.num_workers, gpu, config.max_failed)

    def minibatches(self, utterances: Utterances, batches: Sequence[Batch]) -> Iterator[Minibatch]:
        """Yield the given batches of ``train`` or ``valid``, read and augmented."""
        return self._readers.read(utterances, batches)


class Progress(TypedDict):
    """What a checkpoint holds of :class:`State`, but for the position."""

    updates: int
    bad_updates: int
    failed: int
    sums: dict[str, float]
    history: list[EpochMeasures]


class Checkpoint(TypedDict):
    """What a checkpoint holds; ``sampler`` is the position, ``average`` the moving average or None."""

    identity: Mapping[str, object]
    sharded: bool
    model: dict[str, Tensor]
    optimizer: dict[str, object]
    scaler: dict[str, object]
    average: dict[str, Tensor] | None
    sampler: dict[str, int]
    state: Progress


def save_checkpoint(training: Training, learner: Learner, state: State, wait: bool = True) -> None:
    """Write a checkpoint. The previous one is replaced only when this one is complete.

    Every process must call it. No state of random generators is saved, because each batch has its own seed.

    Args:
        training: configuration and processes.
        learner: what has been learnt.
        state: the progress.
        wait: return once the file is written. Otherwise, with a GPU, return once everything is copied to the
            CPU's memory, and write the file while the training goes on; an error of this is raised by the
            next call. Without a GPU the write would take the processor from the training.

    Raises:
        LidError: this checkpoint, or the one before, cannot be written.
    """
    content: Checkpoint = {
        "identity": training.identity,
        "sharded": is_sharded(learner.model),
        "model": full_model_state(learner.model),
        "optimizer": full_optimizer_state(learner.model, learner.optimizer),
        "scaler": learner.scaler.state_dict(),
        "average": None if learner.average is None else learner.average.state_dict(),
        "sampler": state.position.state_dict(),
        "state": {
            "updates": state.updates,
            "bad_updates": state.bad_updates,
            "failed": state.failed,
            "sums": state.sums,
            "history": state.history,
        },
    }
    if training.world.main:
        aside = not wait and in_background(training.world)
        training.background.wait()
        if aside:
            training.background.start(partial(save, training.checkpoint, snapshot(content)))
        else:
            save(training.checkpoint, content)
    if wait:
        training.world.wait()


def in_background(world: World) -> bool:
    """Return whether a checkpoint may be written while the training goes on."""
    return world.device.type == "cuda"


def read_checkpoint(path: Path, identity: Mapping[str, object]) -> Checkpoint:
    """Return the checkpoint of this training.

    Raises:
        LidError: the file is damaged, not a checkpoint, or of a training with other settings or data; the
            message names the differences.
    """
    content = load(path)
    if not {"identity", "model", "optimizer", "scaler", "sampler", "state"} <= content.keys():
        raise LidError("not a checkpoint of this toolkit", where=path, mend="choose another output directory")
    checkpoint = cast(Checkpoint, content)
    # A key that did not exist yet had its default.
    former = {name: value for name, value in default_settings().items() if name in identity}
    before = {**former, **checkpoint["identity"]}
    differing = [
        _difference(name, before.get(name), identity.get(name))
        for name in sorted(before.keys() | identity.keys())
        if before.get(name) != identity.get(name)
    ]
    if differing:
        raise LidError(
            f"the checkpoint is from a training with other settings or data: {', '.join(differing)}",
            where=path,
            mend="choose another output directory, or remove this one to train from the start",
        )
    return checkpoint


def _difference(name: str, before: object, now: object) -> str:
    """Describe a difference between two identities, with the values if they are short."""
    if name == "languages" and isinstance(before, list) and isinstance(now, list):
        added, removed = sorted(set(now) - set(before)), sorted(set(before) - set(now))
        return " ".join([name, *(f"+{label}" for label in added), *(f"-{label}" for label in removed)])
    values = f"{before} -> {now}"
    return f"{name} ({values})" if len(values) <= LONGEST_DIFFERENCE else name


def restore(content: Checkpoint, learner: Learner) -> State:
    """Restore everything but the model's weights from a checkpoint, and return the progress.

    Raises:
        LidError: the checkpoint is of a sharded training and this one is not, or the reverse.
    """
    if content["sharded"] != is_sharded(learner.model):
        raise LidError(
            "a training with sharded_ddp in several processes cannot continue in one, nor the reverse",
            where="checkpoint.pth",
            mend="use as many processes as before",
        )
    load_optimizer_state(learner.model, learner.optimizer, content["optimizer"])
    learner.scaler.load_state_dict(content["scaler"])
    if learner.average is not None and content["average"] is not None:
        learner.average.load_state_dict(content["average"])
    state = State(**content["state"])
    state.position.load_state_dict(content["sampler"])
    logging.info("continuing from epoch %d, batch %d", state.position.epoch, state.position.batches)
    return state
