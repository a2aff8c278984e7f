"""Poolings: frame-level outputs to one vector for each utterance.

Shapes: b batch, t time, c channels, h hidden units, w input channels of a weight; 1 an axis of length 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.arguments import PositiveFloat, PositiveInt, component
from lid_toolkit.models.autograd import Context
from lid_toolkit.models.frame_rows import convolve
from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean, padding_mask, time_sum, widened
from lid_toolkit.models.row_map import map_rows

VARIANCE_RANGE = (1e-4, 1e4)
"""ESPnet's limits of weighted variances."""
PLAIN_VARIANCE_RANGE = (torch.finfo(torch.float32).eps, 1e4)
"""ESPnet's limits of variances without weights."""
SPEECHBRAIN_VARIANCE_FLOOR = 1e-12


class EspnetPooling(nn.Module):
    """What the poolings of ESPnet share: the number of frames that a plain mean divides by.

    ESPnet 202511 divides sums over the frames of the encoder's output by the number of frames of the
    features. With an encoder that keeps every frame, this is the mean. With one that makes fewer
    (``rawnet3``, ``ska_tdnn``, ``mfaconformer``, ``xvector``), means and variances are too small, but models
    that ESPnet trained need them.

    Args:
        mean_over: the frames that are counted: those of the ``encoder``, or those of the ``features``, which
            models of ESPnet need.
    """

    def __init__(self, mean_over: Literal["encoder", "features"]) -> None:
        super().__init__()
        self.counts_features = mean_over == "features"


class ChannelAttentiveStatistics(EspnetPooling):
    """Channel- and context-dependent attentive statistics, (B, C, T) to (B, 2 C) (``chn_attn_stat``).

    ECAPA-TDNN, section 3.1, equations 2 to 5 (Desplanques et al., 2020): from the frame x_t, the
    utterance's mean m and deviation s, weights a_t = softmax_t(V norm(relu(W [x_t; m; s]))) for each
    channel; output mu = sum_t a_t x_t and the square root of sum_t a_t (x_t - mu)^2. Variances are limited as
    in ESPnet: that of s^2 to 1.2e-7 to 1e4, the other one to 1e-4 to 1e4.

    Args:
        input_size: channels C of the encoder's output; the output has 2 C.
        mean_over: the frames that m and s count, see :class:`EspnetPooling`. With ``features``, s is the
            deviation of the encoder's frames and as many zeros as it has fewer frames than the features.
    """

    def __init__(self, input_size: int, mean_over: Literal["encoder", "features"] = "encoder") -> None:
        super().__init__(mean_over)
        self.output_size = 2 * input_size
        self.score_frame = nn.Conv1d(3 * input_size, 128, kernel_size=1)
        self.norm = MaskedBatchNorm1d(128)
        self.score_channel = nn.Conv1d(128, input_size, kernel_size=1)

    def forward(self, x_bct: Tensor, lengths_b: Tensor, frames_b: Tensor | None = None) -> Tensor:
        """Return (B, 2 C) in float32 from (B, C, T) and the valid frames of each.

        ``frames_b`` are those of the features, for ``mean_over: features``.
        """
        x_btc = x_bct.transpose(1, 2).contiguous()
        mask_b1t = padding_mask(lengths_b, x_btc.shape[1], x_btc.device)
        mean_bc, variance_bc = moments(x_btc, None, lengths_b)
        if frames_b is not None:
            share_b1 = share_of(frames_b, lengths_b, x_btc.device)
            variance_bc = share_b1 * (variance_bc + (1 - share_b1) * mean_bc.square())
            mean_bc = share_b1 * mean_bc
        deviation_bc = variance_bc.clamp(*PLAIN_VARIANCE_RANGE).sqrt()
        hidden_bth = torch.relu(score_frames(self.score_frame, x_btc, mean_bc, deviation_bc))
        hidden_bth = self.norm(hidden_bth.transpose(1, 2), mask_b1t).transpose(1, 2)
        scores_btc = convolve(self.score_channel, hidden_bth)
        mean_bc, variance_bc = moments(x_btc, scores_btc, lengths_b)
        return torch.cat((mean_bc, variance_bc.clamp(*VARIANCE_RANGE).sqrt()), dim=1)


