"""A teacher's answers about beeps, as an identification writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lid_toolkit.datadir.ark import write_vectors
from lid_toolkit.datadir.tables.table import read_table

HEARD = ("middle", "other", "low", "high")
"""The teacher's languages: another order than the student's, and one more."""


def true_answers(data_dir: Path) -> dict[str, str]:
    """Return the language in the name of each utterance of a set that ``write_set`` wrote."""
    languages = ("high", "low", "middle")
    return {key: languages[int(key[-3:]) % 3] for key, _ in read_table(data_dir / "wav.scp")}


def write_answers(directory: Path, answers: Mapping[str, str], seed: int = 0) -> Path:
    """Write answers that are mostly sure of the given languages, with embeddings that tell them apart."""
    directory.mkdir(parents=True, exist_ok=True)
    keys = sorted(answers)
    rng = np.random.default_rng(seed)
    sure_ul = np.array([[4.0 * (language == answers[key]) for language in HEARD] for key in keys])
    scores_ul = sure_ul + rng.normal(0, 0.3, sure_ul.shape)
    scores_ul -= np.log(np.exp(scores_ul).sum(axis=1, keepdims=True))
    embeddings_ue = np.pad(sure_ul, ((0, 0), (0, 1)), constant_values=1.0)
    embeddings_ue /= np.linalg.norm(embeddings_ue, axis=1, keepdims=True)
    for name, matrix in (("scores", scores_ul), ("embeddings", embeddings_ue)):
        write_vectors(directory / f"{name}.ark", directory / f"{name}.scp", [(keys, matrix)])
    (directory / "languages").write_text("".join(f"{language}\n" for language in HEARD))
    return directory
