"""The training loop: epochs of updates, validation, best models, and checkpoints to go on from.

Whatever is random is a function of the seed and of the batch's number, so a run that was cut off and
continued ends with the same weights, bit for bit on a CPU, as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lid_toolkit.data.loader import Minibatch, MinibatchReader, iterate
from lid_toolkit.data.samplers import CatpowSampler, sorted_batches
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.checkpoint import save
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.optimization import learning_rate_scale
from lid_toolkit.training.precision import Precision
from lid_toolkit.training.stop import StopRequest
from lid_toolkit.training.validation import Scores, validate


@dataclass
class State:
    """How far a training has come; with the weights, all that a checkpoint must hold.

    Attributes:
        epoch: the epoch under way, from 1.
        batches: its batches that are done.
        updates: optimizer steps since the start.
        bad_updates: steps skipped because the loss or the gradient was not finite.
        sums: of the epoch so far: utterances, loss, correct, audio_s, seconds.
        history: measures of the finished epochs.
    """

    epoch: int = 1
    batches: int = 0
    updates: int = 0
    bad_updates: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Training:
    """What stays the same during a training.

    Attributes:
        config: the configuration.
        train: training utterances.
        valid: utterances that pick the best epoch.
        languages: labels in index order.
        device: where the model computes.
        precision: its number format.
        identity: what a checkpoint must match to be continued.
        checkpoint: file to go on from.
        checkpoint_interval_s: longest time between two checkpoints in seconds.
    """

    config: TrainConfig
    train: Utterances
    valid: Utterances
    languages: tuple[str, ...]
    device: torch.device
    precision: Precision
    identity: dict[str, Any]
    checkpoint: Path
    checkpoint_interval_s: float

    def sampler(self) -> CatpowSampler:
        """Return the law by which training batches are drawn."""
        conf = self.config
        low, high = (seconds * conf.preprocessor_conf.sample_rate for seconds in self._crop_range_s())
        return CatpowSampler(
            self.train.labels_u,
            self.train.lengths_u,
            conf.batch_bins,
            conf.category_upsampling_factor,
            None if math.isinf(high) else (round(low), round(high)),
            conf.max_batch_size,
            conf.num_iters_per_epoch,
            conf.dataset_scaling_factor,
            conf.seed,
        )

    def _crop_range_s(self) -> tuple[float, float]:
        return self.config.preprocessor_conf.crop_range_s()

    def reader(self, utterances: Utterances, batches: list[Any]) -> MinibatchReader:
        """Return the reader of some batches of a set."""
        conf = self.config.preprocessor_conf
        return MinibatchReader(utterances, batches, conf, conf.sample_rate)

    def iterate(self, reader: MinibatchReader, first: int = 0) -> Iterator[Minibatch]:
        """Yield a reader's minibatches from number ``first`` on."""
        pin = self.device.type == "cuda"
        return iterate(reader, first, self.config.num_workers, pin, self.config.max_failed)


