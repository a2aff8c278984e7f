"""The valid frames of a padded batch as the rows of one matrix, (N, C), so that no mask is needed.

A 1x1 convolution is then one large matrix product, and batch normalisation is PyTorch's own. A longer
convolution is a product with each frame's neighbours side by side. Padding costs no time, and a matrix
product is closer to the machine's peak speed than a convolution over (B, C, T).

Two utterances, of 1 and 3 frames, in a batch of T = 3 frames have N = 4 valid frames::

    grid (B, T)          row of each frame, row_bt    place of each row in the grid, slot_n
    a  -  -              0  4  4                      0  3  4  5
    b  c  d              1  2  3                      utterance of each row, utterance_n
                                                      0  1  1  1

Row 4 = N does not exist: this number means padding, for which a gather returns zeros. A convolution of 3
frames reads, for each row, the rows before, at and after it in the same utterance (``conv_neighbours``)::

    row 0 (a)   4  0  4
    row 1 (b)   4  1  2
    row 2 (c)   1  2  3
    row 3 (d)   2  3  4

Shapes: b batch, t time, c channels, n rows (valid frames), m rows of a result, r rows that are summed,
k frames that a convolution reads, g frames of the flattened grid (B * T), s rows of a source, f = k * c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.autograd import Context
from lid_toolkit.models.exporting import is_exporting
from lid_toolkit.models.masking import on_device, time_sum, widened
from lid_toolkit.models.row_map import map_rows


@dataclass(frozen=True)
class RowGather:
    """Row m of the result is the sum of the R rows ``index_mr[m]`` of a matrix (N, C).

    Attributes:
        index_mr: row numbers, (M, R).
        holes: whether ``index_mr`` may contain N, which means a row of zeros. Without holes, no copy of the
            matrix is made.
    """

    index_mr: Tensor
    holes: bool = True


@dataclass(frozen=True)
class GatherPair:
    """A linear map between rows, and its transpose for the gradient, both as gathers.

    The gradient of a gather is a scatter-add, which is slow, and on a GPU adds in another order each time. If
    it is known which results read each row, the gradient is a gather too: faster, and the same in every bit
    each time. In the module's example, row 2 is read by rows 1, 2 and 3, so the gradient for row 2 is the sum
    of three rows of the result's gradient.

    Attributes:
        there: from the rows (N, C) to the result (M, C).
        back: from the gradient for the result to the gradient for the rows.
    """

    there: RowGather
    back: RowGather

    def apply(self, x_nc: Tensor) -> Tensor:
        """Map (N, C) to (M, C)."""
        there, back = self.there, self.back
        maps = there.index_mr, there.holes, back.index_mr, back.holes
        gathered_mc: Tensor = _Gather.apply(x_nc, *maps)  # type: ignore[no-untyped-call]
        return gathered_mc


class _GatherContext(Context, Protocol):
    holes: bool


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _GatherContext, x_nc: Tensor, there_mr: Tensor, holes: bool, back_ns: Tensor, back_holes: bool
    ) -> Tensor:
        ctx.save_for_backward(back_ns)
        ctx.holes = back_holes
        return sum_rows(x_nc, there_mr, holes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _GatherContext, gradient_mc: Tensor) -> tuple[Tensor, None, None, None, None]:
        (back_ns,) = ctx.saved_tensors
        return sum_rows(gradient_mc, back_ns, ctx.holes), None, None, None, None


def sum_rows(x_nc: Tensor, index_mr: Tensor, holes: bool) -> Tensor:
    """Return (M, C), each row the sum of R rows of (N, C); see ``RowGather``."""
    source_nc = torch.cat((x_nc, x_nc.new_zeros(1, x_nc.shape[1]))) if holes else x_nc
    taken_mrc = source_nc.index_select(0, index_mr.flatten()).view(*index_mr.shape, -1)
    return taken_mrc.sum(dim=1) if index_mr.shape[1] > 1 else taken_mrc[:, 0]


@dataclass(frozen=True)
class FrameRows:
    """Where the valid frames of a batch are: in its (B, T) grid and, one after the other, in N rows.

    Attributes:
        shape: B and T.
        lengths_b: number of valid frames of each utterance, on the device.
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
    def of(cls, lengths_b: Tensor, frames: int, device: torch.device) -> FrameRows | FrameGrid:
        """Describe a batch of ``frames`` frames; ``lengths_b`` on the CPU avoids waiting for a device.

        In compiled code N is a size that the compiler does not know, so one graph serves all batches. Such a
        batch must have at least two valid frames. In an exported graph all frames of the grid are rows
        (:class:`FrameGrid`), because other runtimes gather slowly.
        """
        if is_exporting():
            return FrameGrid.of(lengths_b, frames, device)
        compiling = torch.compiler.is_compiling()
        if compiling or int(lengths_b.max()) > frames:
            lengths_b = lengths_b.clamp(max=frames)
        count = int(lengths_b.sum())
        if compiling:  # without this promise, each test of the size would split the graph
            torch._check(count > 1)  # type: ignore[no-untyped-call]
        full = not compiling and int(lengths_b.min()) == frames
        lengths_b = on_device(lengths_b, device)
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
        return GatherPair(RowGather(self.slot_n[:, None], False), RowGather(self.row_bt.view(-1, 1))).apply(
            x_gc
        )

    def unpack(self, x_nc: Tensor) -> Tensor:
        """Return the grid (B, T, C). Padding repeats the batch's last valid frame; it has no gradient."""
        if self.slot_n is not None:
            row_g1 = self.row_bt.view(-1, 1).clamp(max=len(x_nc) - 1)
            x_nc = GatherPair(RowGather(row_g1, False), RowGather(self.slot_n[:, None], False)).apply(x_nc)
        return x_nc.view(*self.shape, -1)

    def mean(self, x_nc: Tensor) -> Tensor:
        """Return each utterance's mean (B, C), summed in float32 at least."""
        collect = GatherPair(RowGather(self.row_bt), RowGather(self.utterance_n[:, None], False))
        return collect.apply(widened(x_nc)) / self.lengths_b[:, None]

    def spread(self, x_bc: Tensor) -> Tensor:
        """Return each utterance's row at all of its frames, (N, C)."""
        return GatherPair(RowGather(self.utterance_n[:, None], False), RowGather(self.row_bt)).apply(x_bc)

    def conv_neighbours(self, conv: nn.Conv1d) -> GatherPair:
        """Return the map (N, C) to (N * K, C) from each row to the K rows that a convolution reads for it.

        The convolution must keep the length; it reads zeros beyond an utterance's ends.
        """
        taps, rows = conv.kernel_size[0], len(self.utterance_n)
        device = self.utterance_n.device
        tap_k = torch.arange(taps, device=device)
        read_nk = torch.arange(rows, device=device)[:, None] + (tap_k - taps // 2) * conv.dilation[0]
        # The rows of an utterance are consecutive, so a row offset by a few frames belongs to the same
        # utterance or is beyond its end.
        inside_nk = (read_nk >= 0) & (read_nk < rows)
        inside_nk &= self.utterance_n[read_nk.clamp(0, rows - 1)] == self.utterance_n[:, None]
        read_nk = torch.where(inside_nk, read_nk, rows)
        # For the gradient we need the rows that read row j. If row i reads row j at tap k, then row i is the
        # neighbour of row j at tap K - 1 - k. So read_nk, flipped along the taps, lists the rows that read
        # row j, and what row i reads at tap k is row i * K + k of the result.
        reader_nk = read_nk.flip(1)
        back_nk = torch.where(reader_nk < rows, reader_nk * taps + tap_k, rows * taps)
        return GatherPair(RowGather(read_nk.view(-1, 1)), RowGather(back_nk))


@dataclass(frozen=True)
class FrameGrid:
    """The frames of a padded batch as rows, with padding: N = B * T. It is used as :class:`FrameRows` is.

    Padding may have any value in the rows; what reads neighbours or takes means reads zeros in its place.

    Attributes:
        shape: B and T.
        mask_bt1: whether a frame is valid.
    """

    shape: tuple[int, int]
    mask_bt1: Tensor

    @classmethod
    def of(cls, lengths_b: Tensor, frames: int, device: torch.device) -> FrameGrid:
        """Describe a batch of ``frames`` frames."""
        mask_bt = torch.arange(frames, device=device) < lengths_b.to(device)[:, None]
        return cls((lengths_b.shape[0], frames), mask_bt[:, :, None])

    def pack(self, x_btc: Tensor) -> Tensor:
        """Return the frames (N, C) of (B, T, C)."""
        return x_btc.flatten(0, 1)

    def unpack(self, x_nc: Tensor) -> Tensor:
        """Return the grid (B, T, C)."""
        return x_nc.view(*self.shape, x_nc.shape[1])

    def mean(self, x_nc: Tensor) -> Tensor:
        """Return each utterance's mean (B, C), summed in float32 at least."""
        zeroed_btc = self.zeroed(widened(x_nc))
        return time_sum(zeroed_btc) / self.mask_bt1.sum(dim=1).to(zeroed_btc.dtype)

    def spread(self, x_bc: Tensor) -> Tensor:
        """Return each utterance's row at all of its frames, (N, C)."""
        return x_bc[:, None].expand(-1, self.shape[1], -1).flatten(0, 1)

    def conv_neighbours(self, conv: nn.Conv1d) -> GridNeighbours:
        """Return the map (N, C) to (N, K * C) from each row to the K rows that a convolution reads for it."""
        return GridNeighbours(self, conv.kernel_size[0], conv.dilation[0])

    def zeroed(self, x_nc: Tensor) -> Tensor:
        """Return the grid (B, T, C) with zeros at padding."""
        return self.unpack(x_nc).masked_fill(~self.mask_bt1, 0.0)


@dataclass(frozen=True)
class GridNeighbours:
    """What a convolution of ``taps`` frames reads for each frame of a grid."""

    grid: FrameGrid
    taps: int
    dilation: int

    def apply(self, x_nc: Tensor) -> Tensor:
        """Map (N, C) to (N, K * C): copies of the grid that are shifted in time, side by side."""
        frames, reach = self.grid.shape[1], self.taps // 2 * self.dilation
        wide_btc = F.pad(self.grid.zeroed(x_nc), (0, 0, reach, reach))
        starts = range(0, self.taps * self.dilation, self.dilation)
        return torch.cat([wide_btc[:, start : start + frames] for start in starts], dim=2).flatten(0, 1)


def convolve(conv: nn.Conv1d, x_nc: Tensor, neighbours: GatherPair | GridNeighbours | None = None) -> Tensor:
    """Apply a convolution to rows, (N, C) to (N, O).

    ``neighbours`` (:meth:`FrameRows.conv_neighbours`) is needed if the convolution reads more than one frame.
    """
    if neighbours is None:
        return map_rows(x_nc, conv.weight[:, :, 0], conv.bias)
    read_nf = neighbours.apply(x_nc).view(x_nc.shape[0], -1)
    return map_rows(read_nf, conv.weight.transpose(1, 2).flatten(1), conv.bias)
