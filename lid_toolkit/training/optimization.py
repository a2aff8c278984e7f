"""Optimizers by name, parameter groups with their own arguments, and frozen parameters."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.frontends.pretrained.adapt import is_adapter
from lid_toolkit.training.config import TrainConfig

NOT_SUPPORTED = ("Optimizer", "LBFGS")  # the base class; LBFGS needs to evaluate the model several times
FUSED = ("adam", "adamw")
IMPLEMENTATIONS = ("fused", "foreach", "differentiable", "capturable")
Group = dict[str, Any]
"""Parameters (``params``, a list) and their own arguments; PyTorch itself types a group so."""


def configured_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer of the trained parameters; each group keeps its configured rate as ``initial_lr``.

    Raises:
        LidError: unknown optimizer or parameter, with the nearest known one, or a wrong argument.
    """
    groups = parameter_groups(model, config.optim_groups, config.exclude_weight_decay)
    optimizer = make_optimizer(groups, config.optim, config.optim_conf)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def make_optimizer(groups: Sequence[Group], name: str, conf: Mapping[str, object]) -> torch.optim.Optimizer:
    """Return the optimizer of ``torch.optim`` called ``name`` in lower case.

    Args:
        groups: groups of parameters; their own arguments take precedence over ``conf``.
        name: name of the optimizer.
        conf: arguments of the optimizer.

    Raises:
        LidError: unknown optimizer, with the nearest known one, or an argument that it does not take.
    """
    known: dict[str, Callable[..., torch.optim.Optimizer]] = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and key not in NOT_SUPPORTED
    }
    if name not in known:
        raise LidError(f"unknown optimizer '{name}'", where="optim", mend=nearest(name, known))
    device = groups[0]["params"][0].device
    with _argument_errors("optim_conf", conf):
        _step_once(known[name], conf, device)
        for group in groups:
            own = {key: value for key, value in group.items() if key != "params"}
            with _argument_errors("optim_groups", own):
                _step_once(known[name], {**conf, **own}, device)
        return known[name](groups, **fused_kernels(name, device, [conf, *groups]), **conf)


def fused_kernels(name: str, device: torch.device, given: Sequence[Mapping[str, object]]) -> dict[str, bool]:
    """Return the argument that lets Adam and AdamW update all weights with few kernels, on an NVIDIA GPU.

    It is left out where ``given`` arguments choose an implementation. Results differ by rounding.
    """
    chosen = any(key in arguments for arguments in given for key in IMPLEMENTATIONS)
    return {"fused": True} if name in FUSED and device.type == "cuda" and not chosen else {}


def with_own_kernels(state: Mapping[str, object], optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Return the state of an optimizer for this one, which may be on another kind of device.

    A state says which implementation wrote it; loading it would choose that one here too.
    """
    saved = cast(Sequence[Group], state["param_groups"])
    groups = [
        {**group, **{key: own[key] for key in IMPLEMENTATIONS if key in own}}
        for group, own in zip(saved, optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}


def _step_once(
    kind: Callable[..., torch.optim.Optimizer], arguments: Mapping[str, object], device: torch.device
) -> None:
    """Update a single weight: constructors do not check all values, and none of the groups' values."""
    weight = nn.Parameter(torch.zeros(1, 1, device=device))
    weight.grad = torch.zeros_like(weight)
    kind([weight], **arguments).step()


@contextlib.contextmanager
def _argument_errors(where: str, arguments: Mapping[str, object]) -> Iterator[None]:
    """Turn an optimizer's exception about its arguments into a LidError."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, LookupError, AssertionError) as error:
        raise LidError(f"{dict(arguments)}: {error}", where=where, mend="correct the value") from error


def freeze(model: nn.Module, prefixes: Iterable[str]) -> None:
    """Freeze the parameters whose names start with a prefix (``a.b`` does not match ``a.bc``).

    Adapters (LoRA) stay trained.

    Raises:
        LidError: no parameter has the prefix, or every parameter is frozen.
    """
    names = dict(model.named_parameters())
    for prefix in prefixes:
        _check_prefix(prefix, names, "freeze_param")
        for name, parameter in names.items():
            if starts_with(name, prefix) and not is_adapter(name):
                parameter.requires_grad = False
    if not any(parameter.requires_grad for parameter in names.values()):
        raise LidError(
            "every parameter is frozen", where="freeze_param", mend="leave some parameters to train"
        )


def parameter_groups(
    model: nn.Module, groups: Mapping[str, Mapping[str, object]], exclude_weight_decay: bool = False
) -> list[Group]:
    """Return the trained parameters in groups; a parameter belongs to the longest prefix of its name.

    Args:
        model: the model.
        groups: arguments of the optimizer, by prefix of parameter names.
        exclude_weight_decay: set ``weight_decay`` to 0 for vectors and scalars (biases, normalisations).

    Raises:
        LidError: no parameter has the prefix.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for prefix in groups:
        _check_prefix(prefix, dict(model.named_parameters()), "optim_groups")
    gathered: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        fitting = [prefix for prefix in groups if starts_with(name, prefix)]
        key = (max(fitting, key=len, default=""), exclude_weight_decay and parameter.ndim <= 1)
        gathered.setdefault(key, []).append(parameter)
    return [
        {"params": members, **groups.get(prefix, {}), **({"weight_decay": 0.0} if no_decay else {})}
        for (prefix, no_decay), members in gathered.items()
    ]


def starts_with(name: str, prefix: str) -> bool:
    """Return whether a dotted name is ``prefix`` or begins with ``prefix.``."""
    return name == prefix or name.startswith(f"{prefix}.")


def _check_prefix(prefix: str, names: Iterable[str], where: str) -> None:
    every = list(names)
    if not any(starts_with(name, prefix) for name in every):
        depth = prefix.count(".") + 1
        known = {".".join(name.split(".")[:depth]) for name in every}
        raise LidError(
            f"no parameter's name starts with '{prefix}'", where=where, mend=nearest(prefix, known)
        )
