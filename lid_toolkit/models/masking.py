"""Masks that keep padding out of every sum: the reason an answer does not depend on the batch.

Convention: ``lengths_b`` counts each utterance's valid frames, on the CPU. A mask is None when nothing is
padded, and then every function here is its plain counterpart, at its plain speed.

Example: utterances of 3 and 1 frames in a batch of T = 3 have lengths [3, 1] and the mask
[[1, 1, 1], [1, 0, 0]]. Their means are (x_1 + x_2 + x_3) / 3 and y_1. A convolution must see zeros after
y_1, as it does after x_3: hence ``zero_padding`` before it. What it writes after y_1 (its bias, and what its
kernel reaches of y_1) would be read by the next convolution, before which ``zero_padding`` is needed again.

Shapes: b batch, t time, c channels; 1 an axis of length 1. A name without a suffix is (N, C) or (B, C, T).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def padding_mask(lengths_b: Tensor, frames: int, device: torch.device) -> Tensor | None:
    """Return a bool mask (B, 1, T), true at valid frames, or None if all ``frames`` are valid.

    Lengths on the CPU let this be tested without waiting for a device. Compiled code always uses a mask: the
    test would break its graph in two, and the mask costs it no extra pass over the data.
    """
    if not torch.compiler.is_compiling() and int(lengths_b.min()) >= frames:
        return None
    steps_t = torch.arange(frames, device=device)
    return (steps_t < lengths_b.to(device)[:, None])[:, None]


def zero_padding(x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Zero the padded frames, so that a convolution sees there what it sees past the end alone."""
    return x_bct if mask_b1t is None else x_bct.masked_fill(~mask_b1t, 0.0)


