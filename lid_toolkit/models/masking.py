"""Masks that keep padding out of every sum, so that results do not depend on the batch.

Convention: ``lengths_b`` is the number of valid frames of each utterance, on the CPU. A mask is None if
nothing is padded; every function is then as fast as the one of PyTorch. A GPU gets a copy of the lengths and
makes a mask only once for each tensor of lengths, and the host never waits for it.

Example: utterances of 3 and 1 frames in a batch of T = 3 have lengths [3, 1] and the mask
[[1, 1, 1], [1, 0, 0]]. Their means are (x_1 + x_2 + x_3) / 3 and y_1. A convolution must read zeros after
y_1, as it does after x_3, so ``zero_padding`` comes before it. Its output after y_1 is not zero (it has a
bias, and the kernel reaches y_1), so the next convolution needs ``zero_padding`` again.

Shapes: b batch, t time, c channels; 1 an axis of length 1. A name without a suffix is (N, C) or (B, C, T).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.autograd import Context
from lid_toolkit.models.exporting import is_exporting


def padding_mask(lengths_b: Tensor, frames: int, device: torch.device) -> Tensor | None:
    """Return a bool mask (B, 1, T), true at valid frames, or None if all ``frames`` are valid.

    With lengths on the CPU, this test does not wait for a device. Compiled code always uses a mask: the test
    would split its graph, and in compiled code a mask costs no extra pass over the data.
    """

    def make() -> Tensor:
        return (torch.arange(frames, device=device) < on_device(lengths_b, device)[:, None])[:, None]

    if torch.compiler.is_compiling():
        return make()
    if int(lengths_b.min()) >= frames:
        return None
    return _made_once(lengths_b, ("mask", frames, device), make)


def on_device(lengths_b: Tensor, device: torch.device) -> Tensor:
    """Return lengths, which are on the CPU, on a device; they are copied once, and the host does not wait."""
    if torch.compiler.is_compiling() or lengths_b.device == device:
        return lengths_b.to(device)
    return _made_once(lengths_b, device, lambda: lengths_b.to(device, non_blocking=True))


def _made_once(lengths_b: Tensor, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
    """Return what ``make`` makes of lengths; kept in an attribute of their tensor until that is freed."""
    kept: dict[Hashable, Tensor] = vars(lengths_b).setdefault("made_of_them", {})
    key = (key, *lengths_b.tolist())  # so that lengths that were changed in place are other lengths
    if key not in kept:
        with torch.inference_mode(mode=False):  # so that it may be used in training too
            kept[key] = make()
    return kept[key]


def zero_padding(x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Zero the padded frames, so that a convolution reads the zeros that it reads without a batch."""
    return x_bct if mask_b1t is None else x_bct.masked_fill(~mask_b1t, 0.0)


