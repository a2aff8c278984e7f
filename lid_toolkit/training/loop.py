"""The training loop: epochs of updates, checkpoints on the way, validation.

Whatever is random is a function of the seed and of the batch's number, so a run that was cut off and
continued ends with the same weights, bit for bit on a CPU, as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.samplers import Batches, sorted_batches
from lid_toolkit.errors import LidError
from lid_toolkit.training.console import describe_progress, shown_progress
from lid_toolkit.training.signals import StopRequest, elected, obey
from lid_toolkit.training.state import Learner, State, Training, save_checkpoint
from lid_toolkit.training.update import Part, parts_of_epoch, run_update
from lid_toolkit.training.validation import Scores, validate

NAMED_UTTERANCES = 20


def train_epoch(training: Training, learner: Learner, state: State, stop: StopRequest) -> None:
    """Do what is left of the epoch under way, checkpointing on the way and before it stops early."""
    config, world, place = training.config, training.world, state.place
    batches = training.sampler.epoch(place.epoch)
    parts = parts_of_epoch(batches.sizes_b().tolist(), place.batches, config.accum_grad, world.size)
    own = batches.share(world.rank, world.size, place.batches)
    minibatches = timed(training.minibatches(training.train, own), state)
    save_now = partial(save_checkpoint, training, learner, state)
    interval = (config.log_interval or max(len(batches) // world.size // 10, 1)) * world.size
    last_saved = time.monotonic()
    with shown_progress(f"epoch {place.epoch}", len(batches), place.batches) as show:
        for part in parts:
            started = time.monotonic()
            due = started - last_saved > training.checkpoint_interval_s
            outcome = run_update(training, learner, state, part, minibatches, [float(due), *stop.votes()])
            done_before, place.batches = place.batches, part.first + part.steps * world.size
            state.add(seconds=time.monotonic() - started)
            if outcome.skipped:
                note_skipped(training, state, part, batches, outcome.skipped, outcome.faulty)
            line = describe_progress(training, learner, state, len(batches))
            show(part.steps * world.size, line)
            if place.batches // interval > done_before // interval and world.main:
                logging.info("epoch %d, %s", place.epoch, line)
            saving, *signals = outcome.votes
            if saving:
                save_now()
                last_saved = time.monotonic()
            obey(elected(signals), before_leaving=save_now)
    next(minibatches, None)  # the reader's closing words


def timed(minibatches: Iterator[Minibatch], state: State) -> Iterator[Minibatch]:
    """Yield the minibatches, adding up the time that each is waited for."""
    while True:
        asked = time.monotonic()
        minibatch = next(minibatches, None)
        state.add(waited=time.monotonic() - asked)
        if minibatch is None:
            return
        yield minibatch


def note_skipped(
    training: Training, state: State, part: Part, batches: Batches, reason: str, faulty: bool
) -> None:
    """Tell of an update that left no trace; stop when there are too many faulty ones."""
    if not faulty:
        logging.info("update skipped: %s", reason)
        return
    state.bad_updates += 1
    numbers = range(part.first, part.first + part.steps * training.world.size)
    rows = [row for number in numbers for row in batches[number].rows_b.tolist()]
    names = " ".join(training.train.refs.key(row) for row in rows[:NAMED_UTTERANCES])
    if training.world.main:
        logging.warning("%s, update skipped; utterances: %s", reason, names)
    if state.bad_updates > training.config.max_bad_updates:
        raise LidError(
            f"{reason} in {state.bad_updates} updates, last with {names}",
            where=training.checkpoint.parent,
            mend="lower the learning rate, or look at these utterances",
        )


def validate_epoch(training: Training, learner: Learner, state: State, stop: StopRequest) -> Scores:
    """Score the validation set, longest utterances first; checkpoint before stopping early."""
    bins = training.config.valid_batch_bins or training.config.batch_bins
    batches = sorted_batches(training.valid.lengths_u, bins)
    save_now = partial(save_checkpoint, training, learner, state)

    def check() -> None:
        votes = torch.tensor(stop.votes(), dtype=torch.float64, device=training.world.device)
        obey(elected(training.world.sum(votes).tolist()), before_leaving=save_now)

    return validate(training, learner.judged, batches, before_each=check)


def finish_epoch(learner: Learner, state: State, scores: Scores) -> dict[str, Any]:
    """Close the epoch under way: append its measures to the history, return them, begin the next."""
    sums = state.sums
    count = max(sums.get("utterances", 0), 1)
    measures = {
        "epoch": state.place.epoch,
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
    state.place.begin_next_epoch()
    state.sums = {}
    return measures
