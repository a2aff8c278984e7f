"""Weights, gradients and optimizer state split over the processes (FSDP2), and gathered for a checkpoint.

:mod:`lid_toolkit.training.distributed` imports this module only when it is needed: its own imports take
seconds.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    OptimizerStateType,
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm

from lid_toolkit.models.lid_model import LidOutput

SHARDED_ALONE = 1_000_000
"""Layers with at least this many parameters are gathered one at a time."""

# FSDP hooks the backward pass on the tensors it finds in a model's output.
torch.export.register_dataclass(LidOutput)

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def shard(model: nn.Module, device_type: str, processes: int, dtype: torch.dtype | None = None) -> None:
    """Split the weights over the processes, in place; large layers are gathered one at a time.

    Args:
        model: the model on its device; changed.
        device_type: ``cpu`` or ``cuda``.
        processes: number of processes.
        dtype: 16-bit format of the forward pass, if it has one. In bfloat16, large layers are gathered in
            it, which halves what is exchanged; their gradients are summed in float32, and each process keeps
            its part of the weights in float32. Layers with batch normalisation are gathered in float32.
    """
    mesh = init_device_mesh(device_type, (processes,))
    narrow = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for layer in gathered_alone(model):
        fits = dtype is torch.bfloat16 and not any(isinstance(part, _BatchNorm) for part in layer.modules())
        fully_shard(layer, mesh=mesh, mp_policy=narrow if fits else MixedPrecisionPolicy())
    fully_shard(model, mesh=mesh)


def gathered_alone(model: nn.Module) -> list[nn.Module]:
    """Return the large layers in the model's module lists, except convolutions.

    FSDP gathers the weights of a layer in its forward pass, but convolutions over rows of valid frames
    (``convolve``) read them without calling it.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = [layer for layers in lists for layer in layers if not isinstance(layer, nn.Conv1d)]
    return [
        layer
        for layer in layers
        if sum(parameter.numel() for parameter in layer.parameters()) >= SHARDED_ALONE
    ]


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return all weights, on the CPU of the main process. Every process must call it."""
    return cast(dict[str, Tensor], get_model_state_dict(model, options=WHOLE))


def whole_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Return the whole state of the optimizer, by parameter name. Every process must call it."""
    return dict(get_optimizer_state_dict(model, optimizer, options=WHOLE))


def set_whole_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, object]
) -> None:
    """Set a state returned by :func:`whole_optimizer_state`. Every process must pass it."""
    set_optimizer_state_dict(
        model, optimizer, cast(OptimizerStateType, state), options=StateDictOptions(full_state_dict=True)
    )
