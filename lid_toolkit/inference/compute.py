"""Compute the scores and embeddings of many utterances, batch by batch.

Shapes: u utterances, b batch, t samples, c languages, d embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lid_toolkit.data.samplers import Batches, sorted_batches
from lid_toolkit.inference.identification import Floats
from lid_toolkit.models.compiled import compiled
from lid_toolkit.training.checkpoint import SavedModel
from lid_toolkit.training.precision import Precision

ReadBatch: TypeAlias = "tuple[npt.NDArray[np.int64], Tensor, Tensor]"
"""The utterances of a batch by number, their zero-padded waveforms (B, T), and their lengths in samples."""

Identify: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps waveforms (B, T) and their lengths to log posteriors (B, C) and embeddings (B, D)."""

LONGEST_BATCH_S = 600
"""Seconds of padded audio in a batch. This limits the memory; results do not depend on it."""

LONGEST_CPU_BATCH_S = 20
"""The same on a CPU, where larger batches are slower.

ECAPA-TDNN's largest tensors, 3 x 1024 channels at 100 frames per second, then have less than 32 MiB. The C
library reuses the memory of blocks up to this size. It requests and returns larger blocks each time
(mallopt(3), ``M_MMAP_THRESHOLD``), and the system fills their pages with zeros, which took up to 40 % of the
time.
"""


def compiled_identify(saved: SavedModel) -> Identify:
    """Return the model's ``identify``, compiled when it is first called; results agree up to rounding.

    Raises:
        LidError: from the returned function, if there is no compiler or it fails.
    """
    return compiled(saved.model.identify, "torch_compile", "identify without it")


def plan_batches(
    lengths_u: npt.NDArray[np.integer], rate: int, batch_size: int, device: torch.device
) -> Batches:
    """Cut utterances into batches, longest first.

    Args:
        lengths_u: lengths in samples.
        rate: samples per second.
        batch_size: largest number of utterances in a batch; batches for a CPU are short, and may hold fewer.
        device: where they are computed.
    """
    longest_s = LONGEST_CPU_BATCH_S if device.type == "cpu" else LONGEST_BATCH_S
    return sorted_batches(lengths_u, longest_s * rate, batch_size)


def identify_batches(
    saved: SavedModel,
    device: torch.device,
    precision: Precision,
    utterances: int,
    batches: Iterable[ReadBatch],
    identify: Identify | None = None,
) -> tuple[Floats, Floats]:
    """Identify all utterances of the batches.

    Args:
        saved: the model, already on ``device``.
        device: where to compute.
        precision: number format.
        utterances: number of utterances.
        batches: the batches, whose rows are numbers of utterances.
        identify: the model's ``identify`` (:func:`compiled_identify`); None for the one that is not compiled.

    Returns:
        Log posteriors (U, C) and L2-normalised embeddings (U, D). Both are NaN for an utterance in no batch.
    """
    scores_uc = np.full((utterances, len(saved.languages)), np.nan, dtype=np.float32)
    embeddings_ud = np.full((utterances, saved.embedding_size), np.nan, dtype=np.float32)
    for rows_b, wave_bt, lengths_b in batches:
        with precision.autocast(device):
            scores_bc, embeddings_bd = (identify or saved.model.identify)(wave_bt.to(device), lengths_b)
        scores_uc[rows_b] = scores_bc.float().cpu().numpy()
        embeddings_ud[rows_b] = embeddings_bd.cpu().numpy()
    return scores_uc, embeddings_ud
