"""Validation: loss, accuracy and accuracy per language over a whole set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.data.samplers import Batches
from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.state import Training

Scored = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]


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
    training: Training, model: LidModel, batches: Batches, before_each: Callable[[], None]
) -> Scores:
    """Score every utterance of the validation set once, shared among the processes.

    Args:
        training: the set, the processes and the precision.
        model: left in the mode that it is in.
        batches: the whole set.
        before_each: called before each batch, as often in every process.

    Raises:
        LidError: no utterance can be read.
    """
    mode = model.training
    model.eval()
    own = score_own(training, model, batches, before_each)
    model.train(mode)
    gathered = zip(*training.world.gather(own), strict=True)
    rows_u, loss_u, correct_u = (np.concatenate(parts) for parts in gathered)
    if not len(rows_u):
        raise LidError("no utterance can be read", where="validation set", mend="run stage 3 again")
    # A process that has a batch less than others repeats one; sums in the set's order are the same on all.
    rows_u, first_u = np.unique(rows_u, return_index=True)
    loss_u, correct_u = loss_u[first_u], correct_u[first_u]
    labels_u = training.valid.labels_u[rows_u]
    per_language = {
        training.languages[label]: float(correct_u[labels_u == label].mean()) for label in np.unique(labels_u)
    }
    return Scores(float(loss_u.mean()), float(correct_u.mean()), per_language)


def score_own(
    training: Training, model: LidModel, batches: Batches, before_each: Callable[[], None]
) -> Scored:
    """Return rows, losses and whether they are identified, of this process's share of the utterances."""
    world, device = training.world, training.world.device
    steps = -(-len(batches) // world.size)
    numbers = [min(world.rank + step * world.size, len(batches) - 1) for step in range(steps)]
    scored: list[Scored] = [(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))]
    with torch.inference_mode(), training.precision.autocast(device):
        for minibatch in training.minibatches(training.valid, [batches[number] for number in numbers]):
            before_each()
            if not len(minibatch.rows_b):
                continue
            output = model(minibatch.wave_bt.to(device), minibatch.lengths_b, minibatch.labels_b.to(device))
            scored.append(
                (
                    minibatch.rows_b.numpy(),
                    output.loss_b.float().cpu().numpy(),
                    output.correct_b.cpu().numpy(),
                )
            )
    rows, losses, correct = zip(*scored, strict=True)
    return np.concatenate(rows), np.concatenate(losses), np.concatenate(correct)
