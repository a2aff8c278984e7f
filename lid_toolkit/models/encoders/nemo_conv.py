"""NeMo's encoder of separable convolutions with squeeze-excitation (``encoder: nemo_conv``).

AmberNet (Jia et al., ICASSP 2023) and TitaNet (Koluguri et al., ICASSP 2022) have it. Exact under padding.

Shapes: b batch, t time, d features, c channels.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict
from torch import Tensor, nn

from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean, padding_mask, zero_padding

NORM_EPS = 1e-3


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("must be odd, so that the convolution is centred")
    return number


class Block(BaseModel):
    """A block of convolutions.

    Attributes:
        filters: number of channels of the output.
        repeat: number of convolutions.
        kernel: size of their kernels in frames, an odd number.
        dilation: frames between the kernels' weights.
        residual: add a projection of the input to the output.
        separable: a convolution in each channel, then one across channels, instead of both at once.
        se: scale the channels by squeeze-excitation.
        se_reduction: channels divided by the hidden units of squeeze-excitation.
    """

    model_config = ConfigDict(extra="forbid")

    filters: PositiveInt
    repeat: PositiveInt = 1
    kernel: Annotated[PositiveInt, AfterValidator(_odd)] = 1
    dilation: PositiveInt = 1
    residual: bool = False
    separable: bool = True
    se: bool = True
    se_reduction: PositiveInt = 8


@component(small={"blocks": [{"filters": 16, "kernel": 3}, {"filters": 16, "repeat": 2, "residual": True}]})
class NemoConvEncoder(nn.Module):
    """Blocks x -> relu(SE(norm(W_R ... relu(norm(W_1 x)))) + norm(P x)); the sum only with ``residual``.

    NeMo's ``ConvASREncoder`` with ``conv_mask``. (B, T, D) to (B, filters of the last block, T). Its weights
    begin as NeMo's: uniform, with the variance of Glorot and Bengio (AISTATS 2010).

    Args:
        input_size: feature dimension D.
        blocks: the blocks, each with ``filters``, ``repeat``, ``kernel``, ``dilation``, ``residual``,
            ``separable``, ``se`` and ``se_reduction``.
    """

    def __init__(self, input_size: int, blocks: list[Block]) -> None:
        super().__init__()
        widths = [input_size, *(block.filters for block in blocks)]
        self.blocks = nn.ModuleList(
            NemoBlock(width, block) for width, block in zip(widths, blocks, strict=False)
        )
        self.output_size = widths[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                # PyTorch's kernels of single channels are six times as large.
                nn.init.xavier_uniform_(module.weight)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size, T) and their lengths (B,).

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU.
        """
        x_bct = feats_btd.transpose(1, 2)
        mask_b1t = padding_mask(lengths_b, x_bct.shape[2], x_bct.device)
        for block in self.blocks:
            x_bct = block(x_bct, mask_b1t)
        return x_bct, lengths_b


class NemoBlock(nn.Module):
    """A block; see :class:`NemoConvEncoder`."""

    def __init__(self, input_size: int, block: Block) -> None:
        super().__init__()
        sizes = [input_size, *[block.filters] * block.repeat]
        self.stages = nn.ModuleList(
            Stage(sizes[place], block.filters, block.kernel, block.dilation, block.separable)
            for place in range(block.repeat)
        )
        self.se = SqueezeExcitation(block.filters, block.se_reduction) if block.se else None
        self.residual = Stage(input_size, block.filters, 1, 1, separable=False) if block.residual else None

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, filters, T)."""
        y_bct = x_bct
        for place, stage in enumerate(self.stages):
            y_bct = stage(torch.relu(y_bct) if place else y_bct, mask_b1t)
        if self.se is not None:
            y_bct = self.se(y_bct, mask_b1t)
        if self.residual is not None:
            y_bct = y_bct + self.residual(x_bct, mask_b1t)
        return torch.relu(y_bct)


class Stage(nn.Module):
    """A convolution, separable or not, and batch normalisation."""

    def __init__(self, input_size: int, filters: int, kernel: int, dilation: int, separable: bool) -> None:
        super().__init__()
        reach = dilation * (kernel - 1) // 2
        between = input_size if separable else filters
        groups = input_size if separable else 1
        self.conv = nn.Conv1d(
            input_size, between, kernel, padding=reach, dilation=dilation, groups=groups, bias=False
        )
        self.mix = nn.Conv1d(input_size, filters, 1, bias=False) if separable else None
        self.norm = MaskedBatchNorm1d(filters, eps=NORM_EPS)

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, filters, T)."""
        y_bct = self.conv(zero_padding(x_bct, mask_b1t))
        normalised_bct: Tensor = self.norm(y_bct if self.mix is None else self.mix(y_bct), mask_b1t)
        return normalised_bct


class SqueezeExcitation(nn.Module):
    """Each channel times sigmoid(V relu(W m)), where m is the mean over the utterance's frames."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, max(channels // reduction, 1), bias=False)
        self.expand = nn.Linear(max(channels // reduction, 1), channels, bias=False)

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, C, T)."""
        mean_bc = masked_mean(x_bct, mask_b1t)[..., 0].to(x_bct.dtype)
        return x_bct * torch.sigmoid(self.expand(torch.relu(self.reduce(mean_bc))))[..., None]
