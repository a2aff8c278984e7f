"""What the Res2Net encoders share: the hierarchy within a block, and squeeze-excitation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean


def res2net(groups: Sequence[Tensor], stages: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """Return the joined outputs of a Res2Net block (Gao et al., 2021, equation 1), (B, C, T).

    Args:
        groups: equal shares of the channels, (B, C / scale, T) each.
        stages: one function for each group but the last. Stage i reads group i plus stage i - 1's
            output; the last group passes through.
    """
    outputs: list[Tensor] = []
    for group_bwt, stage in zip(groups, stages, strict=False):
        outputs.append(stage(group_bwt if not outputs else group_bwt + outputs[-1]))
    return torch.cat((*outputs, groups[-1]), dim=1)


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
        gate_bc1 = torch.sigmoid(self.expand(self.norm(torch.relu(self.reduce(mean_bc1)))))
        return x_bct * gate_bc1
