"""Projectors: pooled statistics to the embedding.

Shapes: b batch, d features of a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.arguments import PositiveInt, component
from lid_toolkit.models.masking import MaskedBatchNorm1d


class IdentityProjector(nn.Module):
    """The identity: the pooled vector is the embedding (``identity``).

    Args:
        input_size: dimension of the pooled vector.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """Return (B, input_size) unchanged."""
        return pooled_bd


@component(small={"output_size": 5})
class LinearProjector(nn.Module):
    """A linear map, W x + b (``linear``): the projection of the audio classifiers of ``transformers``.

    Args:
        input_size: dimension of the pooled vector.
        output_size: dimension of the embedding.
    """

    def __init__(self, input_size: int, output_size: PositiveInt = 256) -> None:
        super().__init__()
        self.output_size = output_size
        self.fc = nn.Linear(input_size, output_size)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """Map (B, input_size) to (B, output_size)."""
        embedding_bd: Tensor = self.fc(pooled_bd)
        return embedding_bd


@component(small={"output_size": 5})
class RawNet3Projector(nn.Module):
    """Batch normalisation and a linear map, W norm(x) + b (``rawnet3``; Jung et al., Interspeech 2022).

    Args:
        input_size: dimension of the pooled vector.
        output_size: dimension of the embedding.
        unit_length: divide embeddings by their length, for a classifier of angles.
    """

    def __init__(self, input_size: int, output_size: PositiveInt = 192, unit_length: bool = False) -> None:
        super().__init__()
        self.output_size, self.unit_length = output_size, unit_length
        self.bn = MaskedBatchNorm1d(input_size)
        self.fc = nn.Linear(input_size, output_size)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """Map (B, input_size) to (B, output_size)."""
        embedding_bd: Tensor = self.fc(self.bn(pooled_bd))
        return F.normalize(embedding_bd) if self.unit_length else embedding_bd


@component(small={"output_size": 5})
class SkaTdnnProjector(nn.Module):
    """A linear map between two batch normalisations, norm(W norm(x) + b) (``ska_tdnn``; Mun et al., 2022).

    Args:
        input_size: dimension of the pooled vector.
        output_size: dimension of the embedding.
    """

    def __init__(self, input_size: int, output_size: PositiveInt = 192) -> None:
        super().__init__()
        self.output_size = output_size
        self.bn = MaskedBatchNorm1d(input_size)
        self.fc = nn.Linear(input_size, output_size)
        self.bn2 = MaskedBatchNorm1d(output_size)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """Map (B, input_size) to (B, output_size)."""
        embedding_bd: Tensor = self.bn2(self.fc(self.bn(pooled_bd)))
        return embedding_bd


@component(small={"output_size": 16})  # with fewer, the rectifier may zero all of them
class XvectorProjector(nn.Module):
    """Two linear maps, W_2 relu(W_1 x + b_1) + b_2 (``xvector``; Snyder et al., ICASSP 2018).

    Args:
        input_size: dimension of the pooled vector.
        output_size: dimension of the embedding.
    """

    def __init__(self, input_size: int, output_size: PositiveInt = 192) -> None:
        super().__init__()
        self.output_size = output_size
        self.fc1 = nn.Linear(input_size, output_size)
        self.fc2 = nn.Linear(output_size, output_size)

    def forward(self, pooled_bd: Tensor) -> Tensor:
        """Map (B, input_size) to (B, output_size)."""
        embedding_bd: Tensor = self.fc2(torch.relu(self.fc1(pooled_bd)))
        return embedding_bd
