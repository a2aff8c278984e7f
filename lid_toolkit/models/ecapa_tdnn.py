"""ECAPA-TDNN encoder (Desplanques, Thienpondt and Demuynck, Interspeech 2020), exact under padding.

The layout and the parameter names are those of ESPnet's ``ecapa_tdnn`` encoder, which sums, rather
than passes on, the outputs of earlier blocks (its equation: block i reads x + block 1 + ... + block i-1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Positive
from lid_toolkit.models.masking import MaskedBatchNorm1d, padding_mask, zero_padding
from lid_toolkit.models.res2net import SqueezeExcitation, res2net, stages


class EcapaTdnnEncoder(nn.Module):
    """Convolution, three SE-Res2Net blocks, their outputs joined: (B, T, D) to (B, output_size, T).

    y_i = block_i(x + y_1 + ... + y_{i-1}), output relu(W [y_1; y_2; y_3]).

    Args:
        input_size: feature dimension D.
        model_scale: number of Res2Net groups in a block.
        ndim: channels of the blocks, a multiple of ``model_scale``.
        output_size: channels of the output.
    """

    def __init__(
        self,
        input_size: int,
        model_scale: Positive = 8,
        ndim: Positive = 1024,
        output_size: Positive = 1536,
    ) -> None:
        super().__init__()
        if ndim % model_scale:
            raise LidError(
                f"ndim {ndim} is not a multiple of model_scale {model_scale}",
                where="encoder_conf",
                mend=f"choose ndim {ndim // model_scale * model_scale or model_scale}",
            )
        self.output_size = output_size
        self.conv = nn.Conv1d(input_size, ndim, kernel_size=5, padding=2)
        self.bn = MaskedBatchNorm1d(ndim)
        self.layer1 = SERes2NetBlock(ndim, dilation=2, scale=model_scale)
        self.layer2 = SERes2NetBlock(ndim, dilation=3, scale=model_scale)
        self.layer3 = SERes2NetBlock(ndim, dilation=4, scale=model_scale)
        self.layer4 = nn.Conv1d(3 * ndim, output_size, kernel_size=1)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size, T) and their lengths (B,).

        Padded frames of the output hold arbitrary numbers.

        Args:
            feats_btd: features (B, T, D); padded frames may hold anything.
            lengths_b: valid frames of each, on the CPU.
        """
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        x_bct = torch.relu(self.conv(zero_padding(feats_btd.transpose(1, 2), mask_b1t)))
        x_bct = self.bn(x_bct, mask_b1t)
        y1_bct = self.layer1(x_bct, mask_b1t)
        y2_bct = self.layer2(x_bct + y1_bct, mask_b1t)
        y3_bct = self.layer3(x_bct + y1_bct + y2_bct, mask_b1t)
        joined_bct = torch.cat((y1_bct, y2_bct, y3_bct), dim=1)
        return torch.relu(self.layer4(joined_bct)), lengths_b


class SERes2NetBlock(nn.Module):
    """1x1 convolution, dilated Res2Net convolutions, 1x1 convolution, squeeze-excitation, residual.

    Res2Net (Gao et al., 2021): the channels are split in ``scale`` groups; group i is convolved after
    adding the output of group i-1, the last group passes through.
    """

    def __init__(self, channels: int, dilation: int, scale: int) -> None:
        super().__init__()
        width = channels // scale
        self.width = width
        self.conv1 = nn.Conv1d(channels, channels, kernel_size=1)
        self.bn1 = MaskedBatchNorm1d(channels)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, kernel_size=3, dilation=dilation, padding=dilation)
            for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(MaskedBatchNorm1d(width) for _ in range(scale - 1))
        self.conv3 = nn.Conv1d(channels, channels, kernel_size=1)
        self.bn3 = MaskedBatchNorm1d(channels)
        self.se = SqueezeExcitation(channels)

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, C, T); valid frames depend on valid frames alone."""
        y_bct = self.bn1(torch.relu(self.conv1(x_bct)), mask_b1t)
        groups = torch.split(zero_padding(y_bct, mask_b1t), self.width, dim=1)
        joined_bct = res2net(groups, stages(self.convs, self.bns, mask_b1t))
        y_bct = self.bn3(torch.relu(self.conv3(joined_bct)), mask_b1t)
        gated_bct: Tensor = self.se(y_bct, mask_b1t)
        return gated_bct + x_bct
