"""What a researcher watches: metrics as JSON lines, TensorBoard events and curves, each epoch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch.utils.tensorboard import SummaryWriter

from lid_toolkit.files import write_whole

Epoch = Mapping[str, Any]
CURVES = {
    "loss": ("train_loss", "valid_loss"),
    "accuracy": ("train_accuracy", "valid_accuracy", "valid_macro_accuracy"),
    "lr": ("lr",),
}


def report(history: Sequence[Epoch], output_dir: Path) -> None:
    """Write ``metrics.jsonl`` and ``images/*.png`` of all epochs, and the last one's TensorBoard events."""
    with write_whole(output_dir / "metrics.jsonl") as stream:
        stream.writelines(json.dumps(epoch) + "\n" for epoch in history)
    for name, measures in CURVES.items():
        with write_whole(output_dir / "images" / f"{name}.png", "wb") as stream:
            stream.write(draw_curves(history, name, measures))
    with SummaryWriter(str(output_dir / "tensorboard")) as writer:
        for measure, value in history[-1].items():
            if isinstance(value, float):
                writer.add_scalar(measure.replace("_", "/", 1), value, history[-1]["epoch"])


def draw_curves(history: Sequence[Epoch], title: str, measures: Sequence[str]) -> bytes:
    """Return a PNG of some measures over the epochs."""
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    epochs = [epoch["epoch"] for epoch in history]
    for measure in measures:
        axes.plot(epochs, [epoch[measure] for epoch in history], marker="o", markersize=3, label=measure)
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(measures) > 1:
        axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return image.getvalue()


def describe(epoch: Epoch) -> str:
    """Return one line about an epoch for the log."""
    return (
        f"epoch {epoch['epoch']}: train loss {epoch['train_loss']:.3f}, "
        f"accuracy {epoch['train_accuracy']:.4f}; valid loss {epoch['valid_loss']:.3f}, "
        f"accuracy {epoch['valid_accuracy']:.4f}, macro {epoch['valid_macro_accuracy']:.4f}; "
        f"{epoch['seconds']:.0f} s"
    )
