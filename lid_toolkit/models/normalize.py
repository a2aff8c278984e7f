"""Feature normalisers.

Shapes: b batch, t time, d features; 1 an axis of length 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lid_toolkit.models.arguments import NotNegative
from lid_toolkit.models.bases import NormalizerBase
from lid_toolkit.models.masking import masked_mean, padding_mask, zero_padding

# A deviation below this fraction of the mean is due to float32's rounding, also in sums over many frames.
ROUNDING = 1e-5


class UtteranceMVN(NormalizerBase):
    """Mean and variance normalisation over each utterance's own frames: (x - mean_u) / std_u.

    ESPnet's ``utterance_mvn``; (B, T, D) to (B, T, D). With ``norm_vars``, a dimension that is constant
    over the utterance, as in digital silence, becomes 0, since its deviation is only rounding error.

    Args:
        norm_means: subtract the mean of each dimension.
        norm_vars: divide by the standard deviation of each dimension.
        eps: lower limit of the standard deviation.
    """

    def __init__(self, norm_means: bool = True, norm_vars: bool = False, eps: float = 1e-20) -> None:
        super().__init__()
        self.norm_means, self.norm_vars, self.eps = norm_means, norm_vars, eps

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        """Return normalised features (B, T, D); padded frames are zero."""
        feats_bdt = feats_btd.transpose(1, 2)
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        mean_bd1 = masked_mean(feats_bdt, mask_b1t)
        centred_bdt = feats_bdt - mean_bd1
        out_bdt = centred_bdt if self.norm_means else feats_bdt
        if self.norm_vars:
            variance_bd1 = masked_mean(centred_bdt.square(), mask_b1t)
            constant_bd1 = variance_bd1 <= (ROUNDING * mean_bd1).square()
            variance_bd1 = variance_bd1.masked_fill(constant_bd1, torch.inf)
            out_bdt = out_bdt / torch.clamp(variance_bd1.sqrt(), min=self.eps)
        return zero_padding(out_bdt, mask_b1t).transpose(1, 2)


class GlobalMVN(NormalizerBase):
    """Mean and variance normalisation by the training set's statistics: (x - mean) / std.

    ESPnet's ``global_mvn``; (B, T, D) to (B, T, D). Mean and deviation are buffers, so every checkpoint
    contains them; before :meth:`set_statistics` is called they are 0 and 1.

    Args:
        input_size: dimension D of the features.
        stats_file: an npz of ``count``, ``sum`` and ``sum_square``, read when training begins; null for
            ``train/feats_stats.npz`` in the directory of the training set's statistics.
        norm_means: subtract the mean of each dimension.
        norm_vars: divide by the standard deviation of each dimension.
        skip: number of leading dimensions that are not normalised; ``posteriors`` for the log posteriors
            that the front end gives.
        eps: lower limit of the variance.
    """

    needs_statistics = True

    def __init__(
        self,
        input_size: int,
        stats_file: str | None = None,
        norm_means: bool = True,
        norm_vars: bool = True,
        skip: NotNegative | Literal["posteriors"] = 0,
        eps: float = 1e-20,
        posteriors: int = 0,
    ) -> None:
        super().__init__()
        self.stats_file, self.norm_means, self.norm_vars = stats_file, norm_means, norm_vars
        self.unchanged, self.eps = posteriors if skip == "posteriors" else skip, eps
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("std", torch.ones(input_size))

    def set_statistics(self, count: Tensor, sum_d: Tensor, sum_square_d: Tensor) -> None:
        """Set the statistics of all frames of the training set.

        Args:
            count: number of frames, at least 1.
            sum_d: sum of the features (D,), float64.
            sum_square_d: sum of their squares (D,), float64.

        Raises:
            ValueError: there are no frames, the dimension differs, or a number is not finite.
        """
        if sum_d.shape != self.mean.shape or sum_square_d.shape != self.std.shape:
            raise ValueError(f"statistics of {len(sum_d)} features, the front end has {len(self.mean)}")
        mean_d = sum_d / count
        variance_d = sum_square_d / count - mean_d.square()
        if not count > 0 or not torch.isfinite(mean_d + variance_d).all():
            raise ValueError("statistics of no frames, or not finite")
        self.mean.copy_(mean_d)
        self.std.copy_(variance_d.clamp(min=self.eps).sqrt())
        self.mean[: self.unchanged] = 0.0
        self.std[: self.unchanged] = 1.0

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        """Return normalised features (B, T, D); padded frames are zero."""
        if self.norm_means:
            feats_btd = feats_btd - self.mean
        if self.norm_vars:
            feats_btd = feats_btd / self.std
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        return zero_padding(feats_btd.transpose(1, 2), mask_b1t).transpose(1, 2)
