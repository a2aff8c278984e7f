"""Feature normalisers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lid_toolkit.models.masking import masked_mean, padding_mask, zero_padding


class UtteranceMVN(nn.Module):
    """Mean and variance normalisation over the valid frames of each utterance (ESPnet's ``utterance_mvn``).

    Args:
        norm_means: subtract the mean of each dimension.
        norm_vars: divide by the standard deviation of each dimension.
        eps: the least standard deviation divided by.
    """

    def __init__(self, norm_means: bool = True, norm_vars: bool = False, eps: float = 1e-20) -> None:
        super().__init__()
        self.norm_means, self.norm_vars, self.eps = norm_means, norm_vars, eps

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        """Return normalised features (B, T, D); padded frames are zero."""
        feats_bdt = feats_btd.transpose(1, 2)
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        centred_bdt = feats_bdt - masked_mean(feats_bdt, mask_b1t)
        out_bdt = centred_bdt if self.norm_means else feats_bdt
        if self.norm_vars:
            variance_bd1 = masked_mean(centred_bdt.square(), mask_b1t)
            out_bdt = out_bdt / torch.clamp(variance_bd1.sqrt(), min=self.eps)
        return zero_padding(out_bdt, mask_b1t).transpose(1, 2)
