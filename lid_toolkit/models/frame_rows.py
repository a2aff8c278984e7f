"""The valid frames of a padded batch as the rows of one matrix, (N, C): no mask is needed there.

A 1x1 convolution is then one large matrix product, batch normalisation the plain one, and a longer
convolution a product with each frame's neighbours side by side. Padding costs nothing, and matrix
libraries reach more of the machine's peak than convolutions over (B, C, T) do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.masking import widened


@dataclass(frozen=True)
class Lookup:
    """Row m of the result is the sum of the R rows ``index_mr[m]`` of a matrix (N, C).

    Attributes:
        index_mr: row numbers, (M, R).
        holes: whether the number N may occur in it: a row of zeros.
    """

    index_mr: Tensor
    holes: bool = True


@dataclass(frozen=True)
class Exchange:
    """A linear map between rows, and its transpose for the gradient.

    Looking up in both directions is faster than adding to scattered rows, and gives the same bits
    every time.
    """

    there: Lookup
    back: Lookup

    def carry(self, x_nc: Tensor) -> Tensor:
        """Map (N, C) to (M, C)."""
        there, back = self.there, self.back
        maps = there.index_mr, there.holes, back.index_mr, back.holes
        exchanged_mc: Tensor = _Exchange.apply(x_nc, *maps)  # type: ignore[no-untyped-call]
        return exchanged_mc


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_nc: Tensor, there_mr: Tensor, holes: bool, back_ns: Tensor, back_holes: bool
    ) -> Tensor:
        ctx.save_for_backward(back_ns)
        ctx.holes = back_holes
        return sum_rows(x_nc, there_mr, holes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_mc: Tensor) -> tuple[Tensor, None, None, None, None]:
        (back_ns,) = ctx.saved_tensors
        return sum_rows(gradient_mc, back_ns, ctx.holes), None, None, None, None


def sum_rows(x_nc: Tensor, index_mr: Tensor, holes: bool) -> Tensor:
    """Return (M, C), each row the sum of R rows of (N, C); see ``Lookup``."""
    source_nc = torch.cat((x_nc, x_nc.new_zeros(1, x_nc.shape[1]))) if holes else x_nc
    taken_mrc = source_nc.index_select(0, index_mr.flatten()).view(*index_mr.shape, -1)
    return taken_mrc.sum(dim=1) if index_mr.shape[1] > 1 else taken_mrc[:, 0]


@dataclass(frozen=True)
class FrameRows:
    """Where the valid frames of a batch are: in its (B, T) grid and, one after the other, in N rows.

    Attributes:
        shape: B and T.
        lengths_b: valid frames of each utterance, on the device.
        row_bt: the row of each frame of the grid, N where there is padding.
        slot_n: the place of each row in the flattened grid; None if all frames are valid.
        utterance_n: the utterance of each row.
    """

    shape: tuple[int, int]
    lengths_b: Tensor
    row_bt: Tensor
    slot_n: Tensor | None
    utterance_n: Tensor

    @classmethod
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def of(cls, lengths_b: Tensor, frames: int, device: torch.device) -> FrameRows:
        """Describe a batch of ``frames`` frames; with ``lengths_b`` on the CPU no device is waited for."""
        lengths_b = lengths_b.clamp(max=frames)
        count, full = int(lengths_b.sum()), int(lengths_b.min()) == frames
        lengths_b = lengths_b.to(device)
        first_b1 = (lengths_b.cumsum(0) - lengths_b)[:, None]
        steps_t = torch.arange(frames, device=device)
        row_bt = torch.where(steps_t < lengths_b[:, None], first_b1 + steps_t, count)
        utterance_n = torch.repeat_interleave(lengths_b, output_size=count)
        slot_n = torch.arange(count, device=device) + (utterance_n * frames - first_b1[utterance_n, 0])
        return cls((len(lengths_b), frames), lengths_b, row_bt, None if full else slot_n, utterance_n)

    def pack(self, x_btc: Tensor) -> Tensor:
        """Return the valid frames (N, C) of (B, T, C)."""
        x_gc = x_btc.reshape(-1, x_btc.shape[2])
        if self.slot_n is None:
            return x_gc
        return Exchange(Lookup(self.slot_n[:, None], False), Lookup(self.row_bt.view(-1, 1))).carry(x_gc)

    def unpack(self, x_nc: Tensor) -> Tensor:
        """Return the grid (B, T, C). Padding repeats valid frames, and passes on no gradient."""
        if self.slot_n is not None:
            row_g1 = self.row_bt.view(-1, 1).clamp(max=len(x_nc) - 1)
            x_nc = Exchange(Lookup(row_g1, False), Lookup(self.slot_n[:, None], False)).carry(x_nc)
        return x_nc.view(*self.shape, -1)

    def mean(self, x_nc: Tensor) -> Tensor:
        """Return each utterance's mean (B, C), summed in float32 at least."""
        collect = Exchange(Lookup(self.row_bt), Lookup(self.utterance_n[:, None], False))
        return collect.carry(widened(x_nc)) / self.lengths_b[:, None]

    def spread(self, x_bc: Tensor) -> Tensor:
        """Return each utterance's row at all of its frames, (N, C)."""
        return Exchange(Lookup(self.utterance_n[:, None], False), Lookup(self.row_bt)).carry(x_bc)

    def taps(self, conv: nn.Conv1d) -> Exchange:
        """Return the map from rows to what a convolution reads for each of them, (N, C) to (N * K, C).

        The convolution keeps the length, and reads zeros beyond an utterance's ends.
        """
        taps, rows = conv.kernel_size[0], len(self.utterance_n)
        device = self.utterance_n.device
        tap_k = torch.arange(taps, device=device)
        read_nk = torch.arange(rows, device=device)[:, None] + (tap_k - taps // 2) * conv.dilation[0]
        inside_nk = (read_nk >= 0) & (read_nk < rows)
        inside_nk &= self.utterance_n[read_nk.clamp(0, rows - 1)] == self.utterance_n[:, None]
        read_nk = torch.where(inside_nk, read_nk, rows)
        reader_nk = read_nk.flip(1)
        back_nk = torch.where(reader_nk < rows, reader_nk * taps + tap_k, rows * taps)
        return Exchange(Lookup(read_nk.view(-1, 1)), Lookup(back_nk))


def convolve(conv: nn.Conv1d, x_nc: Tensor, taps: Exchange | None = None) -> Tensor:
    """Apply a convolution to rows, (N, C) to (N, O); with more than one tap, ``taps`` says what they read."""
    if taps is None:
        return F.linear(x_nc, conv.weight[:, :, 0], conv.bias)
    read_nf = taps.carry(x_nc).view(len(x_nc), -1)
    return F.linear(read_nf, conv.weight.transpose(1, 2).flatten(1), conv.bias)
