"""SKA-TDNN encoder (Mun, Jung et al., SLT 2022), exact under padding.

"Frequency and Multi-Scale Selective Kernel Attention for Speaker Verification": 2-D residual blocks weight
two kernel sizes by frequency (fwSKA) and by channel (cwSKA), and a TDNN weights them in its Res2Net groups
(msSKA). Selective kernels (Li et al., CVPR 2019): with branches u_k of different kernel sizes and the mean s
of their sum, the output is sum_k softmax_k(A_k relu(W s)) u_k.

Shapes: b batch, t time, c channels, f frequency, k kernel sizes, w channels of a group, s summary, h
hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.encoders.res2net import SqueezeExcitation, res2net
from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean, padding_mask, zero_padding

KERNELS = (5, 7)
LEAST_HIDDEN = 16


@component(
    fixed={"block": "Bottle2neck", "skablock": "ResBlock"},
    small={"ndim": 8, "model_scale": 2, "output_size": 6, "ska_dim": 2},
)
class SkaTdnnEncoder(nn.Module):
    """2-D selective kernels, then SE-Res2Net blocks: (B, T, D) to (B, output_size, (T + 1) // 2).

    y_i = block_i(x + y_1 + ... + y_{i-1}); the output is relu(W [y_1; y_2; y_3]). Parameter names are
    those of ESPnet's ``ska_tdnn``.

    Args:
        input_size: feature dimension D, a multiple of 4.
        ndim: number of channels of the 1-D blocks, at least ``model_scale``.
        model_scale: number of Res2Net groups in a block.
        ska_dim: number of channels of the 2-D blocks.
        output_size: number of channels of the output.
    """

    def __init__(
        self,
        input_size: int,
        ndim: PositiveInt = 1024,
        model_scale: PositiveInt = 8,
        ska_dim: PositiveInt = 128,
        output_size: PositiveInt = 1536,
    ) -> None:
        super().__init__()
        if input_size % 4:
            what = f"ska_tdnn halves the number of features twice, but there are {input_size}"
            raise LidError(what, where="encoder", mend="choose a multiple of 4 in the front end")
        self.output_size = output_size
        self.frt_conv1 = nn.Conv2d(1, ska_dim, kernel_size=3, stride=(2, 1), padding=1)
        self.frt_bn1 = MaskedBatchNorm1d(ska_dim)
        self.frt_block1 = SelectiveKernelBlock(ska_dim, input_size // 2)
        self.frt_block2 = SelectiveKernelBlock(ska_dim, input_size // 2)
        self.frt_conv2 = nn.Conv2d(ska_dim, ska_dim, kernel_size=3, stride=2, padding=1)
        self.frt_bn2 = MaskedBatchNorm1d(ska_dim)
        self.conv1 = nn.Conv1d(ska_dim * input_size // 4, ndim, kernel_size=5, padding=2)
        self.bn1 = MaskedBatchNorm1d(ndim)
        self.layer1 = SelectiveRes2NetBlock(ndim, dilation=2, scale=model_scale)
        self.layer2 = SelectiveRes2NetBlock(ndim, dilation=3, scale=model_scale)
        self.layer3 = SelectiveRes2NetBlock(ndim, dilation=4, scale=model_scale)
        self.layer4 = nn.Conv1d(3 * ndim, output_size, kernel_size=1)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size, (T + 1) // 2) and their lengths (B,).

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU.
        """
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        x_bcft = zero_padding(feats_btd.transpose(1, 2), mask_b1t)[:, None]
        x_bcft = normalise_2d(self.frt_bn1, torch.relu(self.frt_conv1(x_bcft)), mask_b1t)
        x_bcft = self.frt_block2(self.frt_block1(x_bcft, mask_b1t), mask_b1t)
        x_bcft = torch.relu(self.frt_conv2(x_bcft))
        lengths_b = (lengths_b - 1) // 2 + 1
        mask_b1t = padding_mask(lengths_b, x_bcft.shape[3], x_bcft.device)
        x_bct = normalise_2d(self.frt_bn2, x_bcft, mask_b1t).flatten(1, 2)
        x_bct = self.bn1(torch.relu(self.conv1(x_bct)), mask_b1t)
        y1_bct = self.layer1(x_bct, mask_b1t)
        y2_bct = self.layer2(x_bct + y1_bct, mask_b1t)
        y3_bct = self.layer3(x_bct + y1_bct + y2_bct, mask_b1t)
        return torch.relu(self.layer4(torch.cat((y1_bct, y2_bct, y3_bct), dim=1))), lengths_b


def normalise_2d(norm: nn.Module, x_bcft: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Batch-normalise (B, C, F, T) over utterances, features and valid frames; zero the padded frames."""
    bands = x_bcft.shape[2]
    mask_b1n = None if mask_b1t is None else mask_b1t.expand(-1, bands, -1).flatten(1)[:, None]
    normalised_bcn: Tensor = zero_padding(norm(x_bcft.flatten(2), mask_b1n), mask_b1n)
    return normalised_bcn.view_as(x_bcft)


class KernelAttention(nn.Module):
    """Weights of the branches, softmax_k(A_k relu(W s)), from a summary s of each utterance."""

    def __init__(self, size: int, reduction: int) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, size // reduction)
        self.fc = nn.Linear(size, hidden)
        self.fcs = nn.ModuleList(nn.Linear(hidden, size) for _ in KERNELS)

    def forward(self, summary_bs: Tensor) -> Tensor:
        """Return weights (K, B, size) that sum to 1 over the K branches."""
        hidden_bh = torch.relu(self.fc(summary_bs.to(self.fc.weight.dtype)))
        return torch.stack([expand(hidden_bh) for expand in self.fcs]).softmax(dim=0)


def weigh(weights: Tensor, branches: Sequence[Tensor]) -> Tensor:
    """Return sum_k weights[k] * branches[k]."""
    weighted = [weight * branch for weight, branch in zip(weights, branches, strict=True)]
    return torch.stack(weighted).sum(dim=0)


class ConvReluNorm(nn.Module):
    """A convolution that keeps the length, ReLU and batch normalisation over valid frames."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1, two_d: bool = False) -> None:
        super().__init__()
        make = nn.Conv2d if two_d else nn.Conv1d
        self.two_d = two_d
        self.conv = make(channels, channels, kernel, dilation=dilation, padding=kernel // 2 * dilation)
        self.bn = MaskedBatchNorm1d(channels)

    def forward(self, x: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) or (B, C, F, T) to the same shape; padded frames are zero."""
        y = torch.relu(self.conv(x))
        return normalise_2d(self.bn, y if self.two_d else y[:, :, None], mask_b1t).view_as(y)


class SelectiveKernel2d(nn.Module):
    """Two kernel sizes, weighted by the mean over all axes but frequency (axis 2) or channels (axis 1)."""

    def __init__(self, channels: int, size: int, axis: Literal[1, 2]) -> None:
        super().__init__()
        self.axis = axis
        self.convs = nn.ModuleList(ConvReluNorm(channels, kernel, two_d=True) for kernel in KERNELS)
        self.attention = KernelAttention(size, reduction=8)

    def forward(self, x_bcft: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, F, T) to the same shape."""
        branches = [conv(x_bcft, mask_b1t) for conv in self.convs]
        across_bst = torch.stack(branches).sum(dim=0).mean(dim=3 - self.axis)
        weights_kbs = self.attention(masked_mean(across_bst, mask_b1t)[..., 0])
        shape = (
            (len(KERNELS), x_bcft.shape[0], -1, 1, 1)
            if self.axis == 1
            else (len(KERNELS), x_bcft.shape[0], 1, -1, 1)
        )
        return weigh(weights_kbs.view(shape), branches)


class SelectiveKernelBlock(nn.Module):
    """relu(x + cwSKA(fwSKA(norm(relu(W * x))))) on (B, C, F, T) (the paper's figure 2)."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = MaskedBatchNorm1d(channels)
        self.skfwse = SelectiveKernel2d(channels, bands, axis=2)
        self.skcwse = SelectiveKernel2d(channels, channels, axis=1)

    def forward(self, x_bcft: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, F, T) to the same shape; input and output are zero at padded frames."""
        y_bcft = normalise_2d(self.bn1, torch.relu(self.conv1(x_bcft)), mask_b1t)
        y_bcft = self.skcwse(self.skfwse(y_bcft, mask_b1t), mask_b1t)
        return torch.relu(y_bcft + x_bcft)


class SelectiveRes2NetBlock(nn.Module):
    """SE-Res2Net block whose groups weight two kernel sizes each, by shared attention over channels."""

    def __init__(self, channels: int, dilation: int, scale: int) -> None:
        super().__init__()
        self.width = channels // scale
        inner = self.width * scale
        self.conv1 = nn.Conv1d(channels, inner, kernel_size=1)
        self.bn1 = MaskedBatchNorm1d(inner)
        self.skconvs = nn.ModuleList(
            nn.ModuleList(ConvReluNorm(self.width, kernel, dilation) for kernel in KERNELS)
            for _ in range(scale - 1)
        )
        self.skse = KernelAttention(self.width, reduction=4)
        self.conv3 = nn.Conv1d(inner, channels, kernel_size=1)
        self.bn3 = MaskedBatchNorm1d(channels)
        self.se = SqueezeExcitation(channels)

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, C, T); valid frames depend only on valid frames."""
        y_bct = zero_padding(self.bn1(torch.relu(self.conv1(x_bct)), mask_b1t), mask_b1t)
        stages = [partial(self._stage, list(convs.children()), mask_b1t) for convs in self.skconvs]
        joined_bct = res2net(torch.split(y_bct, self.width, dim=1), stages)
        y_bct = self.bn3(torch.relu(self.conv3(joined_bct)), mask_b1t)
        gated_bct: Tensor = self.se(y_bct, mask_b1t)
        return gated_bct + x_bct

    def _stage(self, convs: Iterable[nn.Module], mask_b1t: Tensor | None, x_bwt: Tensor) -> Tensor:
        branches = [conv(x_bwt, mask_b1t) for conv in convs]
        summary_bw = masked_mean(torch.stack(branches).sum(dim=0), mask_b1t)[..., 0]
        return weigh(self.skse(summary_bw)[..., None], branches)
