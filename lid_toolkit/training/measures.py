"""The measures of each epoch as files and dashboards: JSON lines, curves, TensorBoard, Weights & Biases.

What a person reads while the training runs is in :mod:`lid_toolkit.training.console`. TensorBoard and
matplotlib take seconds to import, so they are imported where they are used.

Shapes: l languages, e epochs.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.state import EpochMeasures, measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = {
    "loss": ("train_loss", "valid_loss"),
    "accuracy": ("train_accuracy", "valid_accuracy", "valid_macro_accuracy"),
    "lr": ("lr",),
}


def report(config: TrainConfig, history: Sequence[EpochMeasures], output_dir: Path) -> None:
    """Write ``metrics.jsonl`` and ``images/*.png`` of all epochs; send the last epoch to the dashboards."""
    with write_whole(output_dir / "metrics.jsonl") as stream:
        stream.writelines(json.dumps(epoch) + "\n" for epoch in history)
    if config.use_matplotlib:
        pictures = {name: draw_curves(history, name, measures) for name, measures in CURVES.items()}
        pictures["per_language"] = draw_languages(history)
        for name, picture in pictures.items():
            with write_whole(output_dir / "images" / f"{name}.png", "wb") as stream:
                stream.write(picture)
    scalars = {name.replace("_", "/", 1): v for name, v in history[-1].items() if isinstance(v, float)}
    for language, value in history[-1]["valid_per_language"].items():
        scalars[f"valid_per_language/{language}"] = value
    if config.use_tensorboard:
        write_events(output_dir / "tensorboard", scalars, history[-1]["epoch"])
    if config.use_wandb:
        send_to_wandb(config, scalars, history[-1]["epoch"], output_dir)


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


def draw_curves(history: Sequence[EpochMeasures], title: str, measures: Sequence[str]) -> bytes:
    """Return a PNG of curves of some measures over the epochs."""

    def draw(axes: Axes) -> None:
        epochs = [epoch["epoch"] for epoch in history]
        for name in measures:
            values = [measure(epoch, name) for epoch in history]
            axes.plot(epochs, values, marker="o", markersize=3, label=name)
        axes.grid(alpha=0.3)
        if len(measures) > 1:
            axes.legend(frameon=False)

    return _picture(title, (6, 4), draw)


def draw_languages(history: Sequence[EpochMeasures]) -> bytes:
    """Return a PNG of each language's validation accuracy over the epochs, the hardest on top."""
    last = history[-1]["valid_per_language"]
    languages = sorted(last, key=lambda language: (last[language], language))
    accuracy_le = np.array([[epoch["valid_per_language"][name] for epoch in history] for name in languages])

    def draw(axes: Axes) -> None:
        edges = (history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5, len(languages) - 0.5, -0.5)
        image = axes.imshow(accuracy_le, aspect="auto", extent=edges, vmin=0, vmax=1, interpolation="nearest")
        axes.figure.colorbar(image, label="accuracy")
        axes.set_yticks(range(len(languages)), languages, fontsize=7)

    return _picture("validation accuracy of each language", (6, max(3, 0.14 * len(languages) + 1.5)), draw)


def _picture(title: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> bytes:
    """Return a PNG with epochs on the horizontal axis; ``draw`` fills the axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw(axes)
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return image.getvalue()
