"""One update: the gradient of the mean loss over its utterances, whatever batches and processes they lie in.

An update's gradient is that of the mean over all its utterances, and its running statistics move once,
by the mean of its batches' movements. So two processes with a batch each do what one process does with
``accum_grad: 2``, and a batch more in an update does not move the statistics further.
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
from lid_toolkit.training.distributed import clip_gradient, gradients_summed
from lid_toolkit.training.schedules import Standing, learning_rate
from lid_toolkit.training.state import Learner, State, Training


@dataclass(frozen=True)
class Part:
    """What this process does of an update.

    Attributes:
        first: number in the epoch of the update's first batch.
        steps: batches for each process.
        utterances: utterances of all batches of all processes.
    """

    first: int
    steps: int
    utterances: int


@dataclass(frozen=True)
class Outcome:
    """What an update did, the same in every process.

    Attributes:
        skipped: why the weights were left as they are; ``""`` if they were not.
        faulty: whether that counts as a fault: float16's scale may overflow, a loss may not.
        votes: sums of the votes that went into the update.
    """

    skipped: str
    faulty: bool
    votes: list[float]


def parts_of_epoch(sizes_b: Sequence[int], done: int, accum_grad: int, processes: int) -> list[Part]:
    """Cut what is left of an epoch into updates of ``accum_grad`` batches for each process.

    The last update may have fewer; up to ``processes - 1`` batches at the end are left out.

    Args:
        sizes_b: utterances of each of the epoch's batches.
        done: batches that are done.
        accum_grad: batches of an update and process.
        processes: how many there are.
    """
    end = done + (len(sizes_b) - done) // processes * processes
    whole = accum_grad * processes
    return [
        Part(
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
    part: Part,
    minibatches: Iterator[Minibatch],
    votes: list[float],
) -> Outcome:
    """Compute a gradient from the next minibatches and step; count in ``state`` what was done.

    Args:
        training: what stays.
        learner: what changes.
        state: how far the training has come.
        part: this process's part of the update.
        minibatches: yields this process's batches.
        votes: numbers to be summed over the processes.
    """
    device = training.world.device
    buffers = list(learner.model.buffers())
    before = [buffer.clone() for buffer in buffers]
    floating = [place for place, buffer in enumerate(buffers) if buffer.is_floating_point()]
    moved = [torch.zeros_like(buffers[place]) for place in floating]
    sums = torch.zeros(6, dtype=torch.float64, device=device)
    for step in range(part.steps):
        minibatch = next(minibatches)
        set_buffers(buffers, before)
        number = part.first + step * training.world.size + training.world.rank
        seed_everything(training.config.seed, state.place.epoch, number)
        with gradients_summed(learner.wrapped, now=step + 1 == part.steps):
            sums += add_gradient(training, learner, minibatch, part.utterances)
        share = len(minibatch.rows_b) / part.utterances
        for total, place in zip(moved, floating, strict=True):
            total.add_(buffers[place] - before[place], alpha=share)
    head = torch.cat((sums, torch.tensor(votes, dtype=torch.float64, device=device)))
    summed = training.world.sum(torch.cat((head, *(total.flatten().double() for total in moved))))
    loss, correct, utterances, audio_s, failed, infinite, *votes = summed[: len(head)].tolist()
    state.failed += int(failed)
    skipped, faulty = step_optimizer(training, learner, state, bool(infinite))
    if skipped:
        set_buffers(buffers, before)
    else:
        movements = torch.split(summed[len(head) :], [total.numel() for total in moved])
        for place, movement in zip(floating, movements, strict=True):
            buffers[place].copy_(before[place] + movement.view_as(before[place]).to(before[place].dtype))
        if learner.average is not None:
            learner.average.update_parameters(learner.model)
        state.add(loss=loss, correct=correct, utterances=utterances, audio_s=audio_s)
    return Outcome(skipped, faulty, votes)


def add_gradient(training: Training, learner: Learner, minibatch: Minibatch, utterances: int) -> Tensor:
    """Run a batch forward and backward; return what :func:`run_update` sums.

    Returns:
        Loss, correct answers, utterances, seconds of audio, unreadable recordings, and whether the loss
        is not finite, summed over the batch: float64 (6,).
    """
    device, rate = training.world.device, training.config.preprocessor_conf.sample_rate
    size, failed = len(minibatch.rows_b), len(minibatch.failed)
    if not size:  # nothing could be read, but the other processes wait for a gradient
        minibatch = silence(rate)
    with training.precision.autocast(device):
        output = learner.forward(
            minibatch.wave_bt.to(device, non_blocking=True),
            minibatch.lengths_b,
            minibatch.labels_b.to(device, non_blocking=True),
        )
    # The processes' gradients are averaged, not summed.
    share = size / utterances * training.world.size
    torch.autograd.backward(learner.scaler.scale(output.loss * share))
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
    """Return a batch of a second of nothing."""
    zeros = torch.zeros(1, dtype=torch.int64)
    return Minibatch(torch.zeros(1, rate), torch.tensor([rate]), zeros, zeros, [])


def step_optimizer(training: Training, learner: Learner, state: State, infinite: bool) -> tuple[str, bool]:
    """Clip the gradient and step at this update's rate, unless loss or gradient is not finite.

    Returns:
        Why there was no step (``""`` if there was), and whether that is a fault.
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
        return f"gradient beyond float16 at loss scale {scale:g}", False
    return "loss or gradient not finite", True


def set_rates(training: Training, learner: Learner, state: State) -> None:
    """Give each group of parameters its rate for the coming update."""
    config = training.config
    measured = "_".join(config.val_scheduler_criterion)
    standing = Standing(state.updates, state.place.epoch - 1, [epoch[measured] for epoch in state.history])
    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(config.scheduler, config.scheduler_conf, group["initial_lr"], standing)


def set_buffers(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Set running statistics and counts."""
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)


def seed_everything(*numbers: int) -> None:
    """Seed the generators that models draw from; they keep few bits of a seed, so the numbers are hashed."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence(numbers).generate_state(3).tolist()
    torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)
    random.seed(python_seed)
