"""Where a model computes: the CPU or a GPU; and how many GPUs a training takes."""

from __future__ import annotations

import torch

from lid_toolkit.errors import LidError


def choose_device(ngpu: str, place: int = 0) -> torch.device:
    """Resolve ``--ngpu`` for one process: the CPU, or the GPU with number ``place`` on this machine.

    Raises:
        LidError: no such number, or more GPUs than there are.
    """
    return torch.device("cuda", place) if count_gpus(ngpu) else torch.device("cpu")


def count_gpus(ngpu: str) -> int:
    """Resolve ``--ngpu``: a number of GPUs, or ``auto`` for all there are; 0 is the CPU.

    Raises:
        LidError: no such number, or more GPUs than there are.
    """
    there = torch.cuda.device_count()
    if ngpu == "auto":
        return there
    if not ngpu.isdecimal():
        raise LidError(f"'{ngpu}' is no number of GPUs", where="--ngpu", mend="give a number or auto")
    if int(ngpu) > there:
        what = "no GPU on this machine" if not there else f"only {there} of them on this machine"
        raise LidError(what, where=f"--ngpu {ngpu}", mend=f"use --ngpu {there} or auto")
    return int(ngpu)
