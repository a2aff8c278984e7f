"""Target weights of a training on utterances of several languages.

Shapes: b utterances of a batch, c classes; u, v, e as in :class:`lid_toolkit.datadir.mixtures.Mixtures`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.mixtures import mixtures_of
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError

TargetKind = Literal["soft", "multi_hot"]
"""``soft``: the weights in ``utt2langs``, which sum to 1; ``multi_hot``: 1 for every language in
``utt2langs``."""


@dataclass(frozen=True)
class Targets:
    """The target weights of the classes of each utterance, without the zeros.

    Attributes:
        values_u: number of each utterance's value of ``utt2langs``, int32.
        bounds_v: (values + 1,) where the entries of each value begin; the last is the number of entries.
        classes_e: class index of each entry, int32.
        weights_e: weight of each entry, float32.
        classes: number of classes.
    """

    values_u: npt.NDArray[np.int32]
    bounds_v: npt.NDArray[np.int64]
    classes_e: npt.NDArray[np.int32]
    weights_e: npt.NDArray[np.float32]
    classes: int

    def select(self, rows: npt.NDArray[np.int64]) -> Targets:
        """Return the targets of some of the utterances."""
        return replace(self, values_u=self.values_u[rows])

    def dense(self, rows: list[int]) -> npt.NDArray[np.float32]:
        """Return the weights of the utterances of a batch, (B, classes)."""
        targets_bc = np.zeros((len(rows), self.classes), dtype=np.float32)
        for targets_c, value in zip(targets_bc, self.values_u[rows].tolist(), strict=True):
            entries = slice(*self.bounds_v[value : value + 2])
            targets_c[self.classes_e[entries]] = self.weights_e[entries]
        return targets_bc


def read_targets(utt2langs: Table, languages: tuple[str, ...], kind: TargetKind, name: Path) -> Targets:
    """Return the targets of the utterances of ``utt2langs``, a table called ``name`` in messages.

    Raises:
        LidError: a row is malformed, or has a language that is not one of ``languages``.
    """
    mixtures = mixtures_of(utt2langs, name)
    index = {language: number for number, language in enumerate(languages)}
    if unknown := [label for label in mixtures.labels if label not in index]:
        raise LidError(
            f"not the main language of any training utterance: {' '.join(unknown)}",
            where=name,
            mend="correct these labels, or add training data of these languages",
        )
    classes_l = np.array([index[label] for label in mixtures.labels], dtype=np.int32)
    weights_e = mixtures.weights_e if kind == "soft" else np.ones_like(mixtures.weights_e)
    return Targets(
        mixtures.values_u, mixtures.bounds_v, classes_l[mixtures.labels_e], weights_e, len(languages)
    )
