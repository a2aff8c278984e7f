"""Number format of training: float32, or bfloat16 autocast where the machine computes it natively."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Precision:
    """Whether the forward pass runs under bfloat16 autocast; weights and losses stay float32."""

    bfloat16: bool

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[None]:
        """Return the context of a forward pass."""
        if not self.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(use_amp: bool | Literal["auto"], device: torch.device) -> Precision:
    """Resolve ``use_amp``; ``auto`` takes bfloat16 on GPUs and CPUs with instructions for it."""
    if use_amp != "auto":
        return Precision(use_amp)
    if device.type == "cuda":
        return Precision(torch.cuda.is_bf16_supported(including_emulation=False))
    return Precision(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
