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
from torch import Tensor, nn

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.targets import TeacherTargets
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.training.adversarial import domains_of
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.distributed import World, gradient_norm, gradients_averaged, whole_norm
from lid_toolkit.training.schedules import Standing, learning_rate
from lid_toolkit.training.state import Learner, State, Training, measure

BufferGroups = Sequence[list[Tensor]]
CLIPPING_MARGIN = 1e-6
"""What PyTorch adds to the norm before it divides by it: a gradient this close to the limit is scaled too."""


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
    config, world = training.config, training.world
    groups = buffer_groups(learner.model)
    before = values_of(groups)
    moved = [torch.zeros_like(values) for values in before]
    known = [0.0, 0.0, 0.0]
    sums = torch.zeros(3, dtype=torch.float64, device=world.device)
    whole = False
    for step in range(update.steps):
        minibatch = next(minibatches)
        if step:
            set_values(groups, before)
        number = update.first + step * world.size + world.rank
        seed_everything(config.seed, state.position.epoch, number)
        with gradients_averaged(learner.wrapped, now=step + 1 == update.steps):
            sums += add_gradient(training, learner, minibatch, update.utterances)
        known = [sum(pair) for pair in zip(known, known_sums(minibatch, config), strict=True)]
        weight = len(minibatch.rows_b) / update.utterances
        whole = weight == 1  # then the statistics move as in this batch
        if not whole:
            for total, values, old in zip(moved, values_of(groups), before, strict=True):
                if values.is_floating_point():
                    total.add_(values - old, alpha=weight)
    learner.scaler.unscale_(learner.optimizer)
    norm = gradient_norm(learner.model, config.grad_clip_type)
    totals = totals_of(world, [*known, *votes], sums, whole_norm(learner.model, norm))
    utterances, audio_s, failed, *votes, loss, correct, infinite, its_norm = totals
    state.failed += int(failed)
    finite = math.isfinite(its_norm) and not infinite
    if finite and its_norm + CLIPPING_MARGIN > config.grad_clip:
        torch.nn.utils.clip_grads_with_norm_(learner.model.parameters(), config.grad_clip, norm)
    skipped, faulty = step_optimizer(training, learner, state, finite, bool(infinite))
    if skipped:
        set_values(groups, before)
    else:
        if not whole:
            move(world, groups, before, moved)
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
        Float64 (3,), on the device: sum of the losses, correct answers, and 1 if the loss is not finite.
    """
    device, size = training.world.device, len(minibatch.rows_b)
    if not size:  # no recording could be read, but the other processes wait for a gradient
        minibatch = silence(training.config.preprocessor_conf.sample_rate, training.train)
    with training.precision.autocast(device):
        domains_b = domains_of(training.train, minibatch, device)
        output = learner.forward(*minibatch.model_inputs(device), domains_b)
    # The batch's loss is a mean over `size` utterances; the update's is a mean over `utterances`. DDP and
    # FSDP divide the sum of the gradients by the number of processes, which the last factor undoes. For
    # example, with batches of 30 and 10 utterances in two processes, the losses count 3/4 and 1/4: their
    # factors are 1.5 and 0.5, and the mean of 1.5 a and 0.5 b is (3 a + b) / 4.
    weight = size / utterances * training.world.size
    torch.autograd.backward(learner.scaler.scale(output.loss * weight))
    if not size:
        return torch.zeros(3, dtype=torch.float64, device=device)
    infinite = ~output.loss.detach().isfinite()
    return torch.stack([value.double() for value in (output.loss_b.sum(), output.correct_b.sum(), infinite)])


def known_sums(minibatch: Minibatch, config: TrainConfig) -> tuple[float, float, float]:
    """Return a batch's number of utterances, seconds of audio and number of unreadable recordings."""
    rate = config.preprocessor_conf.sample_rate
    return float(len(minibatch.rows_b)), minibatch.samples / rate, float(len(minibatch.failed))


def totals_of(world: World, known: Sequence[float], sums: Tensor, norm: Tensor) -> list[float]:
    """Return numbers of the host and sums on the device, summed over the processes, and the gradient's norm.

    The host waits for the device once.
    """
    if world.size == 1:
        return [*known, *torch.cat((sums, norm.to(sums)[None])).tolist()]
    moved = torch.tensor(known, dtype=sums.dtype).to(world.device, non_blocking=True)
    totals: list[float] = torch.cat((world.sum(torch.cat((moved, sums))), norm.to(sums)[None])).tolist()
    return totals


def move(world: World, groups: BufferGroups, before: Sequence[Tensor], moved: Sequence[Tensor]) -> None:
    """Set running statistics to their values before the update plus the movements of all processes.

    Their own number format, float32, is exact enough for this sum: a movement is a tenth of the statistic
    or less, so its rounding is below that of the statistic, and the counts, which are integers, stay.
    """
    for group, old, movement in zip(groups, before, moved, strict=True):
        if old.is_floating_point():
            set_values([group], [old + world.sum(movement)])


def silence(rate: int, utterances: Utterances) -> Minibatch:
    """Return a batch of one second of silence, with a teacher's answer if ``utterances`` have them."""
    zeros, targets = torch.zeros(1, dtype=torch.int64), utterances.targets
    taught = targets.batch([0]) if isinstance(targets, TeacherTargets) else None
    return Minibatch(torch.zeros(1, rate), torch.tensor([rate]), zeros, zeros, [], targets=taught)


def step_optimizer(
    training: Training, learner: Learner, state: State, finite: bool, infinite: bool = False
) -> tuple[str, bool]:
    """Step with this update's learning rate, unless loss or gradient is not finite.

    Args:
        training: the configuration.
        learner: model and optimizer, whose gradient is no longer scaled; changed.
        state: progress of the training; changed.
        finite: whether the loss and the gradient are finite.
        infinite: whether the loss is not.

    Returns:
        Why the step was skipped (``""`` if it was not), and whether that counts as a fault.
    """
    optimizer, scaler = learner.optimizer, learner.scaler
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


def buffer_groups(model: nn.Module) -> BufferGroups:
    """Return the model's running statistics, counts and other buffers, grouped by number format."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for buffer in model.buffers():
        groups.setdefault(buffer.dtype, []).append(buffer)
    return list(groups.values())


def values_of(groups: BufferGroups) -> list[Tensor]:
    """Return a copy of each group's values as one vector, which a GPU computes with one operation."""
    return [torch.cat([buffer.flatten() for buffer in group]) for group in groups]


def set_values(groups: BufferGroups, values: Sequence[Tensor]) -> None:
    """Copy what :func:`values_of` returned back into the buffers."""
    for group, vector in zip(groups, values, strict=True):
        parts = torch.split(vector, [buffer.numel() for buffer in group])
        torch._foreach_copy_(group, [part.view_as(own) for part, own in zip(parts, group, strict=True)])


def seed_everything(*numbers: int) -> None:
    """Seed the generators that models use; they keep few bits of a seed, so the numbers are hashed."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence(numbers).generate_state(3).tolist()
    torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)
    random.seed(python_seed)
