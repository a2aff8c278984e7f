"""A linear map of rows, by the faster of the two libraries that PyTorch computes it with on a CPU.

PyTorch gives linear maps in float32 to MKL, which on AMD's processors does not use AVX-512: measured on one
core of an EPYC, 105 GFLOP/s, and 230 with oneDNN (with AVX2 alone 109 and 121). Without a gradient, oneDNN is
called directly here. It rounds in another order, so results differ in the last digits.

Shapes: n rows, f inputs, o outputs; b batch, c channels, t frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lid_toolkit.models.exporting import is_exporting

ROWS = 128
"""The numbers of rows that oneDNN gets are multiples of this."""


def map_rows(x_nf: Tensor, weight_of: Tensor, bias_o: Tensor | None = None) -> Tensor:
    """Return ``x W^T + b`` (..., O) from rows (..., F), with a gradient if PyTorch records one."""
    if not by_onednn(x_nf):
        return F.linear(x_nf, weight_of, bias_o)
    # oneDNN takes a hundred times as long for rows with gaps between them, which the copy does not have. It
    # keeps code and buffers for each number of rows, so there are few such numbers.
    rows_nf = x_nf.flatten(0, -2)
    padded_nf = F.pad(rows_nf, (0, 0, 0, -len(rows_nf) % ROWS)).contiguous()
    mapped_no: Tensor = torch.ops.mkldnn._linear_pointwise(
        padded_nf, weight_of.contiguous(), bias_o, "none", [], ""
    )
    return mapped_no[: len(rows_nf)].view(*x_nf.shape[:-1], -1)


def map_channels(conv: nn.Conv1d, x_bct: Tensor) -> Tensor:
    """Apply a convolution, (B, C, T) to (B, O, T); one that reads a single frame is a map of rows."""
    if conv.kernel_size != (1,) or not by_onednn(x_bct):
        mapped: Tensor = conv(x_bct)
        return mapped
    rows_nc = x_bct.transpose(1, 2).flatten(0, 1)
    mapped_no = map_rows(rows_nc, conv.weight[:, :, 0], conv.bias)
    return mapped_no.view(len(x_bct), -1, conv.out_channels).transpose(1, 2)


def by_onednn(x_nf: Tensor) -> bool:
    """Return whether oneDNN can and should map these rows: float32 on a CPU, without a gradient.

    The operation is not part of PyTorch's public interface, so it may be missing in another version. A
    compiler or an exporter has its own.
    """
    return (
        x_nf.device.type == "cpu"
        and x_nf.dtype is torch.float32
        and x_nf.shape[0] > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not is_exporting()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
