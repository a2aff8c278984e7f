"""ECAPA-TDNN encoder (Desplanques, Thienpondt and Demuynck, Interspeech 2020), exact under padding.

The layout and the parameter names are those of ESPnet's ``ecapa_tdnn`` encoder. Its blocks read the sum of
all earlier outputs: the input of block i is x + block 1 + ... + block i-1.

Shapes: b batch, t time, d features, c channels, n valid frames of the batch (see ``frame_rows``).
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.encoders.res2net import SqueezeExcitation, res2net
from lid_toolkit.models.frame_rows import FrameGrid, FrameRows, GatherPair, GridNeighbours, convolve
from lid_toolkit.models.masking import MaskedBatchNorm1d


@component(fixed={"block": "EcapaBlock"}, small={"ndim": 8, "model_scale": 2, "output_size": 6})
class EcapaTdnnEncoder(nn.Module):
    """A convolution and three SE-Res2Net blocks, whose outputs are joined: (B, T, D) to (B, output_size, T).

    y_i = block_i(x + y_1 + ... + y_{i-1}); the output is relu(W [y_1; y_2; y_3]).

    Args:
        input_size: feature dimension D.
        model_scale: number of Res2Net groups in a block.
        ndim: number of channels of the blocks, at least ``model_scale``.
        output_size: number of channels of the output.
    """

    def __init__(
        self,
        input_size: int,
        model_scale: PositiveInt = 8,
        ndim: PositiveInt = 1024,
        output_size: PositiveInt = 1536,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.conv = nn.Conv1d(input_size, ndim, kernel_size=5, padding=2)
        self.bn = MaskedBatchNorm1d(ndim)
        self.layer1 = SERes2NetBlock(ndim, dilation=2, scale=model_scale)
        self.layer2 = SERes2NetBlock(ndim, dilation=3, scale=model_scale)
        self.layer3 = SERes2NetBlock(ndim, dilation=4, scale=model_scale)
        self.layer4 = nn.Conv1d(3 * ndim, output_size, kernel_size=1)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size, T) and their lengths (B,).

        Padded frames of the output have arbitrary values.

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU.
        """
        rows = FrameRows.of(lengths_b, feats_btd.shape[1], feats_btd.device)
        x_nc = stage(self.conv, self.bn, rows.pack(feats_btd), rows.conv_neighbours(self.conv))
        y1_nc = self.layer1(x_nc, rows)
        x_nc = x_nc + y1_nc
        y2_nc = self.layer2(x_nc, rows)
        y3_nc = self.layer3(x_nc + y2_nc, rows)
        joined_nc = torch.cat((y1_nc, y2_nc, y3_nc), dim=1)
        h_nc = convolve(self.layer4, joined_nc).relu_()
        return rows.unpack(h_nc).transpose(1, 2), lengths_b


class SERes2NetBlock(nn.Module):
    """1x1 convolution, dilated Res2Net convolutions, 1x1 convolution, squeeze-excitation, residual.

    Res2Net (Gao et al., 2021): the channels are split into ``scale`` groups. Group i is convolved after
    adding the output of group i-1; the last group is not convolved.
    """

    def __init__(self, channels: int, dilation: int, scale: int) -> None:
        super().__init__()
        width = channels // scale
        self.width = width
        inner = width * scale
        self.conv1 = nn.Conv1d(channels, inner, kernel_size=1)
        self.bn1 = MaskedBatchNorm1d(inner)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, kernel_size=3, dilation=dilation, padding=dilation)
            for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(MaskedBatchNorm1d(width) for _ in range(scale - 1))
        self.conv3 = nn.Conv1d(inner, channels, kernel_size=1)
        self.bn3 = MaskedBatchNorm1d(channels)
        self.se = SqueezeExcitation(channels)

    def forward(self, x_nc: Tensor, rows: FrameRows | FrameGrid) -> Tensor:
        """Map the batch's valid frames (N, C) to (N, C)."""
        convs, norms = cast(list[nn.Conv1d], self.convs), cast(list[MaskedBatchNorm1d], self.bns)
        neighbours = rows.conv_neighbours(convs[0]) if convs else None  # a single group is not convolved
        stages = [
            partial(stage, conv, norm, neighbours=neighbours) for conv, norm in zip(convs, norms, strict=True)
        ]
        groups = torch.split(stage(self.conv1, self.bn1, x_nc), self.width, dim=1)
        y_nc = stage(self.conv3, self.bn3, res2net(groups, stages))
        gate_bc = self.se.gates(rows.mean(y_nc).to(y_nc.dtype))
        return torch.addcmul(x_nc, y_nc, rows.spread(gate_bc))


def stage(
    conv: nn.Conv1d,
    norm: MaskedBatchNorm1d,
    x_nc: Tensor,
    neighbours: GatherPair | GridNeighbours | None = None,
) -> Tensor:
    """Return norm(relu(conv(x))) of rows."""
    # In place: neither the convolution nor its gradient needs the output before the ReLU.
    normalised_nc: Tensor = norm(convolve(conv, x_nc, neighbours).relu_())
    return normalised_nc
