"""Validation: loss, accuracy and accuracy per language over a whole set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.precision import Precision


@dataclass(frozen=True)
class Scores:
    """Means over a set's utterances.

    Attributes:
        loss: the training loss, margin included.
        accuracy: share of utterances identified.
        per_language: that share for each language that occurs.
    """

    loss: float
    accuracy: float
    per_language: dict[str, float]

    @property
    def macro_accuracy(self) -> float:
        """Mean of the languages' accuracies."""
        return float(np.mean(list(self.per_language.values())))


def validate(
    model: LidModel,
    minibatches: Iterable[Minibatch],
    languages: Sequence[str],
    device: torch.device,
    precision: Precision,
) -> Scores:
    """Score every utterance once; the model is left in training mode."""
    model.eval()
    losses, correct, labels = [], [], []
    with torch.inference_mode(), precision.autocast(device):
        for batch in minibatches:
            if not len(batch.rows_b):
                continue
            output = model(batch.wave_bt.to(device), batch.lengths_b, batch.labels_b.to(device))
            losses.append(output.loss_b.float().cpu().numpy())
            correct.append(output.correct_b.cpu().numpy())
            labels.append(batch.labels_b.numpy())
    model.train()
    if not losses:
        raise LidError("no utterance can be read", where="validation set", mend="run stage 3 again")
    loss_u, correct_u, label_u = (np.concatenate(parts) for parts in (losses, correct, labels))
    per_language = {
        languages[label]: float(correct_u[label_u == label].mean()) for label in np.unique(label_u)
    }
    return Scores(float(loss_u.mean()), float(correct_u.mean()), per_language)
