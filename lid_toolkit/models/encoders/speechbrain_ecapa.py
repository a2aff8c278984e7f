"""SpeechBrain's ECAPA-TDNN, for its trained models, exact under padding.

It is closer to the paper (Desplanques et al., Interspeech 2020) than ESPnet's: each block reads only the
output of the block before it. The input of convolutions is mirrored, here at each utterance's own ends.

Shapes: b batch, t time, d features, c channels, w channels of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.masking import (
    MaskedBatchNorm1d,
    continue_by_zeros,
    masked_mean,
    mirror_ends,
    padding_mask,
    zero_padding,
)
from lid_toolkit.models.row_map import map_channels

Five = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt]


@component(small={"channels": [8, 8, 8, 8, 6], "res2net_scale": 2, "se_channels": 4})
class SpeechBrainEcapaEncoder(nn.Module):
    """A convolution and three SE-Res2Net blocks, whose outputs are joined: (B, T, D) to (B, channels[4], T).

    y_i = block_i(y_{i-1}); the output is norm(relu(W [y_1; y_2; y_3])).

    Args:
        input_size: feature dimension D.
        channels: number of channels of the first convolution, the three blocks and the output.
        kernel_sizes: kernel sizes of the same five layers.
        dilations: dilations of the same five layers.
        res2net_scale: number of Res2Net groups in a block.
        se_channels: number of hidden units of the squeeze-excitation.
    """

    def __init__(
        self,
        input_size: int,
        channels: Five = (512, 512, 512, 512, 1536),
        kernel_sizes: Five = (5, 3, 3, 3, 1),
        dilations: Five = (1, 2, 3, 4, 1),
        res2net_scale: PositiveInt = 8,
        se_channels: PositiveInt = 128,
    ) -> None:
        super().__init__()
        if len(set(channels[:4])) > 1 or channels[0] % res2net_scale or not all(k % 2 for k in kernel_sizes):
            raise LidError(
                f"channels {channels}, kernel_sizes {kernel_sizes}, res2net_scale {res2net_scale}",
                where="encoder_conf",
                mend="use the same multiple of res2net_scale as the first four channels, and odd kernels",
            )
        self.output_size = channels[4]
        width = channels[0]
        self.first = TdnnLayer(input_size, width, kernel_sizes[0], dilations[0])
        self.blocks = nn.ModuleList(
            SpeechBrainBlock(width, kernel_sizes[i], dilations[i], res2net_scale, se_channels)
            for i in (1, 2, 3)
        )
        self.mfa = TdnnLayer(3 * width, channels[4], kernel_sizes[4], dilations[4])
        self.shortest = 1 + max(d * (k // 2) for k, d in zip(kernel_sizes, dilations, strict=True))

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, channels[4], T) and their lengths (B,).

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU. Utterances too short to be mirrored are
                padded with zeros.
        """
        feats_btd, lengths_b = continue_by_zeros(feats_btd, lengths_b, self.shortest)
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        x_bct = self.first(zero_padding(feats_btd.transpose(1, 2), mask_b1t), lengths_b, mask_b1t)
        outputs = []
        for block in self.blocks:
            x_bct = block(x_bct, lengths_b, mask_b1t)
            outputs.append(x_bct)
        return self.mfa(torch.cat(outputs, dim=1), lengths_b, mask_b1t), lengths_b


class TdnnLayer(nn.Module):
    """norm(relu(W * x)); the input is mirrored at both ends, so that the length does not change."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.reach = dilation * (kernel // 2)
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        self.norm = MaskedBatchNorm1d(outputs)

    def forward(self, x_bct: Tensor, lengths_b: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, outputs, T)."""
        if self.reach:
            x_bct = mirror_ends(x_bct, lengths_b, self.reach)
        normalised_bct: Tensor = self.norm(torch.relu(map_channels(self.conv, x_bct)), mask_b1t)
        return normalised_bct


class SpeechBrainBlock(nn.Module):
    """1x1 layer, Res2Net, 1x1 layer, squeeze-excitation, residual; Res2Net's first group is not changed."""

    def __init__(self, channels: int, kernel: int, dilation: int, scale: int, se_channels: int) -> None:
        super().__init__()
        width = channels // scale
        self.width = width
        self.tdnn1 = TdnnLayer(channels, channels)
        self.stages = nn.ModuleList(TdnnLayer(width, width, kernel, dilation) for _ in range(scale - 1))
        self.tdnn2 = TdnnLayer(channels, channels)
        self.reduce = nn.Conv1d(channels, se_channels, kernel_size=1)
        self.expand = nn.Conv1d(se_channels, channels, kernel_size=1)

    def forward(self, x_bct: Tensor, lengths_b: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, C, T); valid frames depend only on valid frames."""
        groups = torch.split(self.tdnn1(x_bct, lengths_b, mask_b1t), self.width, dim=1)
        outputs = [groups[0]]
        for group_bwt, stage in zip(groups[1:], self.stages, strict=True):
            carried_bwt = group_bwt if len(outputs) == 1 else group_bwt + outputs[-1]
            outputs.append(stage(carried_bwt, lengths_b, mask_b1t))
        y_bct = self.tdnn2(torch.cat(outputs, dim=1), lengths_b, mask_b1t)
        mean_bc1 = masked_mean(y_bct, mask_b1t).to(y_bct.dtype)
        gated_bct: Tensor = y_bct * torch.sigmoid(self.expand(torch.relu(self.reduce(mean_bc1))))
        return gated_bct + x_bct
