"""Training with several processes: joining them, exchanging values, and distributing the model (DDP, FSDP).

The processes are started by ``torchrun``, or by anything else that sets the same environment variables.
They are connected by NCCL between GPUs and by gloo between CPUs.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lid_toolkit.errors import LidError
from lid_toolkit.models.protocols import skips_parameters
from lid_toolkit.processes import MEMBER_VARIABLES, SHARING, is_member
from lid_toolkit.training.device import choose_device, count_gpus
from lid_toolkit.training.optimization import with_own_kernels

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

CPU = torch.device("cpu")
UNUSED = "Expected to have finished reduction in the prior iteration"  # DDP's words for a missing gradient

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """The processes of a training, as one of them sees them.

    Attributes:
        device: the device this process computes on.
        rank: its number, from 0.
        size: number of processes.
        sharing: number of processes that share the ``accum_grad`` batches of an update; 1: each has so many.
    """

    device: torch.device = CPU
    rank: int = 0
    size: int = 1
    sharing: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes the files."""
        return self.rank == 0

    def sum(self, vector: Tensor) -> Tensor:
        """Return the sum of the vectors of all processes."""
        if self.size > 1:
            dist.all_reduce(vector)
        return vector

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Value] = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined(ngpu: str) -> Iterator[World]:
    """Join the processes that the environment variables describe; without them, train in one process.

    Raises:
        LidError: another process has ended or does not answer, this process has no GPU, or a parameter
            got no gradient.
    """
    if not is_member():
        yield World(choose_device(ngpu))
        return
    rank, local_rank, size = (int(os.environ[name]) for name in MEMBER_VARIABLES[:3])
    device = choose_device(ngpu, local_rank)
    if count_gpus(ngpu) and local_rank >= count_gpus(ngpu):
        raise LidError(
            f"process {local_rank} has no GPU of its own", where="ngpu", mend="start fewer processes"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", device_id=device if device.type == "cuda" else None
        )
        yield World(device, rank, size, int(os.environ.get(SHARING, 1)))
    except (dist.DistError, RuntimeError) as error:
        if UNUSED in str(error):
            raise LidError(
                "a batch gave no gradient for some of the model's parameters",
                where="unused_parameters",
                mend="set unused_parameters: true",
            ) from error
        if not _is_lost_connection(error):
            raise
        raise LidError(
            "another process of this training has ended",
            where=f"process {rank} of {size}",
            mend="see its message; the same command continues from the last checkpoint",
        ) from error
    # If gloo's threads still have work to do, they may abort the process when it exits.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def _is_lost_connection(error: Exception) -> bool:
    telling = (
        "Connection closed by peer",
        "Connection reset",
        "Broken pipe",
        "NCCL",
        "Timed out",
        "timed out",
    )
    return isinstance(error, dist.DistError) or any(words in str(error) for words in telling)


def spread(
    model: nn.Module,
    world: World,
    sharded: bool,
    unused_parameters: bool,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return a module that computes the model's loss and averages the gradients over the processes.

    DDP waits for the gradient of every parameter. Looking for parameters that a batch does not use takes
    time, so DDP does it only if asked to, or if a component of the model skips parameters.

    Args:
        model: the model on its device; sharding changes it in place.
        world: the processes.
        sharded: give each process a part of the weights (FSDP2) instead of a copy (DDP).
        unused_parameters: always let DDP look for parameters without a gradient.
        dtype: 16-bit format of the forward pass, if it has one; see :func:`.sharding.shard`.
    """
    if world.size == 1:
        return model
    if sharded:
        from lid_toolkit.training.sharding import shard

        shard(model, world.device.type, world.size, dtype)
        return model
    # With device_ids, DDP would move the lengths to the GPU, and the model would wait for each look at them.
    # The update averages running statistics; a broadcast would keep only those of one process. The gradients
    # are parts of the buffers that are exchanged, instead of copies. A static graph would only spare the
    # search for unused parameters, and would hide a parameter that never gets a gradient.
    return DistributedDataParallel(
        model,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        find_unused_parameters=unused_parameters or skips_parameters(model),
    )


@contextlib.contextmanager
def gradients_averaged(wrapped: nn.Module, now: bool) -> Iterator[None]:
    """Average the gradients over the processes in a backward pass inside, if ``now``, or in a later one."""
    if is_sharded(wrapped):
        cast("FSDPModule", wrapped).set_requires_gradient_sync(now)
        yield
    elif isinstance(wrapped, DistributedDataParallel) and not now:
        with wrapped.no_sync():
            yield
    else:
        yield


def is_sharded(module: nn.Module) -> bool:
    """Return whether each process has only a part of the weights: FSDP2 adds this method to modules."""
    return hasattr(module, "set_requires_gradient_sync")


def gradient_norm(model: nn.Module, exponent: float) -> Tensor:
    """Return the norm of the gradient, on the device; of a sharded model, each process has a part of it."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients, exponent)


def whole_norm(model: nn.Module, norm: Tensor) -> Tensor:
    """Return what :func:`gradient_norm` returned as a plain tensor. Every process must call it."""
    return cast("DTensor", norm).full_tensor() if is_sharded(model) else norm


def full_model_state(model: nn.Module) -> dict[str, Tensor]:
    """Return all weights. Every process must call it; of a sharded model, only the main process gets them."""
    if not is_sharded(model):
        return dict(model.state_dict())
    from lid_toolkit.training.sharding import whole_weights

    return whole_weights(model)


def full_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Return the whole state of the optimizer. Every process must call it, as for the weights."""
    if not is_sharded(model):
        return optimizer.state_dict()
    from lid_toolkit.training.sharding import whole_optimizer_state

    return whole_optimizer_state(model, optimizer)


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, object]
) -> None:
    """Set a state returned by :func:`full_optimizer_state`. Every process must pass the whole state."""
    state = with_own_kernels(state, optimizer)
    if not is_sharded(model):
        optimizer.load_state_dict(state)
        return
    from lid_toolkit.training.sharding import set_whole_optimizer_state

    set_whole_optimizer_state(model, optimizer, state)