@component(small={"attention_channels": 4})
class SpeechBrainAttentiveStatistics(nn.Module):
    """Attentive statistics with SpeechBrain's tanh, (B, C, T) to (B, 2 C) (Okabe et al., Interspeech 2018).

    From the frame x_t, the utterance's mean m and deviation s, weights a_t = softmax_t(V tanh(norm(
    relu(W [x_t; m; s])))) for each channel; output their mean mu = sum_t a_t x_t and the square root of
    sum_t a_t (x_t - mu)^2.

    Args:
        input_size: channels C of the encoder's output.
        attention_channels: hidden units of the attention.
        variance_floor: lower limit of the variances, 1e-12 in SpeechBrain and 1e-10 in NeMo.
    """

    def __init__(
        self,
        input_size: int,
        attention_channels: PositiveInt = 128,
        variance_floor: PositiveFloat = SPEECHBRAIN_VARIANCE_FLOOR,
    ) -> None:
        super().__init__()
        self.variance_floor = variance_floor
        self.output_size = 2 * input_size
        self.score_frame = nn.Conv1d(3 * input_size, attention_channels, kernel_size=1)
        self.norm = MaskedBatchNorm1d(attention_channels)
        self.score_channel = nn.Conv1d(attention_channels, input_size, kernel_size=1)

    def forward(self, x_bct: Tensor, lengths_b: Tensor) -> Tensor:
        """Return (B, 2 C) in float32 from (B, C, T) and the valid frames of each."""
        x_btc = x_bct.transpose(1, 2).contiguous()
        mask_b1t = padding_mask(lengths_b, x_btc.shape[1], x_btc.device)
        mean_bc, variance_bc = moments(x_btc, None, lengths_b)
        deviation_bc = variance_bc.clamp(min=self.variance_floor).sqrt()
        hidden_bth = torch.relu(score_frames(self.score_frame, x_btc, mean_bc, deviation_bc))
        hidden_bth = torch.tanh(self.norm(hidden_bth.transpose(1, 2), mask_b1t)).transpose(1, 2)
        mean_bc, variance_bc = moments(x_btc, convolve(self.score_channel, hidden_bth), lengths_b)
        return torch.cat((mean_bc, variance_bc.clamp(min=self.variance_floor).sqrt()), dim=1)


