"""The language identifier: waveform in, embedding, language scores and training loss out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.classifiers import DnnSoftmax, LinearSoftmax
from lid_toolkit.models.losses import CosineLoss


@dataclass(frozen=True)
class LidOutput:
    """What a training step needs.

    Attributes:
        loss: mean loss over the batch, scalar.
        correct_b: whether the highest score is the true class's, bool (B,).
        loss_b: loss of each utterance (B,).
    """

    loss: Tensor
    correct_b: Tensor
    loss_b: Tensor


class LidModel(nn.Module):
    """Front end, normaliser, SpecAugment, encoder, pooling, projector and loss, in that order.

    SpecAugment follows the normaliser, unlike in ESPnet: what it hides then holds the mean, and does
    not move it. Each utterance's results are the same in every batch: padding reaches none of the parts.
    """

    def __init__(
        self,
        frontend: Any,
        specaug: nn.Module | None,
        normalize: nn.Module | None,
        encoder: nn.Module,
        pooling: nn.Module,
        projector: Any,
        loss: CosineLoss | DnnSoftmax | LinearSoftmax,
    ) -> None:
        super().__init__()
        self.frontend: Any = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.encoder = encoder
        self.pooling = pooling
        self.projector: Any = projector
        self.loss = loss

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return int(self.projector.output_size)

    def forward(self, wave_bt: Tensor, lengths_b: Tensor, labels_b: Tensor) -> LidOutput:
        """Return the loss of a batch.

        Args:
            wave_bt: waveforms in [-1, 1], float32, padded at the end.
            lengths_b: valid samples of each, int64, on the CPU.
            labels_b: class indices, int64.
        """
        loss_b, scores_bc = self.loss(self.embed(wave_bt, lengths_b), labels_b)
        return LidOutput(loss_b.mean(), scores_bc.argmax(dim=1) == labels_b, loss_b.detach())

    def embed(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return embeddings (B, D), float32, not normalised."""
        feats_btd, frames_b = self.frontend(wave_bt, lengths_b)
        if self.normalize is not None:
            feats_btd = self.normalize(feats_btd, frames_b)
        if self.specaug is not None:
            feats_btd = self.specaug(feats_btd, frames_b)
        encoded_bct, steps_b = self.encoder(feats_btd, frames_b)
        embedding_bd: Tensor = self.projector(self.pooling(encoded_bct, steps_b))
        return embedding_bd.float()

    @torch.inference_mode()
    def identify(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log posteriors (B, classes) and L2-normalised embeddings (B, D), float32."""
        embedding_bd = self.embed(wave_bt, lengths_b)
        return self.loss.logits(embedding_bd).log_softmax(dim=1), F.normalize(embedding_bd)
