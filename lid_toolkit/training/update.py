"""One update: the gradient of the mean loss over all its utterances, in all its batches and processes.

The result does not depend on how the batches of an update are spread over processes: two processes with
one batch each do the same as one process with ``accum_grad: 2``. Running statistics (of batch
normalisation) change once per update, by the weighted mean of the changes that its batches would make.

Shapes: b utterances of a batch (or batches of an epoch), t samples.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.training.distributed import clip_gradient, gradients_averaged
from lid_toolkit.training.schedules import Standing, learning_rate
from lid_toolkit.training.state import Learner, State, Training, measure


@dataclass(frozen=True)
class SubBatch:
    """The batches of one update; each process computes ``steps`` of them.

    Attributes:
        first: number of the update's first batch in the epoch.
        steps: number of batches for each process.
        utterances: number of utterances in all batches of all processes.
    """

    first: int
    steps: int
    utterances: int


@dataclass(frozen=True)
class UpdateResult:
    """The result of an update, the same in every process.

    Attributes:
        skipped: why the update was skipped, or ``""`` if the weights were updated.
        faulty: whether the skipped update counts towards ``max_bad_updates``. A loss that is not finite
            does; an overflow of float16's loss scale is normal and does not.
        votes: the votes of all processes, summed.
    """

    skipped: str
    faulty: bool
    votes: list[float]


def updates_of_epoch(sizes_b: Sequence[int], done: int, accum_grad: int, processes: int) -> list[SubBatch]:
    """Split the rest of an epoch into updates of ``accum_grad`` batches per process.

    The last update may have fewer batches; up to ``processes - 1`` batches at the end are skipped.
    Example: with 11 batches, 2 processes and ``accum_grad`` 2, the updates are batches 0-3, 4-7 and 8-9,
    and batch 10 is skipped.

    Args:
        sizes_b: number of utterances in each of the epoch's batches.
        done: number of batches already done.
        accum_grad: number of batches per update and process.
        processes: number of processes.
    """
    end = done + (len(sizes_b) - done) // processes * processes
    whole = accum_grad * processes
    return [
        SubBatch(
            first,
            (min(first + whole, end) - first) // processes,
            sum(sizes_b[first : min(first + whole, end)]),
        )
        for first in range(done, end, whole)
    ]


def run_update(
    training: Training,
    learner: Learner,
    state: State,
    update: SubBatch,
    minibatches: Iterator[Minibatch],
    votes: list[float],
) -> UpdateResult:
    """Compute the gradient of the next minibatches, update the weights, and add the losses to ``state``.

    Args:
        training: configuration, data and processes.
        learner: model and optimizer; changed.
        state: progress of the training; changed.
        update: the batches of this update.
        minibatches: yields this process's batches.
        votes: numbers to be summed over the processes.
    """
    device = training.world.device
    buffers = list(learner.model.buffers())
    before = [buffer.clone() for buffer in buffers]
    floating = [index for index, buffer in enumerate(buffers) if buffer.is_floating_point()]
    moved = [torch.zeros_like(buffers[index]) for index in floating]
    sums = torch.zeros(6, dtype=torch.float64, device=device)
    for step in range(update.steps):
        minibatch = next(minibatches)
        set_buffers(buffers, before)
        number = update.first + step * training.world.size + training.world.rank
        seed_everything(training.config.seed, state.position.epoch, number)
        with gradients_averaged(learner.wrapped, now=step + 1 == update.steps):
            sums += add_gradient(training, learner, minibatch, update.utterances)
        weight = len(minibatch.rows_b) / update.utterances
        for total, index in zip(moved, floating, strict=True):
            total.add_(buffers[index] - before[index], alpha=weight)
    head = torch.cat((sums, torch.tensor(votes, dtype=torch.float64, device=device)))
    summed = training.world.sum(torch.cat((head, *(total.flatten().double() for total in moved))))
    loss, correct, utterances, audio_s, failed, infinite, *votes = summed[: len(head)].tolist()
    state.failed += int(failed)
    skipped, faulty = step_optimizer(training, learner, state, bool(infinite))
    if skipped:
        set_buffers(buffers, before)
    else:
        movements = torch.split(summed[len(head) :], [total.numel() for total in moved])
        for index, movement in zip(floating, movements, strict=True):
            buffers[index].copy_(before[index] + movement.view_as(before[index]).to(before[index].dtype))
        if learner.average is not None:
            learner.average.update_parameters(learner.model)
        state.add(loss=loss, correct=correct, utterances=utterances, audio_s=audio_s)
    return UpdateResult(skipped, faulty, votes)


def add_gradient(training: Training, learner: Learner, minibatch: Minibatch, utterances: int) -> Tensor:
    """Compute a batch forward and backward, and return its sums.

    Args:
        training: configuration and processes.
        learner: the model, whose gradient is added to.
        minibatch: the batch; may be empty, if none of its recordings could be read.
        utterances: number of utterances in the whole update.

    Returns:
        Float64 (6,): sum of the losses, correct answers, utterances, seconds of audio, unreadable
        recordings, and 1 if the loss is not finite.
    """
    device, rate = training.world.device, training.config.preprocessor_conf.sample_rate
    size, failed = len(minibatch.rows_b), len(minibatch.failed)
    if not size:  # no recording could be read, but the other processes wait for a gradient
        minibatch = silence(rate)
    with training.precision.autocast(device):
        output = learner.forward(*minibatch.model_inputs(device))
    # The batch's loss is a mean over `size` utterances; the update's is a mean over `utterances`. DDP and
    # FSDP divide the sum of the gradients by the number of processes, which the last factor undoes. For
    # example, with batches of 30 and 10 utterances in two processes, the losses count 3/4 and 1/4: their
    # factors are 1.5 and 0.5, and the mean of 1.5 a and 0.5 b is (3 a + b) / 4.
    weight = size / utterances * training.world.size
    torch.autograd.backward(learner.scaler.scale(output.loss * weight))
    if not size:
        return torch.tensor([0, 0, 0, 0, failed, 0], dtype=torch.float64, device=device)
    audio_s = minibatch.samples / rate
    known = torch.tensor([size, audio_s, failed], dtype=torch.float64, device=device)
    return torch.cat(
        (
            torch.stack((output.loss_b.double().sum(), output.correct_b.sum().double())),
            known,
            (~output.loss.detach().isfinite()).double()[None],
        )
    )


def silence(rate: int) -> Minibatch:
    """Return a batch of one second of silence."""
    zeros = torch.zeros(1, dtype=torch.int64)
    return Minibatch(torch.zeros(1, rate), torch.tensor([rate]), zeros, zeros, [])


def step_optimizer(training: Training, learner: Learner, state: State, infinite: bool) -> tuple[str, bool]:
    """Clip the gradient and step with this update's learning rate, unless loss or gradient is not finite.

    Returns:
        Why the step was skipped (``""`` if it was not), and whether that counts as a fault.
    """
    config, optimizer, scaler = training.config, learner.optimizer, learner.scaler
    scaler.unscale_(optimizer)
    norm = clip_gradient(learner.model, config.grad_clip, config.grad_clip_type)
    finite = math.isfinite(norm) and not infinite
    if finite:
        set_rates(training, learner, state)
        scaler.step(optimizer)
        state.updates += 1
    scale = scaler.get_scale()
    scaler.update()
    optimizer.zero_grad()
    if finite:
        return "", False
    if scaler.is_enabled() and not infinite and scale > 1:
        return f"the gradient overflows float16 at loss scale {scale:g}", False
    return "the loss or the gradient is not finite", True


def set_rates(training: Training, learner: Learner, state: State) -> None:
    """Set the learning rate of each parameter group for the coming update."""
    config = training.config
    measured = "_".join(config.val_scheduler_criterion)
    standing = Standing(
        state.updates, state.position.epoch - 1, [measure(epoch, measured) for epoch in state.history]
    )
    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(config.scheduler, config.scheduler_conf, group["initial_lr"], standing)


def set_buffers(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy running statistics and counts into the model's buffers."""
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)


def seed_everything(*numbers: int) -> None:
    """Seed the generators that models use; they keep few bits of a seed, so the numbers are hashed."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence(numbers).generate_state(3).tolist()
    torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)
    random.seed(python_seed)
