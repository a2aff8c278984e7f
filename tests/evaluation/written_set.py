"""A small set with truth, answers, scores and embeddings, as stages 3 and 6 leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datadir.vectors import write_pairs

from lid_toolkit.datadir.tables.table import write_table

DOLLARS = (r"$\foo$", "$x_{$", "$a$")
"""Labels that would break a picture, or change, if they were read as formulas."""


@dataclass(frozen=True)
class WrittenSet:
    data_dir: Path
    inference_dir: Path

    @property
    def answers(self) -> Path:
        return self.inference_dir / f"{self.inference_dir.name}_lids"

    @property
    def arguments(self) -> list[str]:
        return ["--data_dir", str(self.data_dir), "--inference_dir", str(self.inference_dir)]


def write_set(
    root: Path,
    truth: Mapping[str, str],
    answers: Mapping[str, str],
    languages: Sequence[str],
    failed: Mapping[str, str],
    seconds: float = 3.0,
    name: str = "test_x",
    sampling_rate: int = 16000,
) -> WrittenSet:
    made = WrittenSet(root / "dump" / "raw" / name, root / "inference" / "model" / name)
    write_table(made.data_dir / "utt2lang", truth.items())
    write_table(
        made.data_dir / "utt2num_samples", [(key, str(int(sampling_rate * seconds))) for key in truth]
    )
    (made.data_dir / "sampling_rate").write_text(f"{sampling_rate}\n")
    write_table(made.answers, answers.items())
    write_table(made.inference_dir / "failed", failed.items())
    (made.inference_dir / "languages").write_text("".join(f"{label}\n" for label in languages))
    scores = {key: _scores(list(languages), label) for key, label in answers.items()}
    random = np.random.default_rng(0)
    embeddings = {key: random.normal(size=8) + 4 * np.exp(score[0]) for key, score in scores.items()}
    for name, vectors in (("scores", scores), ("embeddings", embeddings)):
        write_pairs(made.inference_dir / f"{name}.ark", made.inference_dir / f"{name}.scp", vectors.items())
    return made


def _scores(languages: list[str], answer: str) -> np.ndarray:
    posteriors = np.full(len(languages), 0.1 / max(len(languages) - 1, 1))
    posteriors[languages.index(answer)] = 0.9
    return np.log(posteriors)
