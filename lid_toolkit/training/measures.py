"""The measures of each epoch as files and dashboards: JSON lines, curves, TensorBoard, Weights & Biases.

What a person reads while the training runs is in :mod:`lid_toolkit.training.console`. TensorBoard and
matplotlib take seconds to import, so they are imported where they are used.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.state import EpochMeasures


def report(config: TrainConfig, history: Sequence[EpochMeasures], output_dir: Path) -> None:
    """Write ``metrics.jsonl`` and ``images/`` of all epochs; send the last epoch to the dashboards."""
    with write_whole(output_dir / "metrics.jsonl") as stream:
        stream.writelines(json.dumps(epoch) + "\n" for epoch in history)
    if config.use_matplotlib:
        draw(history, output_dir / "images")
    scalars = {name.replace("_", "/", 1): v for name, v in history[-1].items() if isinstance(v, float)}
    for language, value in history[-1]["valid_per_language"].items():
        scalars[f"valid_per_language/{language}"] = value
    if config.use_tensorboard:
        write_events(output_dir / "tensorboard", scalars, history[-1]["epoch"])
    if config.use_wandb:
        send_to_wandb(config, scalars, history[-1]["epoch"], output_dir)


def draw(history: Sequence[EpochMeasures], images: Path) -> None:
    """Draw the curves of all epochs, each as a PNG and an SVG picture."""
    from lid_toolkit.evaluation.curve_pictures import CURVES, epochs_picture, learning_picture
    from lid_toolkit.evaluation.style import FORMS, saved

    pictures = {name: learning_picture(history, name) for name in CURVES}
    pictures["per_language"] = epochs_picture(history)
    for name, picture in pictures.items():
        for form in FORMS:
            with write_whole(images / f"{name}.{form}", "wb") as stream:
                stream.write(saved(picture.figure, form))


def write_events(directory: Path, scalars: Mapping[str, float], epoch: int) -> None:
    """Write an epoch's TensorBoard events; they replace those of an interrupted run for the same epoch."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory), purge_step=epoch) as writer:
        for name, value in scalars.items():
            writer.add_scalar(name, value, epoch)


def check_wandb(config: TrainConfig) -> None:
    """Check that wandb is installed if ``use_wandb`` is set.

    Raises:
        LidError: it is not.
    """
    if config.use_wandb and importlib.util.find_spec("wandb") is None:
        raise LidError(
            "the package wandb is missing",
            where="use_wandb",
            mend="pip install wandb, or set use_wandb: false",
        )


def send_to_wandb(config: TrainConfig, scalars: Mapping[str, float], epoch: int, output_dir: Path) -> None:
    """Send an epoch's measures; the run's id follows from the directory, so a continued training keeps it."""
    wandb = importlib.import_module("wandb")
    if wandb.run is None:
        wandb.init(
            project=config.wandb_project or Path.cwd().name,
            entity=config.wandb_entity,
            name=config.wandb_name or output_dir.name,
            id=config.wandb_id or "-".join(output_dir.parts[-2:]),
            dir=str(output_dir),
            config=config.model_dump(mode="json"),
            resume="allow",
        )
    wandb.log(dict(scalars), step=epoch)
