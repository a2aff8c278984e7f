"""A model that is loaded when it is first used, and that can be sent to other processes.

Shapes: b utterances, t samples, c languages, d embedding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.errors import LidError
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
from lid_toolkit.training.config import DType
from lid_toolkit.training.device import named_device
from lid_toolkit.training.precision import Precision, named_precision

SAME = 1e-3
"""Largest difference of log posteriors of an embedding and its double that is rounding."""


@dataclass(frozen=True)
class Origin:
    """What a model is loaded from, and how; see ``LanguageIdentifier.from_pretrained``."""

    source: str
    device: str = "auto"
    revision: str | None = None
    external: tuple[str, ...] = ()
    threads: int | None = None
    dtype: DType = "float32"
    policy: DecisionPolicy | None = None
    torch_compile: bool = False


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to compute, with its policy."""

    saved: SavedModel
    device: torch.device
    precision: Precision
    policy: DecisionPolicy
    identify: Identify | None = None

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

    def classify(self, embeddings: Tensor) -> Floats:
        """Return the log posteriors of embeddings (D,) or (B, D), each of length 1.

        Raises:
            LidError: as ``LanguageIdentifier.classify_embedding``.
        """
        size = self.saved.embedding_size
        if embeddings.ndim not in (1, 2) or embeddings.shape[-1] != size:
            what = f"shape {tuple(embeddings.shape)} is not supported"
            raise LidError(what, where="embeddings", mend=f"give ({size},) or (embeddings, {size})")
        if not embeddings.isfinite().all():
            raise LidError("not finite", where="embeddings", mend="leave them out")
        with torch.inference_mode():
            embedding_bd = embeddings.reshape(-1, size).to(self.device)
            scores_bc, doubled_bc = (
                self.saved.model.loss.logits(factor * embedding_bd).log_softmax(dim=1) for factor in (1, 2)
            )
        if not torch.allclose(scores_bc, doubled_bc, atol=SAME):
            what = "this model's classifier depends on the length of embeddings, which are normalised to 1"
            raise LidError(what, where="classify_embedding", mend="use identify")
        scores: Floats = scores_bc.reshape(*embeddings.shape[:-1], -1).float().cpu().numpy()
        return scores


class LazyModel:
    """A model by its origin. Threads can share it; a pickled one contains only the origin."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._loaded: Loaded | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def __getstate__(self) -> Origin:
        return self.origin

    def __setstate__(self, origin: Origin) -> None:
        LazyModel.__init__(self, origin)

    def load(self) -> Loaded:
        """Return the model; it is loaded at the first call.

        Raises:
            LidError: it cannot be loaded, or :meth:`close` was called.
        """
        with self._lock:
            if self._is_closed:
                raise LidError("is closed", where=self.origin.source, mend="load it again")
            if self._loaded is None:
                self._loaded = _load(self.origin)
            return self._loaded

    def close(self) -> None:
        """Free the memory of the model, which cannot be used any more."""
        with self._lock:
            self._loaded, self._is_closed = None, True


def _load(origin: Origin) -> Loaded:
    device = named_device(origin.device)
    precision = named_precision(origin.dtype, device)
    if origin.threads is not None:
        at_least_one(threads=origin.threads)
        torch.set_num_threads(origin.threads)
    saved, policy = open_with_policy(origin.source, origin.revision, origin.external)
    saved.model.to(device)
    identify = compiled_identify(saved) if origin.torch_compile else None
    return Loaded(saved, device, precision, origin.policy or policy, identify)
