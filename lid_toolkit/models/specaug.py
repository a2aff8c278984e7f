"""SpecAugment (Park et al., Interspeech 2019) over each utterance's own frames, in training only.

Shapes: b batch, t time, d features, m masks, s positions on the masked axis; 1 an axis of length 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lid_toolkit.models.arguments import NotNegative
from lid_toolkit.models.masking import masked_mean, on_device, padding_mask

WarpMode = Literal["bicubic", "bilinear"]
CUBIC_SLOPE = -0.75


class SpecAug(nn.Module):
    """Time warp, frequency masks and time masks, drawn anew for each utterance: (B, T, D) to (B, T, D).

    "SpecAugment", section 2, with ESPnet's keys. As in ESPnet, ranges exclude their end: a mask is
    ``low`` to ``high - 1`` wide. Masks are drawn from torch's global generator, which the trainer seeds.

    Args:
        apply_time_warp: stretch the time before a random frame and compress the rest, or the reverse.
        time_warp_window: largest distance by which this frame moves, in frames.
        time_warp_mode: interpolation between frames, cubic or linear in time.
        apply_freq_mask: zero bands of features.
        freq_mask_width_range: width of a band in features, (low, high) or its exclusive end.
        num_freq_mask: number of bands.
        apply_time_mask: zero spans of frames.
        time_mask_width_range: width of a span in frames, (low, high) or its exclusive end.
        time_mask_width_ratio_range: width as a fraction of the utterance, instead of
            ``time_mask_width_range``.
        num_time_mask: number of spans.
        replace_with_zero: mask with zeros; else with the utterance's mean over frames and features.
    """

    def __init__(
        self,
        apply_time_warp: bool = True,
        time_warp_window: NotNegative = 5,
        time_warp_mode: WarpMode = "bicubic",
        apply_freq_mask: bool = True,
        freq_mask_width_range: int | tuple[int, int] = (0, 20),
        num_freq_mask: NotNegative = 2,
        apply_time_mask: bool = True,
        time_mask_width_range: int | tuple[int, int] | None = None,
        time_mask_width_ratio_range: float | tuple[float, float] | None = None,
        num_time_mask: NotNegative = 2,
        replace_with_zero: bool = True,
    ) -> None:
        super().__init__()
        if time_mask_width_range is not None and time_mask_width_ratio_range is not None:
            raise ValueError("time_mask_width_range and time_mask_width_ratio_range: give one of them")
        self.warp_mode, self.replace_with_zero = time_warp_mode, replace_with_zero
        self.warp_window = time_warp_window if apply_time_warp else 0
        self.freq_masks = num_freq_mask if apply_freq_mask else 0
        self.freq_range = _range("freq_mask_width_range", freq_mask_width_range)
        self.time_masks = num_time_mask if apply_time_mask else 0
        self.time_ratio = None
        if time_mask_width_ratio_range is not None:
            self.time_ratio = _range("time_mask_width_ratio_range", time_mask_width_ratio_range)
        widths = (0, 100) if time_mask_width_range is None else time_mask_width_range
        self.time_range = _range("time_mask_width_range", widths)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        """Return augmented features (B, T, D) in training, the same tensor otherwise."""
        if not self.training:
            return feats_btd
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        lengths_b = on_device(lengths_b, feats_btd.device)
        if self.warp_window:
            feats_btd = warp_time(feats_btd, lengths_b, self.warp_window, self.warp_mode)
        dims_b = torch.full_like(lengths_b, feats_btd.shape[2])
        hidden_bd = random_spans(
            dims_b, self._widths(dims_b, self.freq_masks, *self.freq_range), size=feats_btd.shape[2]
        )
        if self.time_ratio is None:
            widths_bm = self._widths(lengths_b, self.time_masks, *self.time_range)
        else:
            share_bm = self._uniform(lengths_b, self.time_masks, *self.time_ratio)
            widths_bm = (share_bm * lengths_b[:, None]).long()
        hidden_bt = random_spans(lengths_b, widths_bm, size=feats_btd.shape[1])
        hidden_btd = hidden_bd[:, None, :] | hidden_bt[:, :, None]
        if self.replace_with_zero:
            return feats_btd.masked_fill(hidden_btd, 0.0)
        mean_b11 = masked_mean(feats_btd.transpose(1, 2), mask_b1t).mean(dim=1, keepdim=True)
        return torch.where(hidden_btd, mean_b11.to(feats_btd.dtype), feats_btd)

    def _widths(self, lengths_b: Tensor, masks: int, low: float, high: float) -> Tensor:
        return self._uniform(lengths_b, masks, low, high).long()

    def _uniform(self, lengths_b: Tensor, masks: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(lengths_b), masks, device=lengths_b.device)


def random_spans(lengths_b: Tensor, widths_bm: Tensor, size: int) -> Tensor:
    """Return a bool mask (B, size) with spans of the given widths at random positions within each length.

    To leave at least one frame of every utterance, each of its M spans (not counting those of width 0) is at
    most ``(length - 1) // M`` wide.
    """
    room_b1 = lengths_b[:, None]
    count_b1 = (widths_bm > 0).sum(dim=1, keepdim=True).clamp(min=1)
    widths_bm = torch.minimum(widths_bm, (room_b1 - 1) // count_b1)
    start_bm = (torch.rand(widths_bm.shape, device=lengths_b.device) * (room_b1 - widths_bm + 1)).long()
    place_s = torch.arange(size, device=lengths_b.device)
    inside_bms = (place_s >= start_bm[..., None]) & (place_s < (start_bm + widths_bm)[..., None])
    return inside_bms.any(dim=1)


def warp_time(feats_btd: Tensor, lengths_b: Tensor, window: int, mode: WarpMode) -> Tensor:
    """Move a random frame of each utterance by up to ``window`` frames; the rest follows linearly.

    Utterances of at most ``2 * window`` frames are not changed. Values between frames are interpolated
    according to ``mode``. Positions are float32 for any dtype of the features: bfloat16 has only 8 bits.
    """
    frames = feats_btd.shape[1]
    room_b = lengths_b - 2 * window
    draw_b, shift_b = torch.rand(2, len(lengths_b), device=feats_btd.device)
    centre_b1 = (window + (draw_b * room_b.clamp(min=1)).floor())[:, None]
    moved_b1 = centre_b1 + ((2 * window + 1) * shift_b).floor()[:, None] - window
    last_b1 = (lengths_b - 1)[:, None].float()
    time_t = torch.arange(frames, device=feats_btd.device, dtype=torch.float32)
    before_bt = time_t * centre_b1 / moved_b1.clamp(min=1)
    after_bt = centre_b1 + (time_t - moved_b1) * (last_b1 - centre_b1) / (last_b1 - moved_b1).clamp(min=1)
    source_bt = torch.where(time_t < moved_b1, before_bt, after_bt)
    source_bt = torch.where((room_b > 0)[:, None] & (time_t <= last_b1), source_bt, time_t)
    limit_bt = torch.where(time_t <= last_b1, last_b1, time_t)
    source_bt = source_bt.clamp(min=0).minimum(limit_bt)
    low_bt = source_bt.floor()
    warped_btd = torch.zeros_like(feats_btd)
    for tap in (-1, 0, 1, 2) if mode == "bicubic" else (0, 1):
        weight_bt1 = _kernel((source_bt - low_bt - tap).abs(), mode)[..., None].to(feats_btd.dtype)
        index_bt1 = (low_bt + tap).clamp(min=0).minimum(limit_bt).long()[..., None]
        warped_btd = warped_btd + weight_bt1 * feats_btd.gather(
            1, index_bt1.expand(-1, -1, feats_btd.shape[2])
        )
    return warped_btd


def _kernel(distance: Tensor, mode: WarpMode) -> Tensor:
    """Return a frame's interpolation weight by its distance (Keys, 1981, with PyTorch's slope; or linear)."""
    if mode == "bilinear":
        return 1 - distance
    a, d = CUBIC_SLOPE, distance
    return torch.where(d <= 1, ((a + 2) * d - (a + 3)) * d.square() + 1, a * (((d - 5) * d + 8) * d - 4))


def _range(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    low, high = (0.0, value) if isinstance(value, (int, float)) else value
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"{name}: widths from {low:g} to {high:g}")
    return float(low), float(high)
