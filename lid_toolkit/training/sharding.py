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
from torch.distributed.fsdp import fully_shard

from lid_toolkit.models.lid_model import LidOutput

SHARDED_ALONE = 1_000_000
"""Layers with at least this many parameters are gathered one at a time."""

# FSDP hooks the backward pass on the tensors it finds in a model's output.
torch.export.register_dataclass(LidOutput)

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def shard(model: nn.Module, device_type: str, processes: int) -> None:
    """Split the weights over the processes, in place; large layers are gathered one at a time."""
    mesh = init_device_mesh(device_type, (processes,))
    for layer in gathered_alone(model):
        fully_shard(layer, mesh=mesh)
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
