"""The best epochs by validation measures: their weights are kept, linked to, and averaged."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import with_architecture
from lid_toolkit.training.checkpoint import average, load_content, point_to, save_model
from lid_toolkit.training.config import Criterion, TrainConfig
from lid_toolkit.training.distilling import without_training_parts
from lid_toolkit.training.distributed import full_model_state
from lid_toolkit.training.state import EpochMeasures, Learner, Training, measure


def rank(criterion: Criterion, history: Sequence[EpochMeasures]) -> list[int]:
    """Return the epochs' numbers, best first. Ties go to the lower validation loss, then the later epoch."""
    measured, quantity, direction = criterion
    sign = 1 if direction == "min" else -1

    def merit(epoch: EpochMeasures) -> tuple[float, float, int]:
        value, loss = sign * measure(epoch, f"{measured}_{quantity}"), epoch["valid_loss"]
        return (
            math.inf if math.isnan(value) else value,
            math.inf if math.isnan(loss) else loss,
            -epoch["epoch"],
        )

    return [epoch["epoch"] for epoch in sorted(history, key=merit)]


def out_of_patience(config: TrainConfig, history: Sequence[EpochMeasures]) -> bool:
    """Return whether more than ``patience`` epochs have passed since the best one, as in ESPnet."""
    if config.patience is None or not history:
        return False
    criterion = config.early_stopping_criterion or config.best_model_criterion[0]
    return len(history) - rank(criterion, history)[0] > config.patience


def kept_epochs(config: TrainConfig, history: Sequence[EpochMeasures]) -> set[int]:
    """Return the epochs that are among the best by at least one criterion."""
    most = max(config.averaged)
    return {epoch for criterion in config.best_model_criterion for epoch in rank(criterion, history)[:most]}


def keep_best(
    training: Training, learner: Learner, history: Sequence[EpochMeasures], output_dir: Path
) -> None:
    """Write the weights of the last epoch if it is among the best. Every process must call it."""
    config, newest = training.config, history[-1]["epoch"]
    kept = kept_epochs(config, history)
    weights = full_model_state(learner.judged) if newest in kept else {}
    if not training.world.main:
        return
    if newest in kept:
        rate = config.preprocessor_conf.sample_rate
        path = output_dir / f"{newest}epoch.pth"
        description = with_architecture(config.model_description(), learner.model.frontend)
        save_model(path, without_training_parts(weights), description, training.languages, rate)
    for criterion in config.best_model_criterion:
        point_to(output_dir / f"{name_of(criterion)}.best.pth", f"{rank(criterion, history)[0]}epoch.pth")


def drop_others(config: TrainConfig, history: Sequence[EpochMeasures], output_dir: Path) -> None:
    """Remove the weights of epochs that are not among the best.

    The checkpoint must already hold ``history``: for a training that continues from an older checkpoint,
    other epochs may be the best.
    """
    for epoch in {epoch["epoch"] for epoch in history} - kept_epochs(config, history):
        (output_dir / f"{epoch}epoch.pth").unlink(missing_ok=True)


def average_best(config: TrainConfig, history: Sequence[EpochMeasures], output_dir: Path) -> list[Path]:
    """Average the weights of the best epochs; return the files of the averages and of the best epochs."""
    written: list[Path] = []
    for criterion in config.best_model_criterion:
        ranked, name = rank(criterion, history), name_of(criterion)
        for number in sorted({min(number, len(ranked)) for number in config.averaged}):
            path = output_dir / f"{name}.ave_{number}best.pth"
            contents = [load_content(_weights_of(epoch, output_dir)) for epoch in ranked[:number]]
            weights, first = average([content["model"] for content in contents]), contents[0]
            save_model(path, weights, first["description"], first["languages"], first["rate"])
            point_to(output_dir / f"{name}.ave.pth", path.name)
            logging.info("averaged epochs %s into %s", " ".join(map(str, ranked[:number])), path)
            written.append(path)
        written.append(output_dir / f"{name}.best.pth")
        point_to(written[-1], f"{ranked[0]}epoch.pth")
    return written


def check_model_name(name: str, config: TrainConfig) -> None:
    """Check that a training can write a model file of this name.

    Raises:
        LidError: it cannot, for example because no criterion ranks the epochs by the loss.
    """
    criteria = [name_of(criterion) for criterion in config.best_model_criterion]
    most = max(config.averaged)
    epoch = re.fullmatch(r"([1-9]\d*)epoch\.pth", name)
    best = re.fullmatch(r"(.+)\.(?:best|ave|ave_([1-9]\d*)best)\.pth", name)
    if epoch and int(epoch[1]) <= config.max_epoch:
        return
    if best and best[1] in criteria and int(best[2] or 1) <= most:
        return
    what = f"training does not write {name}: it keeps the best {most} of {config.max_epoch} epochs by "
    what += " and by ".join(criteria)
    mend = f"choose {criteria[0]}.best.pth, or change the configuration"
    raise LidError(what, where="inference_model", mend=mend)


def _weights_of(epoch: int, output_dir: Path) -> Path:
    path = output_dir / f"{epoch}epoch.pth"
    if not path.exists():
        mend = "restore the file, or remove the directory to train from the start"
        raise LidError("the weights of one of the best epochs are missing", where=path, mend=mend)
    return path


def name_of(criterion: Criterion) -> str:
    """Return the name of a criterion in file names, such as ``valid.accuracy``."""
    return ".".join(criterion[:2])
