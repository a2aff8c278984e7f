"""Projectors: pooled statistics to the embedding."""

from __future__ import annotations

from torch import Tensor, nn

from lid_toolkit.models.masking import MaskedBatchNorm1d


class RawNet3Projector(nn.Module):
    """Batch normalisation and a linear map (``rawnet3``; Jung et al., Interspeech 2022).

    Args:
        input_size: dimension of the pooled vector.
        output_size: dimension of the embedding.
    """

    def __init__(self, input_size: int, output_size: int = 192) -> None:
        super().__init__()
        self.output_size = output_size
        self.bn = MaskedBatchNorm1d(input_size)
        self.fc = nn.Linear(input_size, output_size)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """Map (B, input_size) to (B, output_size)."""
        embedding_bd: Tensor = self.fc(self.bn(pooled_bd))
        return embedding_bd