def score_frames(conv: nn.Conv1d, x_btc: Tensor, mean_bc: Tensor, deviation_bc: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (frame, mean, deviation) without repeating mean and deviation T times.

    A convolution of a concatenation is the sum of the convolutions of its parts, and those of mean and
    deviation are the same at every frame. This takes a third of the work and memory. Maps (B, T, C) to
    (B, T, H).
    """
    frame_w, mean_w, deviation_w = conv.weight[:, :, 0].chunk(3, dim=1)
    context_bh = F.linear(
        torch.cat((mean_bc, deviation_bc), dim=1), torch.cat((mean_w, deviation_w), dim=1), conv.bias
    )
    hidden_bth = map_rows(x_btc.flatten(0, 1), frame_w).view(*x_btc.shape[:2], -1)
    return hidden_bth + context_bh[:, None]


def moments(x_btc: Tensor, scores_btc: Tensor | None, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance over valid frames, both (B, C) in float32 at least.

    mu = sum_t a_t x_t and sum_t a_t (x_t - mu)^2, where a_t = softmax_t(scores) for each channel; without
    scores all frames have the same weight. ``lengths_b`` is on the CPU.
    """
    if x_btc.device.type != "cpu" or torch.compiler.is_compiling():
        mask_b1t = padding_mask(lengths_b, x_btc.shape[1], x_btc.device)
        mask_bt1 = None if mask_b1t is None else mask_b1t.transpose(1, 2)
        mean_bc, variance_bc = _Moments.apply(x_btc, scores_btc, mask_bt1)  # type: ignore[no-untyped-call]
        return mean_bc, variance_bc
    # A single utterance fits into a CPU's cache, which makes the passes over it several times faster.
    scores = [None] * len(x_btc) if scores_btc is None else torch.split(scores_btc, 1)
    pairs = [
        _Moments.apply(x_1tc[:, :frames], None if s_1tc is None else s_1tc[:, :frames], None)  # type: ignore[no-untyped-call]
        for x_1tc, s_1tc, frames in zip(torch.split(x_btc, 1), scores, lengths_b.tolist(), strict=True)
    ]
    return torch.cat([mean_1c for mean_1c, _ in pairs]), torch.cat([variance_1c for _, variance_1c in pairs])


class _Moments(torch.autograd.Function):
    """The moments, with a gradient that needs only their inputs and results.

    With d = x - mu, the variance v, and the gradients g_mu for the mean and g_v for the variance, the
    gradient for x is a (g_mu + 2 g_v d), and that for the scores is a (g_mu d + g_v (d^2 - v)).
    """

    @staticmethod
    def forward(
        ctx: Context, x_btc: Tensor, scores_btc: Tensor | None, mask_bt1: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and variance, both (B, C)."""
        wide_btc, weights_btc = with_weights(x_btc, scores_btc, mask_bt1)
        mean_bc = time_sum(wide_btc * weights_btc)
        variance_bc = time_sum((wide_btc - mean_bc[:, None]).square_().mul_(weights_btc))
        ctx.save_for_backward(x_btc, scores_btc, mask_bt1, mean_bc, variance_bc)
        return mean_bc, variance_bc

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Context, for_mean_bc: Tensor, for_variance_bc: Tensor
    ) -> tuple[Tensor, Tensor | None, None]:
        """Return the gradients (B, T, C) for x and, if there are any, the scores."""
        x_btc, scores_btc, mask_bt1, mean_bc, variance_bc = ctx.saved_tensors
        wide_btc, weights_btc = with_weights(x_btc, scores_btc, mask_bt1)
        centred_btc = wide_btc - mean_bc[:, None]
        half_btc = centred_btc * for_variance_bc[:, None]
        sum_btc = half_btc + for_mean_bc[:, None]
        for_x_btc = half_btc.add_(sum_btc).mul_(weights_btc).to(x_btc.dtype)
        if scores_btc is None:
            return for_x_btc, None, None
        for_scores_btc = sum_btc.mul_(centred_btc).sub_((for_variance_bc * variance_bc)[:, None])
        return for_x_btc, for_scores_btc.mul_(weights_btc).to(scores_btc.dtype), None


def with_weights(x_btc: Tensor, scores_btc: Tensor | None, mask_bt1: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the inputs, zero at padding, and weights that sum to 1, both in float32 at least."""
    x_btc = widened(x_btc)
    if mask_bt1 is None:
        mask_bt1 = x_btc.new_ones(1, x_btc.shape[1], 1, dtype=torch.bool)
    else:
        x_btc = x_btc.masked_fill(~mask_bt1, 0.0)
        scores_btc = None if scores_btc is None else scores_btc.masked_fill(~mask_bt1, -torch.inf)
    if scores_btc is None:
        return x_btc, mask_bt1.to(x_btc.dtype) / mask_bt1.sum(dim=1, keepdim=True)
    return x_btc, torch.softmax(widened(scores_btc), dim=1)


class StatisticsPooling(EspnetPooling):
    """Mean and standard deviation over valid frames, (B, C, T) to (B, 2 C) (``stats``; Snyder et al., 2018).

    The deviation is biased, and its square is limited to 1.2e-7 to 1e4, as in ESPnet.

    Args:
        input_size: channels C of the encoder's output.
        mean_over: the frames that are counted, see :class:`EspnetPooling`.
    """

    def __init__(self, input_size: int, mean_over: Literal["encoder", "features"] = "encoder") -> None:
        super().__init__(mean_over)
        self.output_size = 2 * input_size

    def forward(self, x_bct: Tensor, lengths_b: Tensor, frames_b: Tensor | None = None) -> Tensor:
        """Return (B, 2 C) in float32; the arguments are those of :class:`ChannelAttentiveStatistics`."""
        mean_bc, variance_bc = moments(x_bct.transpose(1, 2), None, lengths_b)
        if frames_b is not None:
            share_b1 = share_of(frames_b, lengths_b, x_bct.device)
            variance_bc = share_b1 * (variance_bc + ((1 - share_b1) * mean_bc).square())
            mean_bc = share_b1 * mean_bc
        return torch.cat((mean_bc, variance_bc.clamp(*PLAIN_VARIANCE_RANGE).sqrt()), dim=1)


class MeanPooling(EspnetPooling):
    """Mean over valid frames, (B, C, T) to (B, C) (``mean``).

    Args:
        input_size: channels C of the encoder's output.
        mean_over: the frames that are counted, see :class:`EspnetPooling`.
    """

    def __init__(self, input_size: int, mean_over: Literal["encoder", "features"] = "encoder") -> None:
        super().__init__(mean_over)
        self.output_size = input_size

    def forward(self, x_bct: Tensor, lengths_b: Tensor, frames_b: Tensor | None = None) -> Tensor:
        """Return (B, C) in float32; the arguments are those of :class:`ChannelAttentiveStatistics`."""
        mean_bc = masked_mean(x_bct, padding_mask(lengths_b, x_bct.shape[2], x_bct.device))[..., 0]
        return mean_bc if frames_b is None else share_of(frames_b, lengths_b, x_bct.device) * mean_bc


def share_of(frames_b: Tensor, lengths_b: Tensor, device: torch.device) -> Tensor:
    """Return the frames of the encoder's output as a share of those of the features, (B, 1)."""
    return (lengths_b / frames_b).to(device, non_blocking=True)[:, None]
