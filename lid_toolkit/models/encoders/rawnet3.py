"""RawNet3 encoder (Jung et al., Interspeech 2022), exact under padding.

Shapes: b batch, t time, d features, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.encoders.res2net import res2net, stages
from lid_toolkit.models.masking import (
    MaskedBatchNorm1d,
    continue_by_zeros,
    masked_mean,
    padding_mask,
    zero_padding,
)

FIRST_POOL, SECOND_POOL = 5, 3


@component(fixed={"block": "Bottle2neck"}, small={"ndim": 8, "model_scale": 2, "output_size": 6})
class RawNet3Encoder(nn.Module):
    """Three Res2Net blocks with feature-map scaling and max pooling: (B, T, D) to (B, output_size, T // 15).

    "Pushing the limits of raw waveform speaker recognition", figure 1. Blocks 1 and 2 pool by 5 and by 3,
    block 3 does not pool. With P the pooling by 3: y_1 = block_1(x), y_2 = block_2(y_1),
    y_3 = block_3(P y_1 + y_2), and the output is relu(W [P y_1; y_2; y_3]). Parameter names are those of
    ESPnet's ``rawnet3``.

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
        self.layer1 = RawNetBlock(input_size, ndim, dilation=2, scale=model_scale, pool=FIRST_POOL)
        self.layer2 = RawNetBlock(ndim, ndim, dilation=3, scale=model_scale, pool=SECOND_POOL)
        self.layer3 = RawNetBlock(ndim, ndim, dilation=4, scale=model_scale)
        self.layer4 = nn.Conv1d(3 * ndim, output_size, kernel_size=1)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size, T // 15) and their lengths (B,).

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU. Utterances shorter than 15 frames are
                padded with zeros.
        """
        feats_btd, lengths_b = continue_by_zeros(feats_btd, lengths_b, FIRST_POOL * SECOND_POOL)
        y1_bct, lengths1_b = self.layer1(feats_btd.transpose(1, 2), lengths_b)
        y2_bct, lengths2_b = self.layer2(y1_bct, lengths1_b)
        pooled_bct = F.max_pool1d(y1_bct, SECOND_POOL)
        y3_bct, _ = self.layer3(pooled_bct + y2_bct, lengths2_b)
        joined_bct = torch.cat((pooled_bct, y2_bct, y3_bct), dim=1)
        return torch.relu(self.layer4(joined_bct)), lengths2_b


class RawNetBlock(nn.Module):
    """1x1 convolution, dilated Res2Net, 1x1 convolution, residual, max pooling, feature-map scaling."""

    def __init__(self, inputs: int, channels: int, dilation: int, scale: int, pool: int = 1) -> None:
        super().__init__()
        self.width = channels // scale
        self.pool = pool
        inner = self.width * scale
        self.conv1 = nn.Conv1d(inputs, inner, kernel_size=1)
        self.bn1 = MaskedBatchNorm1d(inner)
        self.convs = nn.ModuleList(
            nn.Conv1d(self.width, self.width, kernel_size=3, dilation=dilation, padding=dilation)
            for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(MaskedBatchNorm1d(self.width) for _ in range(scale - 1))
        self.conv3 = nn.Conv1d(inner, channels, kernel_size=1)
        self.bn3 = MaskedBatchNorm1d(channels)
        self.afms = FeatureMapScaling(channels)
        self.residual = (
            nn.Identity()
            if inputs == channels
            else nn.Sequential(nn.Conv1d(inputs, channels, kernel_size=1, bias=False))
        )

    def forward(self, x_bct: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, inputs, T) to (B, channels, T // pool); return it with its lengths."""
        mask_b1t = padding_mask(lengths_b, x_bct.shape[2], x_bct.device)
        x_bct = zero_padding(x_bct, mask_b1t)
        y_bct = zero_padding(self.bn1(torch.relu(self.conv1(x_bct)), mask_b1t), mask_b1t)
        groups = torch.split(y_bct, self.width, dim=1)
        joined_bct = res2net(groups, stages(self.convs, self.bns, mask_b1t))
        y_bct = self.bn3(torch.relu(self.conv3(joined_bct)), mask_b1t) + self.residual(x_bct)
        if self.pool > 1:
            y_bct, lengths_b = F.max_pool1d(y_bct, self.pool), lengths_b // self.pool
            mask_b1t = padding_mask(lengths_b, y_bct.shape[2], y_bct.device)
        return self.afms(y_bct, mask_b1t), lengths_b


class FeatureMapScaling(nn.Module):
    """Alpha feature-map scaling, (x + alpha) sigmoid(W mean_t(x) + b) (RawNet2; Jung et al., 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))
        self.fc = nn.Linear(channels, channels)

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Scale each channel of (B, C, T) by its gate in (0, 1)."""
        mean_bc = masked_mean(x_bct, mask_b1t)[..., 0].to(x_bct.dtype)
        return (x_bct + self.alpha) * torch.sigmoid(self.fc(mean_bc))[..., None]
