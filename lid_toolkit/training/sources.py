"""What a training reads and writes, and whether it is finished: known without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.augment.sounds import find_list
from lid_toolkit.data.features import DESCRIPTION
from lid_toolkit.data.teacher import ANSWER_FILES
from lid_toolkit.datadir.datadir import DIGEST
from lid_toolkit.datadir.mixtures import UTT2LANGS
from lid_toolkit.steps import Step
from lid_toolkit.training.config import TrainConfig, default_settings
from lid_toolkit.training.feature_stats import FeatureStats


@dataclass(frozen=True)
class Sources:
    """The directories of a training.

    Attributes:
        train_dir: formatted training set.
        valid_dir: formatted validation set.
        stats_dir: directory of the statistics: lengths, labels, feature statistics.
        output_dir: directory of the experiment.
        teacher_dir: a teacher's answers to the training set, as an identification with embeddings writes
            them; None without a teacher.
    """

    train_dir: Path
    valid_dir: Path
    stats_dir: Path
    output_dir: Path
    teacher_dir: Path | None = None

    def tables(self, config: TrainConfig) -> dict[str, Path]:
        """Return the files that a training with this configuration reads, by name."""
        statistics = self.statistics(config)
        return {
            "train wav.scp": self.train_dir / "wav.scp",
            "train audio": self.train_dir / DIGEST,
            "train features": self.train_dir / DESCRIPTION,
            "train utt2lang": self.train_dir / "utt2lang",
            "train utt2dataset": self.train_dir / "utt2dataset",
            **self._utt2langs(config),
            "train speech_shape": self.stats_dir / "train" / "speech_shape",
            **({"train feats_stats": statistics.file_used} if statistics.used else {}),
            "valid wav.scp": self.valid_dir / "wav.scp",
            "valid audio": self.valid_dir / DIGEST,
            "valid features": self.valid_dir / DESCRIPTION,
            "valid utt2lang": self.valid_dir / "utt2lang",
            "valid speech_shape": self.stats_dir / "valid" / "speech_shape",
            "lang2idx": self.stats_dir / "lang2idx",
            **self._answers(),
            **self._domains(config),
        }

    def _utt2langs(self, config: TrainConfig) -> dict[str, Path]:
        if config.targets is None:
            return {}
        return {"train utt2langs": self.train_dir / UTT2LANGS, "valid utt2langs": self.valid_dir / UTT2LANGS}

    def _domains(self, config: TrainConfig) -> dict[str, Path]:
        if config.adversary is None:
            return {}
        return {f"train {config.adversary}": self.train_dir / config.adversary}

    def _answers(self) -> dict[str, Path]:
        if self.teacher_dir is None:
            return {}
        return {f"teacher {name}": self.teacher_dir / name for name in ANSWER_FILES}

    def statistics(self, config: TrainConfig) -> FeatureStats:
        """Return the feature statistics that this configuration uses for normalisation."""
        return FeatureStats(config, self.train_dir, self.stats_dir)


def training_step(config: TrainConfig, sources: Sources) -> Step:
    """Return the training as a step, which is current when it has finished with these files and settings."""
    out = sources.output_dir
    return Step(
        f"train {out}",
        out / ".done" / "train.json",
        inputs=input_files(config, sources),
        options=config.model_dump(mode="json"),
        defaults=default_settings(),
    )


def input_files(config: TrainConfig, sources: Sources) -> dict[str, Path]:
    """Return the files that determine the result of a training, by name."""
    return sources.tables(config) | named_files(config)


def named_files(config: TrainConfig) -> dict[str, Path]:
    """Return the files that a configuration names: initial weights, and lists of noise and rooms."""
    initial = {f"init_param {text}": Path(text.partition(":")[0]) for text in config.init_param}
    return initial | {f"list {text}": find_list(text) for text in config.preprocessor_conf.sound_lists()}
