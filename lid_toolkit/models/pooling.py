"""Poolings: frame-level outputs to one vector for each utterance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean, padding_mask, zero_padding

VARIANCE_RANGE = (1e-4, 1e4)
CONTEXT_VARIANCE_FLOOR = 1e-10


class ChannelAttentiveStatistics(nn.Module):
    """Channel- and context-dependent attentive statistics, (B, C, T) to (B, 2 C) (``chn_attn_stat``).

    ECAPA-TDNN, section 3.1, equations 2 to 5 (Desplanques et al., 2020): from the frame x_t, the
    utterance's mean m and deviation s, weights a_t = softmax_t(V norm(relu(W [x_t; m; s]))) for each
    channel; output mu = sum_t a_t x_t and the square root of sum_t a_t (x_t - mu)^2.

    Args:
        input_size: channels C of the encoder's output; the output has 2 C.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = 2 * input_size
        self.score_frame = nn.Conv1d(3 * input_size, 128, kernel_size=1)
        self.norm = MaskedBatchNorm1d(128)
        self.score_channel = nn.Conv1d(128, input_size, kernel_size=1)

    def forward(self, x_bct: Tensor, lengths_b: Tensor) -> Tensor:
        """Return (B, 2 C) in float32 from (B, C, T) and the valid frames of each."""
        mask_b1t = padding_mask(lengths_b, x_bct.shape[2], x_bct.device)
        hidden_bht = torch.relu(score_frames(self.score_frame, x_bct, mask_b1t, CONTEXT_VARIANCE_FLOOR))
        weights_bct = masked_softmax(self.score_channel(self.norm(hidden_bht, mask_b1t)), mask_b1t)
        x32_bct = zero_padding(x_bct.float(), mask_b1t)
        mean_bc1 = (x32_bct * weights_bct).sum(dim=2, keepdim=True)
        variance_bc1 = ((x32_bct - mean_bc1).square() * weights_bct).sum(dim=2, keepdim=True)
        return torch.cat((mean_bc1, variance_bc1.clamp(*VARIANCE_RANGE).sqrt()), dim=1)[..., 0]


def score_frames(conv: nn.Conv1d, x_bct: Tensor, mask_b1t: Tensor | None, floor: float) -> Tensor:
    """Apply a 1x1 convolution to (frame, mean, deviation) without repeating the last two T times.

    The convolution of a concatenation is the sum of the convolutions of its parts, and those of mean
    and deviation are the same at every frame: a third of the work and of the memory. ``floor`` is the
    least variance.
    """
    mean_bc1 = masked_mean(x_bct, mask_b1t)
    variance_bc1 = masked_mean((x_bct - mean_bc1).square(), mask_b1t)
    deviation_bc1 = variance_bc1.clamp(min=floor).sqrt()
    frame_w, mean_w, deviation_w = conv.weight.chunk(3, dim=1)
    context_bh1 = F.conv1d(
        torch.cat((mean_bc1, deviation_bc1), dim=1), torch.cat((mean_w, deviation_w), dim=1), conv.bias
    )
    return F.conv1d(x_bct, frame_w) + context_bh1


def masked_softmax(scores_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Return weights (B, C, T) in float32 that sum to 1 over the valid frames."""
    scores_bct = scores_bct.float()
    if mask_b1t is not None:
        scores_bct = scores_bct.masked_fill(~mask_b1t, -torch.inf)
    return torch.softmax(scores_bct, dim=2)


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over valid frames, (B, C, T) to (B, 2 C) (``stats``; Snyder et al., 2018).

    The biased deviation, of a variance between 1.2e-7 and 1e4 as in ESPnet.

    Args:
        input_size: channels C of the encoder's output.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = 2 * input_size

    def forward(self, x_bct: Tensor, lengths_b: Tensor) -> Tensor:
        """Return (B, 2 C) in float32 from (B, C, T) and the valid frames of each."""
        mask_b1t = padding_mask(lengths_b, x_bct.shape[2], x_bct.device)
        mean_bc1 = masked_mean(x_bct, mask_b1t)
        variance_bc1 = masked_mean((x_bct - mean_bc1).square(), mask_b1t)
        deviation_bc1 = variance_bc1.clamp(torch.finfo(torch.float32).eps, VARIANCE_RANGE[1]).sqrt()
        return torch.cat((mean_bc1, deviation_bc1), dim=1)[..., 0]


class MeanPooling(nn.Module):
    """Mean over valid frames, (B, C, T) to (B, C) (``mean``).

    Args:
        input_size: channels C of the encoder's output.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, x_bct: Tensor, lengths_b: Tensor) -> Tensor:
        """Return (B, C) in float32 from (B, C, T) and the valid frames of each."""
        return masked_mean(x_bct, padding_mask(lengths_b, x_bct.shape[2], x_bct.device))[..., 0]
