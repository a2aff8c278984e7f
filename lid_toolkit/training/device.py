"""Where a model computes: the CPU or one GPU."""

from __future__ import annotations

import torch

from lid_toolkit.errors import LidError


def choose_device(ngpu: str) -> torch.device:
    """Resolve ``--ngpu``: 0 the CPU, 1 the first GPU, ``auto`` a GPU where there is one.

    Raises:
        LidError: no such number, or more GPUs than there are or than are used yet.
    """
    there = torch.cuda.device_count()
    if ngpu == "auto":
        return torch.device("cuda" if there else "cpu")
    if ngpu not in ("0", "1"):
        raise LidError(f"'{ngpu}' is not 0, 1 or auto", where="--ngpu", mend="one GPU is used at most")
    if ngpu == "1" and not there:
        raise LidError("no GPU on this machine", where="--ngpu 1", mend="use --ngpu 0 or auto")
    return torch.device("cuda" if ngpu == "1" else "cpu")
