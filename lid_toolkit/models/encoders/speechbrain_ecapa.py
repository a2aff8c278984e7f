"""ECAPA-TDNN as SpeechBrain lays it out, for its trained models, exact under padding.

It is closer to the paper (Desplanques et al., Interspeech 2020) than ESPnet's: each block reads the
one before. Convolutions mirror their input, here at each utterance's own ends.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Positive
from lid_toolkit.models.frame_rows import convolve
from lid_toolkit.models.masking import (
    MaskedBatchNorm1d,
    continue_by_zeros,
    masked_mean,
    mirror_ends,
    padding_mask,
    zero_padding,
)
from lid_toolkit.models.poolings import moments, score_frames

Five = tuple[Positive, Positive, Positive, Positive, Positive]
VARIANCE_FLOOR = 1e-12


class SpeechBrainEcapaEncoder(nn.Module):
    """Convolution, three SE-Res2Net blocks, their outputs joined: (B, T, D) to (B, channels[4], T).

    y_i = block_i(y_{i-1}), output norm(relu(W [y_1; y_2; y_3])).

    Args:
        input_size: feature dimension D.
        channels: of the first convolution, the three blocks and the output.
        kernel_sizes: of the same.
        dilations: of the same.
        res2net_scale: number of Res2Net groups in a block.
        se_channels: hidden units of the squeeze-excitation.
    """

    def __init__(
        self,
        input_size: int,
        channels: Five = (512, 512, 512, 512, 1536),
        kernel_sizes: Five = (5, 3, 3, 3, 1),
        dilations: Five = (1, 2, 3, 4, 1),
        res2net_scale: Positive = 8,
        se_channels: Positive = 128,
    ) -> None:
        super().__init__()
        if len(set(channels[:4])) > 1 or channels[0] % res2net_scale or not all(k % 2 for k in kernel_sizes):
            raise LidError(
                f"channels {channels}, kernel_sizes {kernel_sizes}, res2net_scale {res2net_scale}",
                where="encoder_conf",
                mend="let the first four channels be one multiple of res2net_scale, and kernels odd",
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
            feats_btd: features (B, T, D); padded frames may hold anything.
            lengths_b: valid frames of each, on the CPU; too few to be mirrored are continued by zeros.
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
    """norm(relu(W * x)), the input mirrored at both ends so that the length stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.reach = dilation * (kernel // 2)
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        self.norm = MaskedBatchNorm1d(outputs)

    def forward(self, x_bct: Tensor, lengths_b: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, outputs, T)."""
        if self.reach:
            x_bct = mirror_ends(x_bct, lengths_b, self.reach)
        normalised_bct: Tensor = self.norm(torch.relu(self.conv(x_bct)), mask_b1t)
        return normalised_bct


class SpeechBrainBlock(nn.Module):
    """1x1 layer, Res2Net, 1x1 layer, squeeze-excitation, residual; Res2Net's first group passes through."""

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
        """Map (B, C, T) to (B, C, T); valid frames depend on valid frames alone."""
        groups = torch.split(self.tdnn1(x_bct, lengths_b, mask_b1t), self.width, dim=1)
        outputs = [groups[0]]
        for group_bwt, stage in zip(groups[1:], self.stages, strict=True):
            carried_bwt = group_bwt if len(outputs) == 1 else group_bwt + outputs[-1]
            outputs.append(stage(carried_bwt, lengths_b, mask_b1t))
        y_bct = self.tdnn2(torch.cat(outputs, dim=1), lengths_b, mask_b1t)
        mean_bc1 = masked_mean(y_bct, mask_b1t).to(y_bct.dtype)
        gated_bct: Tensor = y_bct * torch.sigmoid(self.expand(torch.relu(self.reduce(mean_bc1))))
        return gated_bct + x_bct


class SpeechBrainAttentiveStatistics(nn.Module):
    """Attentive statistics with SpeechBrain's tanh, (B, C, T) to (B, 2 C) (Okabe et al., Interspeech 2018).

    From the frame x_t, the utterance's mean m and deviation s, weights a_t = softmax_t(V tanh(norm(
    relu(W [x_t; m; s])))) for each channel; output their mean mu = sum_t a_t x_t and the square root of
    sum_t a_t (x_t - mu)^2.

    Args:
        input_size: channels C of the encoder's output.
        attention_channels: hidden units of the attention.
    """

    def __init__(self, input_size: int, attention_channels: Positive = 128) -> None:
        super().__init__()
        self.output_size = 2 * input_size
        self.score_frame = nn.Conv1d(3 * input_size, attention_channels, kernel_size=1)
        self.norm = MaskedBatchNorm1d(attention_channels)
        self.score_channel = nn.Conv1d(attention_channels, input_size, kernel_size=1)

    def forward(self, x_bct: Tensor, lengths_b: Tensor) -> Tensor:
        """Return (B, 2 C) in float32 from (B, C, T) and the valid frames of each."""
        x_btc = x_bct.transpose(1, 2).contiguous()
        mask_b1t = padding_mask(lengths_b, x_btc.shape[1], x_btc.device)
        hidden_bth = torch.relu(score_frames(self.score_frame, x_btc, lengths_b, VARIANCE_FLOOR))
        hidden_bth = torch.tanh(self.norm(hidden_bth.transpose(1, 2), mask_b1t)).transpose(1, 2)
        mean_bc, variance_bc = moments(x_btc, convolve(self.score_channel, hidden_bth), lengths_b)
        return torch.cat((mean_bc, variance_bc.clamp(min=VARIANCE_FLOOR).sqrt()), dim=1)
