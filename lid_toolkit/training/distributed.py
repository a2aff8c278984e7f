"""Several processes that train one model: who they are, what they sum, and how the model is spread over them.

The processes are those of ``torchrun``, or of anything else that sets its variables; gloo connects
CPUs, NCCL connects GPUs.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lid_toolkit.errors import LidError
from lid_toolkit.models.protocols import skips_parameters
from lid_toolkit.training.device import choose_device, count_gpus

CPU = torch.device("cpu")
MEMBER_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
UNUSED = "Expected to have finished reduction in the prior iteration"  # so DDP says it

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """The processes of a training, seen from one of them.

    Attributes:
        device: where this one computes.
        rank: its number, from 0.
        size: how many there are.
    """

    device: torch.device = CPU
    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum(self, vector: Tensor) -> Tensor:
        """Return the sum of all processes' vectors."""
        if self.size > 1:
            dist.all_reduce(vector)
        return vector

    def gather(self, value: Value) -> list[Value]:
        """Return all processes' values by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined(ngpu: str) -> Iterator[World]:
    """Join the processes that the environment tells of; without such, be the only one.

    Raises:
        LidError: another process has ended, or none answers; or a parameter got no gradient.
    """
    if not is_member():
        yield World(choose_device(ngpu))
        return
    rank, place, size = (int(os.environ[name]) for name in MEMBER_VARIABLES[:3])
    device = choose_device(ngpu, place)
    if count_gpus(ngpu) and place >= count_gpus(ngpu):
        raise LidError(f"process {place} has no GPU of its own", where="--ngpu", mend="start fewer processes")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", device_id=device if device.type == "cuda" else None
        )
        yield World(device, rank, size)
    except (dist.DistError, RuntimeError) as error:
        if UNUSED in str(error):
            raise LidError(
                "a batch left some of the model's parameters without a gradient",
                where="several processes",
                mend="set unused_parameters: true",
            ) from error
        if not _is_lost_connection(error):
            raise
        raise LidError(
            "another process of this training has ended",
            where=f"process {rank} of {size}",
            mend="see its message; the same command goes on from the last checkpoint",
        ) from error
    # gloo's threads must find nothing left to do: else they may abort the process as it ends.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def is_member() -> bool:
    """Say whether this process was started as one of several."""
    return all(name in os.environ for name in MEMBER_VARIABLES)


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


def spread(model: nn.Module, world: World, sharded: bool, unused_parameters: bool) -> nn.Module:
    """Return what computes the model's loss such that gradients are those of all processes' batches.

    DDP waits for every parameter's gradient. It looks for those that a batch does not use, which takes
    time, where told to, and where a part of the model skips parameters.

    Args:
        model: on its device; sharding changes it in place.
        world: the processes.
        sharded: give each process a part of the weights (FSDP2) instead of all (DDP).
        unused_parameters: let DDP look for parameters without a gradient in any case.
    """
    if world.size == 1:
        return model
    if sharded:
        from lid_toolkit.training.sharding import shard

        shard(model, world.device.type, world.size)
        return model
    # Running statistics are averaged by the update: a broadcast would keep those of one process alone.
    return DistributedDataParallel(
        model,
        device_ids=None if world.device.index is None else [world.device.index],
        broadcast_buffers=False,
        find_unused_parameters=unused_parameters or skips_parameters(model),
    )


@contextlib.contextmanager
def gradients_summed(wrapped: nn.Module, now: bool) -> Iterator[None]:
    """Sum the gradients over the processes in a backward pass inside, or leave that to a later one."""
    if is_sharded(wrapped):
        cast(Any, wrapped).set_requires_gradient_sync(now)
        yield
    elif isinstance(wrapped, DistributedDataParallel) and not now:
        with wrapped.no_sync():
            yield
    else:
        yield


def is_sharded(module: nn.Module) -> bool:
    """Say whether each process has a part of the weights only: FSDP2 gives modules this method."""
    return hasattr(module, "set_requires_gradient_sync")


def clip_gradient(model: nn.Module, largest: float, exponent: float) -> float:
    """Scale the gradient down to a norm of at most ``largest``; return the norm that it had."""
    norm: Any = torch.nn.utils.clip_grad_norm_(model.parameters(), largest, exponent)
    return float(norm.full_tensor() if is_sharded(model) else norm)


def full_model_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights, whole; of a sharded model on the main process, and every process must call it."""
    if not is_sharded(model):
        return dict(model.state_dict())
    from lid_toolkit.training.sharding import whole_weights

    return whole_weights(model)


def full_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state, likewise."""
    if not is_sharded(model):
        return optimizer.state_dict()
    from lid_toolkit.training.sharding import whole_optimizer_state

    return whole_optimizer_state(model, optimizer)


def load_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Set what :func:`full_optimizer_state` returned; every process has read it."""
    if not is_sharded(model):
        optimizer.load_state_dict(state)
        return
    from lid_toolkit.training.sharding import set_whole_optimizer_state

    set_whole_optimizer_state(model, optimizer, state)
