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
        what = f"this machine has {there or 'no'} GPU{'' if there == 1 else 's'}"
        raise LidError(what, where=f"ngpu {ngpu}", mend=f"set ngpu to {there} or auto")
    return int(ngpu)