def continue_by_zeros(x_bt: Tensor, lengths_b: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
    """Pad utterances shorter than ``shortest`` with zeros; return (B, T, …) and the new lengths.

    A layer with a minimum length then accepts any utterance, and its result is the same in every batch.
    """
    if not torch.compiler.is_compiling() and int(lengths_b.min()) >= shortest:
        return x_bt, lengths_b
    mask_b1t = padding_mask(lengths_b, x_bt.shape[1], x_bt.device)
    inner = x_bt.dim() - 2
    if mask_b1t is not None:
        x_bt = x_bt.masked_fill(~mask_b1t[:, 0].view(*x_bt.shape[:2], *[1] * inner), 0.0)
    missing = max(shortest - x_bt.shape[1], 0)
    return F.pad(x_bt, (0, 0) * inner + (0, missing)), lengths_b.clamp(min=shortest)


def mirror_ends(x_bt: Tensor, lengths_b: Tensor, reach: int) -> Tensor:
    """Mirror (B, …, T) in time at the start and at each utterance's own end; return T + 2 * reach frames.

    Lengths must exceed ``reach``. After an utterance's mirrored end the values are arbitrary: no valid
    frame reads them.
    """
    frames = x_bt.shape[-1]
    if not torch.compiler.is_compiling() and int(lengths_b.min()) >= frames:
        return F.pad(x_bt.view(x_bt.shape[0], -1, frames), (reach, reach), mode="reflect").view(
            *x_bt.shape[:-1], -1
        )
    # Mirrored twice: |i| at the start, last - |last - i| at the end. Example: an utterance a b c in a batch
    # of 4 frames, reach 2. The indices are 2 1 0 1 2 1 0 0: c b a b c b a, and one that no valid frame needs.
    position_t = torch.arange(-reach, frames + reach, device=x_bt.device).abs()
    last_b1 = (on_device(lengths_b, x_bt.device) - 1)[:, None]
    source_bt = (last_b1 - (last_b1 - position_t).abs()).clamp(min=0)
    inner = x_bt.shape[1:-1]
    return x_bt.gather(-1, source_bt.view(x_bt.shape[0], *[1] * len(inner), -1).expand(-1, *inner, -1))


def masked_mean(x_bct: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Return the mean over valid frames, (B, C, 1), summed in float32 at least."""
    x_bct = widened(x_bct)
    if mask_b1t is None:
        return x_bct.mean(dim=2, keepdim=True)
    count_b11 = mask_b1t.sum(dim=2, keepdim=True).to(x_bct.dtype)
    return zero_padding(x_bct, mask_b1t).sum(dim=2, keepdim=True) / count_b11


def time_sum(x_btc: Tensor) -> Tensor:
    """Return the sum over frames, (B, T, C) to (B, C)."""
    if is_exporting():  # onnxruntime adds rows ten times as slowly as it multiplies matrices
        return (x_btc.new_ones(1, 1, x_btc.shape[1]) @ x_btc)[:, 0]
    return x_btc.sum(dim=1)


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy, 2015) whose statistics come from valid frames only.

    Parameters, buffers and results on unpadded input are those of ``nn.BatchNorm1d``. With padding, training
    uses the mean and the biased variance over the valid frames of the batch. As in PyTorch, the running
    variance is unbiased. Padded frames get no gradient through the statistics. A single value per channel
    has no variance: the running statistics are used, so that a batch of one utterance can be trained on.
    """

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None = None) -> Tensor:
        """Normalise (B, C, T) or (B, C); in training, by the statistics of the frames in the mask."""
        if self.training and x_bct.numel() == x_bct.shape[1]:
            return F.batch_norm(
                x_bct, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if is_exporting() and self.running_mean is not None and self.running_var is not None:
            # Runtimes normalise (N, C) slowly, and fold these constants.
            scale_c = self.weight * torch.rsqrt(self.running_var + self.eps)
            shift_c = self.bias - self.running_mean * scale_c
            return x_bct * beside(scale_c, x_bct) + beside(shift_c, x_bct)
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
    """Normalise channels (axis 1) by the statistics of the ``count`` frames where the mask is true.

    Without a mask, all frames are used. Returns the result (at padding, the bias), the mean and the biased
    variance.
    """
    mean_c = frame_sum(zero_padding(widened(x), mask)) / count
    centred = centre(x, mean_c, mask)
    variance_c = frame_sum(centred.square()) / count
    scale_c = weight_c * torch.rsqrt(variance_c + eps)
    return torch.addcmul(beside(bias_c, x), centred, beside(scale_c, x)).to(x.dtype), mean_c, variance_c


class _Normalise(torch.autograd.Function):
    """``normalise``, with a gradient in fewer passes over the data that keeps no other tensor as large as x.

    With d = x - mean, v the variance, g the output's gradient and s = weight / sqrt(v + eps), the gradient
    for x is s (g - mean(g) - d mean(g d) / (v + eps)). Compiled code uses ``normalise`` itself: it fuses the
    passes anyway, and PyTorch 2.11 compiles this class to gradients of zero.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        mask: Tensor | None,
        count: Tensor,
        weight_c: Tensor,
        bias_c: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the result of ``normalise``; no gradient flows through mean and variance."""
        normalised, mean_c, variance_c = normalise(x, mask, count, weight_c, bias_c, eps)
        ctx.save_for_backward(x, mask, count, weight_c, mean_c, torch.rsqrt(variance_c + eps))
        ctx.mark_non_differentiable(mean_c, variance_c)
        return normalised, mean_c, variance_c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Context, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for x, weight and bias, in the same shapes."""
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
    """Return the values in float32; float64 is not changed."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def beside(values_c: Tensor, x: Tensor) -> Tensor:
    """Return a view of (C,) that broadcasts along axis 1 of (N, C) or (B, C, T)."""
    return values_c.view(1, -1, *[1] * (x.dim() - 2))


def centre(x: Tensor, mean_c: Tensor, mask_b1t: Tensor | None) -> Tensor:
    """Return x - mean, zero at padding, with the mean's dtype."""
    centred = x - beside(mean_c, x)
    return centred if mask_b1t is None else centred.masked_fill_(~mask_b1t, 0.0)


def frame_sum(x: Tensor) -> Tensor:
    """Return each channel's sum (C,) over (N, C) or (B, C, T)."""
    return x.sum(dim=(0, *range(2, x.dim())))