def continue_by_zeros(x_bt: Tensor, lengths_b: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
    """Append zeros to what is shorter than ``shortest``; returns (B, T, …) and the new lengths.

    A layer with a minimal length then accepts any utterance, and gives it the same result in every batch.
    """
    if int(lengths_b.min()) >= shortest:
        return x_bt, lengths_b
    mask_b1t = padding_mask(lengths_b, x_bt.shape[1], x_bt.device)
    inner = x_bt.dim() - 2
    if mask_b1t is not None:
        x_bt = x_bt.masked_fill(~mask_b1t[:, 0].view(*x_bt.shape[:2], *[1] * inner), 0.0)
    missing = max(shortest - x_bt.shape[1], 0)
    return F.pad(x_bt, (0, 0) * inner + (0, missing)), lengths_b.clamp(min=shortest)


def mirror_ends(x_bt: Tensor, lengths_b: Tensor, reach: int) -> Tensor:
    """Reflect (B, …, T) over time, at the start and at each utterance's own end; returns T + 2 * reach.

    Lengths must exceed ``reach``. Beyond an utterance's mirrored end the values are arbitrary: no valid
    frame reads them.
    """
    frames = x_bt.shape[-1]
    if int(lengths_b.min()) >= frames:
        return F.pad(x_bt.view(len(x_bt), -1, frames), (reach, reach), mode="reflect").view(
            *x_bt.shape[:-1], -1
        )
    # Reflected twice: |i| at the start, last - |last - i| at the end. With reach 2, 3 valid frames a b c of 4
    # are read at 2 1 0 1 2 1 0 0: c b a b c b a, and one place that no valid frame needs.
    position_t = torch.arange(-reach, frames + reach, device=x_bt.device).abs()
    last_b1 = (lengths_b.to(x_bt.device) - 1)[:, None]
    source_bt = (last_b1 - (last_b1 - position_t).abs()).clamp(min=0)
    inner = x_bt.shape[1:-1]
    return x_bt.gather(-1, source_bt.view(len(x_bt), *[1] * len(inner), -1).expand(-1, *inner, -1))


def masked_mean(x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Return the mean over valid frames, (B, C, 1), summed in float32 at least."""
    x_bct = widened(x_bct)
    if mask_b1t is None:
        return x_bct.mean(dim=2, keepdim=True)
    count_b11 = mask_b1t.sum(dim=2, keepdim=True).to(x_bct.dtype)
    return zero_padding(x_bct, mask_b1t).sum(dim=2, keepdim=True) / count_b11


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy, 2015) whose statistics come from valid frames only.

    Parameters, buffers and results on unpadded input are those of ``nn.BatchNorm1d``. With padding,
    training uses mean and biased variance over the valid frames of the batch, and the running
    variance is the unbiased one, as PyTorch's is; padded frames get no gradient through them.
    A single value for each channel has no variance: it is normalised by the running statistics, so that a
    batch of one utterance can be trained on.
    """

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None = None) -> Tensor:
        """Normalise (B, C, T) or (B, C); in training over the frames where the mask is true."""
        if self.training and x_bct.numel() == x_bct.shape[1]:
            return F.batch_norm(
                x_bct, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        # On a CPU, PyTorch sums the rows of (N, C) one after the other, which costs float32 three digits.
        rows_in_float32 = x_bct.dim() == 2 and x_bct.device.type == "cpu" and x_bct.dtype == torch.float32
        if not self.training or (mask_b1t is None and not rows_in_float32):
            return super().forward(x_bct)
        count = torch.tensor(len(x_bct)) if mask_b1t is None else mask_b1t.sum()
        apply = normalise if torch.compiler.is_compiling() else _Normalise.apply
        normalised_bct, mean_c, variance_c = apply(x_bct, mask_b1t, count, self.weight, self.bias, self.eps)
        self._update_running(mean_c, variance_c * count / (count - 1).clamp(min=1))
        return normalised_bct

    @torch.no_grad()
    def _update_running(self, mean_c: Tensor, variance_c: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_c, momentum)
        self.running_var.lerp_(variance_c, momentum)


def normalise(
    x: Tensor, mask: Tensor | None, count: Tensor, weight_c: Tensor, bias_c: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise channels (axis 1) over the ``count`` frames where the mask is true, all without one.

    Returns the result, zero before the bias at padding, mean and biased variance.
    """
    mean_c = frame_sum(zero_padding(widened(x), mask)) / count
    centred = centre(x, mean_c, mask)
    variance_c = frame_sum(centred.square()) / count
    scale_c = weight_c * torch.rsqrt(variance_c + eps)
    return torch.addcmul(beside(bias_c, x), centred, beside(scale_c, x)).to(x.dtype), mean_c, variance_c


class _Normalise(torch.autograd.Function):
    """``normalise`` with a gradient of fewer passes, for which x is kept and nothing else of its size.

    With d = x - mean, v the variance, g the output's gradient and s = weight / sqrt(v + eps), the gradient
    for x is s (g - mean(g) - d mean(g d) / (v + eps)). Compiled code uses ``normalise`` itself: it fuses the
    passes anyway, and PyTorch 2.11 compiles this class to gradients of zero.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor | None, count: Tensor, weight_c: Tensor, bias_c: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``normalise`` does; no gradient flows through mean and variance."""
        normalised, mean_c, variance_c = normalise(x, mask, count, weight_c, bias_c, eps)
        ctx.save_for_backward(x, mask, count, weight_c, mean_c, torch.rsqrt(variance_c + eps))
        ctx.mark_non_differentiable(mean_c, variance_c)
        return normalised, mean_c, variance_c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for x, weight and bias, of the shapes of these."""
        x, mask, count, weight_c, mean_c, rstd_c = ctx.saved_tensors
        gradient = zero_padding(widened(gradient), mask)
        centred = centre(x, mean_c, mask)
        for_bias_c = frame_sum(gradient)
        along_c = frame_sum(gradient * centred)
        scale_c = weight_c * rstd_c
        for_x = centred.mul_(beside(scale_c * rstd_c.square() * along_c / -count, x))
        for_x.addcmul_(gradient, beside(scale_c, x)).sub_(beside(scale_c * for_bias_c / count, x))
        return zero_padding(for_x, mask).to(x.dtype), None, None, along_c * rstd_c, for_bias_c, None


def widened(x: Tensor) -> Tensor:
    """Return float32, or float64 as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def beside(values_c: Tensor, x: Tensor) -> Tensor:
    """Return a view of (C,) that broadcasts along axis 1 of (N, C) or (B, C, T)."""
    return values_c.view(1, -1, *[1] * (x.dim() - 2))


def centre(x: Tensor, mean_c: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Return x - mean, zero at padding, in the mean's number format."""
    centred = x - beside(mean_c, x)
    return centred if mask_b1t is None else centred.masked_fill_(~mask_b1t, 0.0)


def frame_sum(x: Tensor) -> Tensor:
    """Return each channel's sum (C,) over (N, C) or (B, C, T)."""
    return x.sum(dim=(0, *range(2, x.dim())))
