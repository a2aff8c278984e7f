"""Validation: loss, accuracy and accuracy per language over a whole set.

Shapes: b batch, l languages, u utterances, t time.
"""

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
        accuracy: proportion of utterances identified correctly.
        per_language: the accuracy of each language in the set.
    """

    loss: float
    accuracy: float
    per_language: dict[str, float]

    @property
    def macro_accuracy(self) -> float:
        """Mean accuracy over the languages."""
        return float(np.mean(list(self.per_language.values())))


def validate(
    training: Training, model: LidModel, batches: Batches, before_each: Callable[[], None]
) -> Scores:
    """Score every utterance of the validation set once; the processes share the work.

    Args:
        training: validation set, processes and precision.
        model: its training or evaluation mode is restored afterwards.
        batches: batches of the whole set.
        before_each: called before each batch, equally often in every process.

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
        raise LidError("no utterance can be read", where="validation set", redo="formatting")
    # A process with fewer batches than others repeats one: count each utterance once. In the order of the
    # set, every process computes the same sums.
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
    """Return rows, losses and correctness of the utterances that this process scores."""
    world, device = training.world, training.world.device
    steps = -(-len(batches) // world.size)
    numbers = [min(world.rank + step * world.size, len(batches) - 1) for step in range(steps)]
    scored: list[Scored] = [(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))]
    with torch.inference_mode(), training.precision.autocast(device):
        for minibatch in training.minibatches(training.valid, [batches[number] for number in numbers]):
            before_each()
            if not len(minibatch.rows_b):
                continue
            output = model(*minibatch.model_inputs(device))
            scored.append(
                (
                    minibatch.rows_b.numpy(),
                    output.loss_b.float().cpu().numpy(),
                    output.correct_b.cpu().numpy(),
                )
            )
    rows, losses, correct = zip(*scored, strict=True)
    return np.concatenate(rows), np.concatenate(losses), np.concatenate(correct)
