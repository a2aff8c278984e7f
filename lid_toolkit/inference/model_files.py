"""The files of a model, known without importing torch."""

from __future__ import annotations

from pathlib import Path

BEST_MODEL = "valid.*.best.pth"


def best_model(experiment: Path) -> Path:
    """Return the best model file of an experiment, or the path that it would have."""
    return min(experiment.glob(BEST_MODEL), default=experiment / BEST_MODEL)


def model_files(model: Path) -> dict[str, Path]:
    """Return the files that a model's answers depend on, by name.

    They are the path itself; of an experiment, its best model file; of another toolkit's model or an unpacked
    package, all files of the folder.
    """
    if not model.is_dir():
        return {"model": model}
    if (best := best_model(model)).exists():
        return {"model": best}
    return {f"model {file.name}": file for file in sorted(model.iterdir()) if file.is_file()}
