"""The training loop: updates, checkpoints within an epoch, and validation.

All randomness is a function of the seed and the number of the batch. So a training that was interrupted
and continued ends with the same weights as an uninterrupted one, bit for bit on a CPU.

Shapes: b batches of an epoch (or utterances of a batch), u utterances.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from functools import partial

import torch

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.samplers import Batches, sorted_batches
from lid_toolkit.errors import LidError
from lid_toolkit.training.console import describe_progress, shown_progress
from lid_toolkit.training.signals import StopRequest, elected, obey
from lid_toolkit.training.state import EpochMeasures, Learner, State, Training, save_checkpoint
from lid_toolkit.training.update import SubBatch, run_update, updates_of_epoch
from lid_toolkit.training.validation import Scores, validate

NAMED_UTTERANCES = 20


def train_epoch(training: Training, learner: Learner, state: State, stop: StopRequest) -> None:
    """Train for the rest of the current epoch; write checkpoints at intervals and before stopping early."""
    config, world, position = training.config, training.world, state.position
    batches = training.sampler.epoch(position.epoch)
    each = config.accum_grad // world.sharing
    updates = updates_of_epoch(batches.sizes_b().tolist(), position.batches, each, world.size)
    own = batches.share(world.rank, world.size, position.batches)
    minibatches = timed(training.minibatches(training.train, own), state)
    save_now = partial(save_checkpoint, training, learner, state)
    interval = (config.log_interval or max(len(batches) // world.size // 10, 1)) * world.size
    last_saved = time.monotonic()
    with shown_progress(f"epoch {position.epoch}", len(batches), position.batches) as show:
        for update in updates:
            started = time.monotonic()
            due = started - last_saved > training.checkpoint_interval_s
            result = run_update(training, learner, state, update, minibatches, [float(due), *stop.votes()])
            done_before, position.batches = position.batches, update.first + update.steps * world.size
            state.add(seconds=time.monotonic() - started)
            if result.skipped:
                note_skipped(training, state, update, batches, result.skipped, result.faulty)
            line = describe_progress(training, learner, state, len(batches))
            show(update.steps * world.size, line)
            if position.batches // interval > done_before // interval and world.main:
                logging.info("epoch %d, %s", position.epoch, line)
            saving, *signals = result.votes
            if saving:
                save_now(wait=False)
                last_saved = time.monotonic()
            obey(elected(signals), before_leaving=save_now)
    next(minibatches, None)  # lets the reader log how many utterances it could not read


def timed(minibatches: Iterator[Minibatch], state: State) -> Iterator[Minibatch]:
    """Yield the minibatches and add the time spent waiting for them to ``state``."""
    while True:
        asked = time.monotonic()
        minibatch = next(minibatches, None)
        state.add(waited=time.monotonic() - asked)
        if minibatch is None:
            return
        yield minibatch


def note_skipped(
    training: Training, state: State, update: SubBatch, batches: Batches, reason: str, faulty: bool
) -> None:
    """Log a skipped update.

    Raises:
        LidError: too many updates were skipped because of a fault.
    """
    if not faulty:
        logging.info("update skipped: %s", reason)
        return
    state.bad_updates += 1
    numbers = range(update.first, update.first + update.steps * training.world.size)
    rows = [row for number in numbers for row in batches[number].rows_b.tolist()]
    names = " ".join(training.train.refs.key(row) for row in rows[:NAMED_UTTERANCES])
    if training.world.main:
        logging.warning("update skipped: %s; utterances: %s", reason, names)
    if state.bad_updates > training.config.max_bad_updates:
        raise LidError(
            f"{state.bad_updates} updates were skipped; in the last, {reason}, with utterances {names}",
            where=training.checkpoint.parent,
            mend="lower the learning rate, check these utterances, or raise max_bad_updates",
        )


def validate_epoch(training: Training, learner: Learner, state: State, stop: StopRequest) -> Scores:
    """Score the validation set, longest utterances first; write a checkpoint before stopping early."""
    bins = training.config.valid_batch_bins or training.config.batch_bins
    batches = sorted_batches(training.valid.lengths_u, bins)
    save_now = partial(save_checkpoint, training, learner, state)

    def check() -> None:
        votes = torch.tensor(stop.votes(), dtype=torch.float64, device=training.world.device)
        obey(elected(training.world.sum(votes).tolist()), before_leaving=save_now)

    return validate(training, learner.judged, batches, before_each=check)


def finish_epoch(learner: Learner, state: State, scores: Scores) -> EpochMeasures:
    """Append the current epoch's measures to the history, go to the next epoch, and return them."""
    sums = state.sums
    count = max(sums.get("utterances", 0), 1)
    measures: EpochMeasures = {
        "epoch": state.position.epoch,
        "updates": state.updates,
        "train_loss": sums.get("loss", math.nan) / count,
        "train_accuracy": sums.get("correct", 0) / count,
        "valid_loss": scores.loss,
        "valid_accuracy": scores.accuracy,
        "valid_macro_accuracy": scores.macro_accuracy,
        "valid_per_language": scores.per_language,
        "lr": float(learner.optimizer.param_groups[0]["lr"]),
        "audio_s": sums.get("audio_s", 0.0),
        "seconds": sums.get("seconds", 0.0),
        "waited_s": sums.get("waited", 0.0),
        "bad_updates": state.bad_updates,
        "failed": state.failed,
    }
    state.history.append(measures)
    state.position.begin_next_epoch()
    state.sums = {}
    return measures
