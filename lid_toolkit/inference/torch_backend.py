"""Models that PyTorch computes.

Shapes: b utterances, t samples, c languages, d embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.inference.backend import Origin, depends_on_length
from lid_toolkit.inference.compute import (
    Identify,
    ReadBatch,
    compiled_identify,
    identify_batches,
    plan_batches,
)
from lid_toolkit.inference.locate import open_with_policy
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.speech import Floats, at_least_one
from lid_toolkit.training.checkpoint import SavedModel
from lid_toolkit.training.device import named_device
from lid_toolkit.training.precision import Precision, named_precision

SAME = 1e-3
"""Largest difference of log posteriors of an embedding and its double that is rounding."""


@dataclass(frozen=True)
class TorchBackend:
    """A model that is ready to compute, with its policy."""

    saved: SavedModel
    device: torch.device
    precision: Precision
    policy: DecisionPolicy
    identify: Identify | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """Labels in index order."""
        return self.saved.languages

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.saved.rate

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self.saved.embedding_size

    def compute(self, waves: Sequence[Floats], batch_size: int) -> tuple[Floats, Floats]:
        """Return log posteriors (B, C) and L2-normalised embeddings (B, D) of waveforms (samples,)."""
        lengths = np.array([len(wave) for wave in waves], dtype=np.int64)

        def padded() -> Iterator[ReadBatch]:
            if not len(waves):
                return
            for batch in plan_batches(lengths, self.saved.rate, batch_size, self.device):
                tensors = [torch.from_numpy(waves[row]) for row in batch.rows_b]
                wave_bt = pad_sequence(tensors, batch_first=True)
                yield batch.rows_b, wave_bt, torch.from_numpy(lengths[batch.rows_b])

        return identify_batches(self.saved, self.device, self.precision, len(waves), padded(), self.identify)

    def classify(self, embeddings: Floats) -> Floats:
        """Return the log posteriors of embeddings (D,) or (B, D), each of length 1.

        Raises:
            LidError: as ``LanguageIdentifier.classify_embedding``.
        """
        with torch.inference_mode():
            embedding_bd = torch.from_numpy(np.atleast_2d(embeddings)).to(self.device)
            scores_bc, doubled_bc = (
                self.saved.model.loss.logits(factor * embedding_bd).log_softmax(dim=1) for factor in (1, 2)
            )
        if not torch.allclose(scores_bc, doubled_bc, atol=SAME):
            raise depends_on_length()
        scores: Floats = scores_bc.reshape(*embeddings.shape[:-1], -1).float().cpu().numpy()
        return scores


def load_torch(origin: Origin) -> TorchBackend:
    """Load a model of this toolkit, or one that it can read.

    Raises:
        LidError: it cannot be loaded, or the device or the number format is not supported.
    """
    device = named_device(origin.device)
    precision = named_precision(origin.dtype, device)
    if origin.threads is not None:
        at_least_one(threads=origin.threads)
        torch.set_num_threads(origin.threads)
    saved, policy = open_with_policy(origin.source, origin.revision, origin.external)
    saved.model.to(device)
    identify = compiled_identify(saved) if origin.torch_compile else None
    return TorchBackend(saved, device, precision, origin.policy or policy, identify)
