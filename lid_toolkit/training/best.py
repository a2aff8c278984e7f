"""The best epochs by the validation set: kept, pointed to, averaged."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.checkpoint import average, load, point_to, save_model
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.loop import Training

Epoch = Mapping[str, Any]


def rank(config: TrainConfig, history: Sequence[Epoch]) -> list[int]:
    """Return the epochs' numbers, best first; of equal ones the earlier by lower loss, then the later."""
    criterion = config.best_model_criterion
    sign = 1 if criterion == "loss" else -1

    def merit(epoch: Epoch) -> tuple[float, float, int]:
        measure, loss = sign * epoch[f"valid_{criterion}"], epoch["valid_loss"]
        return (
            math.inf if math.isnan(measure) else measure,
            math.inf if math.isnan(loss) else loss,
            -epoch["epoch"],
        )

    return [epoch["epoch"] for epoch in sorted(history, key=merit)]


def out_of_patience(config: TrainConfig, history: Sequence[Epoch]) -> bool:
    """Return whether ``patience`` epochs have passed since the best."""
    if config.patience is None or not history:
        return False
    return len(history) - rank(config, history)[0] >= config.patience


def keep_best(training: Training, model: LidModel, history: Sequence[Epoch], output_dir: Path) -> None:
    """Write the epoch's weights if it is among the best, drop those that no longer are."""
    best = rank(training.config, history)[: training.config.keep_nbest_models]
    newest = history[-1]["epoch"]
    if newest in best:
        description, rate = training.config.model_description(), training.config.preprocessor_conf.sample_rate
        path = output_dir / f"{newest}epoch.pth"
        save_model(path, model.state_dict(), description, training.languages, rate)
    link = output_dir / f"valid.{training.config.best_model_criterion}.best.pth"
    point_to(link, f"{best[0]}epoch.pth")
    for epoch in history:
        if epoch["epoch"] not in best:
            (output_dir / f"{epoch['epoch']}epoch.pth").unlink(missing_ok=True)


def average_best(training: Training, history: Sequence[Epoch], output_dir: Path) -> list[Path]:
    """Average the weights of the best epochs; return that file and the best one's."""
    config = training.config
    best = rank(config, history)[: config.keep_nbest_models]
    contents = [load(output_dir / f"{epoch}epoch.pth") for epoch in best]
    name = f"valid.{config.best_model_criterion}"
    path = output_dir / f"{name}.ave_{len(best)}best.pth"
    first = contents[0]
    weights = average([content["model"] for content in contents])
    save_model(path, weights, first["description"], first["languages"], first["rate"])
    point_to(output_dir / f"{name}.ave.pth", path.name)
    logging.info("averaged epochs %s into %s", " ".join(map(str, best)), path)
    return [path, output_dir / f"{name}.best.pth"]
