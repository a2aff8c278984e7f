"""The device a model computes on, and the number of GPUs to use."""

from __future__ import annotations

import torch

from lid_toolkit.errors import LidError


def choose_device(ngpu: str, local_rank: int = 0) -> torch.device:
    """Return the device of one process: the CPU, or GPU number ``local_rank`` of this machine.

    Raises:
        LidError: ``ngpu`` is not valid; see :func:`count_gpus`.
    """
    return torch.device("cuda", local_rank) if count_gpus(ngpu) else torch.device("cpu")


def named_device(name: str | torch.device) -> torch.device:
    """Return a device by its name in PyTorch, such as ``cpu``, ``cuda:1`` or ``mps``.

    ``auto`` is the first GPU, or the CPU on a machine without.

    Raises:
        LidError: there is no such device, or this machine does not have it.
    """
    if name == "auto":
        return choose_device("auto")
    known = "give auto, cpu, cuda, cuda:1 or mps"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise LidError(f"'{name}' is not supported", where="device", mend=known) from None
    if device.type == "cuda":
        there, index = torch.cuda.device_count(), device.index or 0
        if index >= there:
            mend = f"give cuda:{there - 1} or a lower number" if there else "give cpu"
            raise LidError(f"this machine has {_gpus(there)}", where=f"device {device}", mend=mend)
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise LidError("this machine has no Metal GPU", where="device mps", mend="give cpu")
    if device.type not in ("cpu", "mps"):
        raise LidError(f"'{name}' is not supported", where="device", mend=known)
    return device


def count_gpus(ngpu: str) -> int:
    """Return the number of GPUs to use: ``ngpu`` is a number, or ``auto`` for all; 0 means the CPU.

    Raises:
        LidError: ``ngpu`` is not a number, or the machine has fewer GPUs.
    """
    there = torch.cuda.device_count()
    if ngpu == "auto":
        return there
    if not ngpu.isdecimal():
        raise LidError(f"'{ngpu}' is not a number of GPUs", where="ngpu", mend="give a number or auto")
    if int(ngpu) > there:
        raise LidError(
            f"this machine has {_gpus(there)}", where=f"ngpu {ngpu}", mend=f"set ngpu to {there} or auto"
        )
    return int(ngpu)


def _gpus(count: int) -> str:
    return f"{count or 'no'} GPU{'' if count == 1 else 's'}"
