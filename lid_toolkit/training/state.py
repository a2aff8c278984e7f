"""What a training is made of: what stays, what learns, how far it has come, and its checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from lid_toolkit.data.loader import Minibatch, MinibatchReader, iterate
from lid_toolkit.data.samplers import Batch, Place, Sampler
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel, LidOutput
from lid_toolkit.training.checkpoint import load, save
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.distributed import (
    World,
    full_model_state,
    full_optimizer_state,
    is_sharded,
    load_optimizer_state,
)
from lid_toolkit.training.precision import Precision

LONGEST_DIFFERENCE = 60


@dataclass
class State:
    """How far a training has come; with what learns, all that a checkpoint must hold.

    Attributes:
        place: the epoch under way and how many of its batches are done.
        updates: optimizer steps since the start.
        bad_updates: steps skipped because the loss or the gradient was not finite.
        failed: recordings that could not be read.
        sums: of the epoch so far, over all processes: utterances, loss, correct, audio_s; of this one
            alone: seconds, waited.
        history: measures of the finished epochs.
    """

    place: Place = field(default_factory=Place)
    updates: int = 0
    bad_updates: int = 0
    failed: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **amounts: float) -> None:
        """Add to the epoch's sums."""
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + amount


@dataclass(frozen=True)
class Learner:
    """What updates change.

    Attributes:
        model: the identifier.
        wrapped: the same, summing gradients over the processes.
        forward: ``wrapped``, compiled if it is to be.
        optimizer: of its trained parameters.
        scaler: of the loss.
        average: the moving average of the model, if one is kept.
    """

    model: LidModel
    wrapped: nn.Module
    forward: Callable[..., LidOutput]
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    average: AveragedModel | None = None

    @property
    def judged(self) -> LidModel:
        """The model that is validated and kept."""
        return self.model if self.average is None else cast(LidModel, self.average.module)


@dataclass(frozen=True)
class Training:
    """What stays the same during a training.

    Attributes:
        config: the configuration.
        train: training utterances.
        valid: utterances that pick the best epoch.
        picked_by: what those are, in words.
        languages: labels in index order.
        sampler: draws the training batches.
        world: the processes.
        precision: number format of the forward pass.
        identity: what a checkpoint must match to be continued.
        checkpoint: file to go on from.
        checkpoint_interval_s: longest time between two checkpoints in seconds.
    """

    config: TrainConfig
    train: Utterances
    valid: Utterances
    picked_by: str
    languages: tuple[str, ...]
    sampler: Sampler
    world: World
    precision: Precision
    identity: dict[str, Any]
    checkpoint: Path
    checkpoint_interval_s: float

    def minibatches(self, utterances: Utterances, batches: Sequence[Batch]) -> Iterator[Minibatch]:
        """Yield some batches of a set, read and augmented."""
        conf = self.config.preprocessor_conf
        reader = MinibatchReader(utterances, batches, conf, conf.sample_rate)
        pin = self.world.device.type == "cuda"
        return iterate(reader, 0, self.config.num_workers, pin, self.config.max_failed)


def save_checkpoint(training: Training, learner: Learner, state: State) -> None:
    """Write all that going on needs; the previous checkpoint stays until this one is whole.

    Every process must call it, and returns when the file is there. Random numbers need no state: each
    batch has its own seed.
    """
    content = {
        "identity": training.identity,
        "sharded": is_sharded(learner.model),
        "model": full_model_state(learner.model),
        "optimizer": full_optimizer_state(learner.model, learner.optimizer),
        "scaler": learner.scaler.state_dict(),
        "average": None if learner.average is None else learner.average.state_dict(),
        "sampler": state.place.state_dict(),
        "state": {name: value for name, value in vars(state).items() if name != "place"},
    }
    if training.world.main:
        save(training.checkpoint, content)
    training.world.wait()


def read_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of this training.

    Raises:
        LidError: damaged, of another toolkit, or of other settings or data: it says which differ.
    """
    content = load(path)
    if not {"identity", "model", "optimizer", "scaler", "sampler", "state"} <= content.keys():
        raise LidError("not a checkpoint of this toolkit", where=path, mend="choose another --lid_tag")
    differing = [
        _difference(name, content["identity"].get(name), identity.get(name))
        for name in sorted(content["identity"].keys() | identity.keys())
        if content["identity"].get(name) != identity.get(name)
    ]
    if differing:
        raise LidError(
            f"the checkpoint comes from other settings or data: {', '.join(differing)}",
            where=path,
            mend="choose another --lid_tag, or remove the directory to train anew",
        )
    return content


def _difference(name: str, before: Any, now: Any) -> str:
    """Name what differs, with the values where they tell something in a few words."""
    if name == "languages":
        added, lacking = sorted(set(now) - set(before)), sorted(set(before) - set(now))
        return " ".join([name, *(f"+{label}" for label in added), *(f"-{label}" for label in lacking)])
    values = f"{before} -> {now}"
    return f"{name} ({values})" if len(values) <= LONGEST_DIFFERENCE else name


def restore(content: dict[str, Any], learner: Learner) -> State:
    """Bring a learner to where a checkpoint was written, but for the weights; return how far that was.

    Raises:
        LidError: the checkpoint holds the optimizer in another form.
    """
    if content["sharded"] != is_sharded(learner.model):
        raise LidError(
            "one of several processes with sharded_ddp cannot go on as one alone, nor the reverse",
            where="checkpoint.pth",
            mend="train on as many processes as before",
        )
    load_optimizer_state(learner.model, learner.optimizer, content["optimizer"])
    learner.scaler.load_state_dict(content["scaler"])
    if learner.average is not None:
        learner.average.load_state_dict(content["average"])
    state = State(**content["state"])
    state.place.load_state_dict(content["sampler"])
    logging.info("going on from epoch %d, batch %d", state.place.epoch, state.place.batches)
    return state