def train_epoch(
    training: Training, model: LidModel, optimizer: torch.optim.Optimizer, state: State, stop: StopRequest
) -> None:
    """Do what is left of the epoch under way, checkpointing on the way and before it stops early."""
    save_now = partial(save_checkpoint, training, model, optimizer, state)
    config = training.config
    reader = training.reader(training.train, training.sampler().epoch(state.epoch))
    interval = config.log_interval or max(len(reader) // 10, 1)
    last_saved = clock = time.monotonic()
    for batch in training.iterate(reader, state.batches):
        waited = time.monotonic() - clock
        seed_everything(config.seed, state.epoch, state.batches)
        finite = add_gradient(training, model, batch, state)
        state.batches += 1
        if finite and (state.batches % config.accum_grad == 0 or state.batches == len(reader)):
            finite = step(config, model, optimizer, state)
        if not finite:
            skip_update(training, optimizer, batch, state)
        add(state, seconds=time.monotonic() - clock, waited=waited)
        clock = time.monotonic()
        if state.batches % interval == 0:
            log_progress(state, len(reader), optimizer)
        if state.batches % config.accum_grad:
            continue
        if clock - last_saved > training.checkpoint_interval_s:
            save_now()
            last_saved = clock
        stop.obey(before_leaving=save_now)


def seed_everything(*numbers: int) -> None:
    """Seed torch from some numbers: its CPU generator keeps 32 bits of a seed, so they are hashed."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def add_gradient(training: Training, model: LidModel, batch: Minibatch, state: State) -> bool:
    """Run a batch forward and backward; return False, changing nothing, if its loss is not finite."""
    if not len(batch.rows_b):
        return True
    device = training.device
    statistics = [buffer.clone() for buffer in model.buffers()]
    with training.precision.autocast(device):
        output = model(
            batch.wave_bt.to(device, non_blocking=True),
            batch.lengths_b,
            batch.labels_b.to(device, non_blocking=True),
        )
    loss = output.loss.item()
    if not math.isfinite(loss):
        for buffer, before in zip(model.buffers(), statistics, strict=True):
            buffer.copy_(before)
        return False
    (output.loss / training.config.accum_grad).backward()
    size = len(batch.rows_b)
    audio_s = int(batch.lengths_b.sum()) / training.config.preprocessor_conf.sample_rate
    correct = int(output.correct_b.sum())
    add(state, utterances=size, loss=loss * size, correct=correct, audio_s=audio_s)
    return True


def step(config: TrainConfig, model: LidModel, optimizer: torch.optim.Optimizer, state: State) -> bool:
    """Clip the gradient and update the weights at this update's rate; return False if it is not finite."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    if not math.isfinite(norm):
        return False
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * learning_rate_scale(config, state.updates)
    optimizer.step()
    optimizer.zero_grad()
    state.updates += 1
    return True


def skip_update(training: Training, optimizer: torch.optim.Optimizer, batch: Minibatch, state: State) -> None:
    """Drop a gradient that is not finite, or whose loss is not; stop when there are too many."""
    optimizer.zero_grad()
    state.bad_updates += 1
    names = " ".join(training.train.refs.key(row) for row in batch.rows_b.tolist()[:20])
    logging.warning("loss or gradient not finite, update skipped; utterances: %s", names)
    if state.bad_updates > training.config.max_bad_updates:
        raise LidError(
            f"loss or gradient not finite in {state.bad_updates} updates, last with {names}",
            where=training.checkpoint.parent,
            mend="lower the learning rate, or look at these utterances",
        )


def validate_epoch(
    training: Training, model: LidModel, optimizer: torch.optim.Optimizer, state: State, stop: StopRequest
) -> Scores:
    """Score the validation set, longest utterances first; checkpoint before stopping early."""
    save_now = partial(save_checkpoint, training, model, optimizer, state)
    bins = training.config.valid_batch_bins or training.config.batch_bins
    reader = training.reader(training.valid, sorted_batches(training.valid.lengths_u, bins))
    minibatches = stop.watched(training.iterate(reader), before_leaving=save_now)
    return validate(model, minibatches, training.languages, training.device, training.precision)


def finish_epoch(state: State, scores: Scores, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Close the epoch under way: append its measures to the history, return them, begin the next."""
    sums = state.sums
    count = max(sums.get("utterances", 0), 1)
    measures = {
        "epoch": state.epoch,
        "updates": state.updates,
        "train_loss": sums.get("loss", math.nan) / count,
        "train_accuracy": sums.get("correct", 0) / count,
        "valid_loss": scores.loss,
        "valid_accuracy": scores.accuracy,
        "valid_macro_accuracy": scores.macro_accuracy,
        "valid_per_language": scores.per_language,
        "lr": float(optimizer.param_groups[0]["lr"]),
        "audio_s": sums.get("audio_s", 0.0),
        "seconds": sums.get("seconds", 0.0),
        "waited_s": sums.get("waited", 0.0),
    }
    state.history.append(measures)
    state.epoch, state.batches, state.sums = state.epoch + 1, 0, {}
    return measures


def save_checkpoint(
    training: Training, model: LidModel, optimizer: torch.optim.Optimizer, state: State
) -> None:
    """Write all that going on needs; the previous checkpoint stays until this one is whole."""
    content = {
        "identity": training.identity,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": dict(vars(state)),
    }
    save(training.checkpoint, content)


def add(state: State, **amounts: float) -> None:
    """Add to the epoch's sums."""
    for name, amount in amounts.items():
        state.sums[name] = state.sums.get(name, 0.0) + amount


def log_progress(state: State, batches: int, optimizer: torch.optim.Optimizer) -> None:
    """Log where the epoch stands."""
    sums = state.sums
    seconds, count = max(sums["seconds"], 1e-9), max(sums.get("utterances", 0), 1)
    left = seconds / state.batches * (batches - state.batches)
    logging.info(
        "epoch %d, batch %d/%d: loss %.3f, accuracy %.4f, lr %.3g, %.2f h of audio, %.1f audio-s/s, "
        "%.0f %% waiting for data, %.0f s left",
        state.epoch,
        state.batches,
        batches,
        sums.get("loss", math.nan) / count,
        sums.get("correct", 0) / count,
        optimizer.param_groups[0]["lr"],
        sums.get("audio_s", 0.0) / 3600,
        sums.get("audio_s", 0.0) / seconds,
        100 * sums["waited"] / seconds,
        left,
    )
