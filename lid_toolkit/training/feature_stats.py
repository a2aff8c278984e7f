"""Mean and variance of the training features, for normalisers that need them: their record and their use.

``lid_toolkit.prepare.feature_stats`` collects them before training.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.datadir import DIGEST
from lid_toolkit.errors import LidError
from lid_toolkit.models.registry import needs_statistics
from lid_toolkit.steps import Step
from lid_toolkit.training.config import TrainConfig

if TYPE_CHECKING:
    from lid_toolkit.models.lid_model import LidModel

STATS_FILE = Path("train", "feats_stats.npz")


@dataclass(frozen=True)
class Sums:
    """Sums over frames: their number, and (D,) float64 sums of features and of their squares."""

    frames: int
    sum_d: npt.NDArray[np.float64]
    sum_square_d: npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureStats:
    """What to collect.

    Attributes:
        config: names the front end, its arguments and the normaliser.
        train_dir: formatted training set, or one of extracted features.
        stats_dir: directory of the statistics, with ``lang2idx`` and ``train/speech_shape``.
    """

    config: TrainConfig
    train_dir: Path
    stats_dir: Path

    @property
    def used(self) -> bool:
        """Whether training normalises by statistics."""
        return needs_statistics(self.config.model_description())

    @property
    def needed(self) -> bool:
        """Whether the statistics must be collected from the training set."""
        return self.used and configured_file(self.config) is None

    @property
    def file_used(self) -> Path:
        """The file of statistics: the one collected, or the one that the configuration names."""
        return configured_file(self.config) or self.stats_dir / STATS_FILE

    @property
    def step(self) -> Step:
        """The collection as a whole, finished by the merge."""
        return Step(
            "collect feature statistics",
            self.stats_dir / ".done" / "feature_stats.json",
            {
                "wav.scp": self.train_dir / "wav.scp",
                DIGEST: self.train_dir / DIGEST,
                "speech_shape": self.stats_dir / "train" / "speech_shape",
            },
            {"frontend": self.config.frontend, "frontend_conf": self.config.frontend_conf},
        )


def configured_file(config: TrainConfig) -> Path | None:
    """Return the file of statistics that a configuration names; None if it names none."""
    name = config.normalize_conf.get("stats_file")
    return Path(str(name)) if name else None


def check_statistics(task: FeatureStats) -> None:
    """Check that the statistics belong to this configuration and data; experiments may share the file.

    Raises:
        LidError: they were collected with another front end or from other data.
    """
    if task.needed and task.file_used.exists() and (reason := task.step.reason()):
        raise LidError(
            f"the statistics are of another configuration: {reason}",
            where=task.file_used,
            redo="statistics",
        )


def use_statistics(model: LidModel, config: TrainConfig, stats_dir: Path) -> None:
    """Set mean and variance of the normaliser, if it needs them.

    Raises:
        LidError: the statistics are missing, or are of other features.
    """
    import torch

    if model.normalize is None or not model.normalize.needs_statistics:
        return
    path = configured_file(config) or stats_dir / STATS_FILE
    sums = read_sums(path)
    try:
        model.normalize.set_statistics(
            torch.tensor(sums.frames), torch.from_numpy(sums.sum_d), torch.from_numpy(sums.sum_square_d)
        )
    except ValueError as error:
        raise LidError(str(error), where=path, redo="statistics") from None


def read_sums(path: Path) -> Sums:
    """Read the file of sums.

    Raises:
        LidError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = (np.asarray(kept[name], dtype=np.float64) for name in ("sum", "sum_square"))
            return Sums(int(kept["count"]), *arrays)
    except FileNotFoundError:
        raise LidError("does not exist", where=path, redo="statistics") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise LidError(f"not feature statistics: {error}", where=path, redo="statistics") from None
