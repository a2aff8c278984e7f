"""Number format of training and identification: float32, or 16 bits under autocast.

The loss is scaled for float16, because small gradients underflow.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch.amp.grad_scaler import GradScaler

from lid_toolkit.errors import LidError
from lid_toolkit.training.config import DTYPES, TrainConfig


@dataclass(frozen=True)
class Precision:
    """Number format of the forward pass; weights, statistics and losses are always float32.

    Attributes:
        dtype: bfloat16 or float16; None for float32 throughout.
    """

    dtype: torch.dtype | None = None

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[None]:
        """Return the context of a forward pass."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)

    def scaler(self, device: torch.device) -> GradScaler:
        """Return the scaler of the loss; only float16 needs one, because small gradients underflow."""
        return GradScaler(device.type, enabled=self.dtype is torch.float16)

    def is_slow(self, device: torch.device) -> bool:
        """Return whether the device computes this format without instructions for it."""
        return self.dtype is not None and device.type == "cpu" and not has_bfloat16(device)

    def __str__(self) -> str:
        return "float32" if self.dtype is None else f"{str(self.dtype).removeprefix('torch.')} autocast"


def choose_precision(config: TrainConfig, device: torch.device) -> Precision:
    """Return the precision for ``use_amp`` and ``amp_dtype``; ``auto`` is bfloat16 where supported."""
    native = has_bfloat16(device)
    if config.use_amp is False or (config.use_amp == "auto" and not native):
        return Precision()
    if config.amp_dtype == "auto":
        return Precision(torch.bfloat16 if native or device.type == "cpu" else torch.float16)
    return Precision(torch.float16 if config.amp_dtype == "float16" else torch.bfloat16)


def named_precision(name: str, device: torch.device) -> Precision:
    """Return the precision of a number format for identification.

    Raises:
        LidError: the name is not one of ``DType``.
    """
    if name not in DTYPES:
        raise LidError(f"'{name}' is not supported", where="dtype", mend=f"give {', '.join(DTYPES)}")
    if name == "auto":
        return Precision(torch.bfloat16 if has_bfloat16(device) else None)
    return Precision(None if name == "float32" else getattr(torch, name))


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
