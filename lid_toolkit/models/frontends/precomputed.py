"""No front end (``frontend: null``): the input of the model is features instead of waveforms.

Shapes: b batch, t time, d features.
"""

from __future__ import annotations

from torch import Tensor

from lid_toolkit.models.bases import FrontendBase


class PrecomputedFeatures(FrontendBase):
    """Return features unchanged; to the rest of the model, each frame counts as one sample.

    Args:
        input_size: dimension of the features.
    """

    rate = None
    hop_length = 1

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (B, T, input_size) in float32 and their lengths (B,), unchanged."""
        return feats_btd.float(), lengths_b
