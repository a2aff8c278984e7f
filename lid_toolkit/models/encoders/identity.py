"""No encoder (``encoder: identity``): the pooling gets the front end's features.

Shapes: b batch, t time, d features.
"""

from __future__ import annotations

from torch import Tensor, nn


class IdentityEncoder(nn.Module):
    """The identity, (B, T, D) to (B, D, T), for self-supervised features. ESPnet's ``identity``.

    Args:
        input_size: feature dimension D.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (B, D, T) and their lengths (B,)."""
        return feats_btd.transpose(1, 2), lengths_b
