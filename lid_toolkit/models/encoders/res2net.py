"""Parts of all Res2Net encoders: the hierarchy within a block, and squeeze-excitation.

Shapes: b batch, t time, c channels, w channels of a group, h hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lid_toolkit.models.frame_rows import convolve
from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean, zero_padding


def res2net(groups: Sequence[Tensor], functions: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """Return the joined outputs of a Res2Net block (Gao et al., 2021, equation 1); axis 1 is the channels.

    Args:
        groups: equal parts of the channels, (B, C / scale, T) or (N, C / scale) each.
        functions: one for each group but the last. The input of function i is group i plus the output of
            function i - 1. The last group is not changed.
    """
    outputs: list[Tensor] = []
    for group_bwt, function in zip(groups, functions, strict=False):
        outputs.append(function(group_bwt if not outputs else group_bwt + outputs[-1]))
    return torch.cat((*outputs, groups[-1]), dim=1)


def stages(
    convs: Iterable[nn.Module], norms: Iterable[nn.Module], mask_b1t: Tensor | None
) -> list[Callable[[Tensor], Tensor]]:
    """Return the usual functions of the groups: norm(relu(conv(x))), with zeros at padded frames."""

    def stage(conv: nn.Module, norm: nn.Module, x_bwt: Tensor) -> Tensor:
        return zero_padding(norm(torch.relu(conv(x_bwt)), mask_b1t), mask_b1t)

    return [partial(stage, conv, norm) for conv, norm in zip(convs, norms, strict=True)]


class SqueezeExcitation(nn.Module):
    """Channel gates from the mean over time (Hu, Shen and Sun, 2018); mean over valid frames only."""

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(channels, bottleneck, kernel_size=1)
        self.norm = MaskedBatchNorm1d(bottleneck)
        self.expand = nn.Conv1d(bottleneck, channels, kernel_size=1)

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Scale each channel of (B, C, T) by its gate in (0, 1)."""
        mean_bc1 = masked_mean(x_bct, mask_b1t).to(x_bct.dtype)
        return x_bct * self.gates(mean_bc1[..., 0])[..., None]

    def gates(self, mean_bc: Tensor) -> Tensor:
        """Return the gates (B, C) from the means over time (B, C)."""
        hidden_bh = self.norm(torch.relu(convolve(self.reduce, mean_bc)))
        return torch.sigmoid(convolve(self.expand, hidden_bh))
