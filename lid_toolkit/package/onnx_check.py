"""Compare an exported model with the model that it was made from, on the same waveforms.

Shapes: u utterances, b batch, c languages, d embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.package.onnx_format import INPUTS, OUTPUTS

Floats = npt.NDArray[np.float32]

LARGEST_DIFFERENCE = 1e-3
"""Of a probability. Rounding changes one by 1e-5 at most."""
LEAST_COSINE = 0.9999
CONFIDENT = 0.9
"""Probability from which an answer is called confident."""
LEAST_SHARE = 0.999
"""Share of equal answers, among confident ones, that a model in int8 should have."""
BATCH = 4
GARBAGE = 100.0
"""The value of padding: any value must be possible."""


@dataclass(frozen=True)
class Agreement:
    """How far two models agree.

    Attributes:
        utterances: number of utterances.
        equal: number of equal answers.
        confident: number of utterances of which the first model is confident.
        confident_equal: number of equal answers among these.
        difference: largest difference of a probability.
        cosine: lowest cosine between the two embeddings of an utterance.
    """

    utterances: int
    equal: int
    confident: int
    confident_equal: int
    difference: float
    cosine: float

    @property
    def is_exact(self) -> bool:
        """Whether the second model is the first, up to rounding."""
        close = self.difference <= LARGEST_DIFFERENCE and self.cosine >= LEAST_COSINE
        return close and self.equal == self.utterances

    @property
    def is_close(self) -> bool:
        """Whether the second model answers as the first where that is confident."""
        return self.confident_equal >= LEAST_SHARE * self.confident

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.utterances} answers are equal, {self.confident_equal} of "
            f"{self.confident} confident ones; largest difference of a probability {self.difference:.2g}, "
            f"lowest cosine of embeddings {self.cosine:.6f}"
        )


def compare(model: LidModel, session: Any, waves: Sequence[Floats]) -> Agreement:
    """Compare a model, one utterance at a time, with an exported one, in padded batches.

    Args:
        model: on the CPU.
        session: onnxruntime's session of the exported model.
        waves: waveforms (samples,).
    """
    alone = [
        model.identify(torch.from_numpy(np.ascontiguousarray(wave))[None], torch.tensor([len(wave)]))
        for wave in waves
    ]
    scores_uc, embeddings_ud = (np.concatenate([pair[place].numpy() for pair in alone]) for place in (0, 1))
    batches = [run(session, waves[first : first + BATCH]) for first in range(0, len(waves), BATCH)]
    others_uc, vectors_ud = (np.concatenate([pair[place] for pair in batches]) for place in (0, 1))
    return agreement(scores_uc, embeddings_ud, others_uc, vectors_ud)


def agreement(scores_uc: Floats, embeddings_ud: Floats, others_uc: Floats, vectors_ud: Floats) -> Agreement:
    """Return how far the log posteriors and embeddings of two models agree."""
    equal_u = scores_uc.argmax(axis=1) == others_uc.argmax(axis=1)
    confident_u = np.exp(scores_uc.max(axis=1)) >= CONFIDENT
    return Agreement(
        utterances=len(scores_uc),
        equal=int(equal_u.sum()),
        confident=int(confident_u.sum()),
        confident_equal=int((equal_u & confident_u).sum()),
        difference=float(np.abs(np.exp(scores_uc) - np.exp(others_uc)).max()),
        cosine=float((embeddings_ud * vectors_ud).sum(axis=1).min()),
    )


def run(session: Any, waves: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return log posteriors (B, C) and embeddings (B, D) of waveforms, as one padded batch."""
    lengths_b = np.array([len(wave) for wave in waves], dtype=np.int64)
    wave_bt = np.full((len(waves), int(lengths_b.max())), GARBAGE, np.float32)
    for row_t, wave in zip(wave_bt, waves, strict=True):
        row_t[: len(wave)] = wave
    scores_bc, embeddings_bd = session.run(OUTPUTS, dict(zip(INPUTS, (wave_bt, lengths_b), strict=True)))
    return scores_bc, embeddings_bd


def require_exact(found: Agreement, where: object) -> None:
    """Raise LidError if an exported model is not the model that it was made from."""
    if not found.is_exact:
        raise LidError(f"the exported model differs: {found}", where=where, mend="use the model itself")
