"""The language identifier: from waveforms to embeddings, language scores and the training loss.

Shapes: b batch, t time, d features or embedding, c channels or classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.data.targets import Taught
from lid_toolkit.errors import LidError
from lid_toolkit.languages import code
from lid_toolkit.models.adversary import DomainAdversary
from lid_toolkit.models.distillation import Distillation
from lid_toolkit.models.protocols import (
    Encoder,
    FeatureMap,
    Frontend,
    Loss,
    Normalizer,
    Pooling,
    Projector,
    corrects_posteriors,
    pool,
)


@dataclass(frozen=True)
class LidOutput:
    """The results of a forward pass in training.

    Attributes:
        loss: mean loss over the batch, and that of the adversary if there is one, scalar.
        correct_b: whether the highest score is the true class's, bool (B,).
        loss_b: loss of each utterance (B,).
    """

    loss: Tensor
    correct_b: Tensor
    loss_b: Tensor


class LidModel(nn.Module):
    """Front end, normaliser, SpecAugment, encoder, pooling, projector and loss, in that order.

    Unlike in ESPnet, SpecAugment follows the normaliser: the zeros that it writes are then the mean of the
    features, and do not change that mean. Each utterance's results are the same in every batch, since no part
    reads padding.

    Attributes:
        distillation: in a training with a teacher, what is learnt from it; model files do not contain it.
        adversary: in a domain-invariant training, what tells the domains; model files do not contain it.
    """

    def __init__(
        self,
        frontend: Frontend,
        specaug: FeatureMap | None,
        normalize: Normalizer | None,
        encoder: Encoder,
        pooling: Pooling,
        projector: Projector,
        loss: Loss,
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.encoder = encoder
        self.pooling = pooling
        self.projector = projector
        self.loss = loss
        self.distillation: Distillation | None = None
        self.adversary: DomainAdversary | None = None

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self.projector.output_size

    def check_posteriors(self, languages: Sequence[str]) -> None:
        """Check that a loss that reads log posteriors of ``languages`` from the features gets them.

        Raises:
            LidError: the front end gives no log posteriors or those of other languages, or the normaliser
                changes them.
        """
        if not self.loss.reads_posteriors:
            return
        named = self.frontend.posteriors_of
        if [*map(code, named)] != [*map(code, languages)]:
            raise LidError(
                f"an offset of {', '.join(named) or 'no languages'}; the data's are {', '.join(languages)}",
                where="loss_conf.offset",
                mend="list the data's languages in frontend_conf.languages, or leave offset out",
            )
        given = len(languages) * (1 + corrects_posteriors(self.frontend))
        if self.normalize is not None and self.normalize.unchanged != given:
            raise LidError(
                "normalize changes the log posteriors that loss_conf.offset adds",
                where="normalize_conf",
                mend="use one that leaves them unchanged (skip: posteriors), or leave normalize out",
            )

    def forward(
        self,
        wave_bt: Tensor,
        lengths_b: Tensor,
        labels_b: Tensor,
        targets: Tensor | Taught | None = None,
        domains_b: Tensor | None = None,
    ) -> LidOutput:
        """Return the loss of a batch.

        Args:
            wave_bt: waveforms in [-1, 1], float32, padded at the end.
            lengths_b: number of valid samples of each, int64, on the CPU.
            labels_b: class indices, int64.
            targets: target weights of the classes (B, classes), if the loss uses them instead of the labels;
                or a teacher's answers, if there is a ``distillation``.
            domains_b: numbers of the domains, int64, if there is an ``adversary``. Its loss is only in the
                sum that is minimised, not in that of each utterance.
        """
        # FSDP moves them to the GPU. Back on the CPU, the model waits only once for them.
        lengths_b = lengths_b.cpu()
        embedding_bd = self.embed(wave_bt, lengths_b)
        loss_b, scores_bc = self.loss(embedding_bd, targets if isinstance(targets, Tensor) else labels_b)
        if self.distillation is not None and isinstance(targets, Taught):
            logits_bc = self.loss.logits(embedding_bd)
            loss_b = self.distillation(loss_b, embedding_bd, logits_bc, labels_b, targets)
        loss = loss_b.mean()
        if self.adversary is not None and domains_b is not None:
            loss = loss + self.adversary(embedding_bd, labels_b, domains_b)
        return LidOutput(loss, scores_bc.argmax(dim=1) == labels_b, loss_b.detach())

    def embed(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return embeddings (B, D), float32, not normalised."""
        feats_btd, frames_b = self.frontend(wave_bt, lengths_b)
        if self.normalize is not None:
            feats_btd = self.normalize(feats_btd, frames_b)
        if self.specaug is not None:
            feats_btd = self.specaug(feats_btd, frames_b)
        encoded_bct, steps_b = self.encoder(feats_btd, frames_b)
        return self.projector(pool(self.pooling, encoded_bct, steps_b, frames_b)).float()

    @torch.inference_mode()
    def identify(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log posteriors (B, classes) and L2-normalised embeddings (B, D), float32."""
        embedding_bd = self.embed(wave_bt, lengths_b)
        return self.loss.logits(embedding_bd).log_softmax(dim=1), F.normalize(embedding_bd)
