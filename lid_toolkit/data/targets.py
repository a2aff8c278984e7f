"""Targets other than labels: weights of several languages, or a teacher's answers.

Shapes: b utterances of a batch, c classes, l languages of the teacher, e its embedding; u and v as in
:class:`lid_toolkit.datadir.mixtures.Mixtures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.ark import vectors_at
from lid_toolkit.datadir.mixtures import mixtures_of
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ASK_AGAIN = "let the teacher identify the set again, with embeddings"
"""How to mend a teacher's answers."""
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


class Taught(NamedTuple):
    """A teacher's answers for a batch.

    Attributes:
        scores_bc: log posteriors of the classes (B, C), float32, up to a constant for each utterance.
        embeddings_be: embeddings (B, E) of length 1, float32; None if they are not learnt.
        labelled_b: whether the label is known (B,), bool; otherwise it is the teacher's most probable class.
    """

    scores_bc: Tensor
    embeddings_be: Tensor | None
    labelled_b: Tensor

    def to(self, device: torch.device, non_blocking: bool) -> Taught:
        """Return the answers on a device; see ``torch.Tensor.to``."""
        embeddings = self.embeddings_be
        return Taught(
            self.scores_bc.to(device, non_blocking=non_blocking),
            None if embeddings is None else embeddings.to(device, non_blocking=non_blocking),
            self.labelled_b.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class TeacherTargets:
    """Where the teacher's answers for each utterance are.

    Attributes:
        scores: utterance → ``ark:offset`` of its log posteriors (L,).
        embeddings: the same utterances → ``ark:offset`` of their embeddings (E,); None if not learnt.
        rows_u: row of each utterance in these tables, int64.
        columns_c: place of each class among the teacher's languages, int64.
        labelled_u: whether the label of the utterance is known, bool.
    """

    scores: Table
    embeddings: Table | None
    rows_u: npt.NDArray[np.int64]
    columns_c: npt.NDArray[np.int64]
    labelled_u: npt.NDArray[np.bool_]

    @property
    def embedding_size(self) -> int:
        """Dimension E of the teacher's embeddings; 0 if they are not learnt.

        Raises:
            LidError: the archive is missing or damaged.
        """
        return 0 if self.embeddings is None else len(next(vectors_at([self.embeddings.value(0)])))

    def select(self, rows: npt.NDArray[np.int64]) -> TeacherTargets:
        """Return the targets of some of the utterances."""
        return replace(self, rows_u=self.rows_u[rows], labelled_u=self.labelled_u[rows])

    def batch(self, rows: Sequence[int]) -> Taught:
        """Read the answers for the utterances of a batch.

        Raises:
            LidError: an archive is missing or damaged, or an embedding is not finite.
        """
        import torch

        rows_b = self.rows_u[list(rows)].tolist()
        embeddings = None
        if self.embeddings is not None:
            embeddings_be = _read(self.embeddings, rows_b)
            check_finite(embeddings_be, self.embeddings, rows_b)
            embeddings = torch.from_numpy(embeddings_be)
        return Taught(
            torch.from_numpy(_read(self.scores, rows_b)[:, self.columns_c]),
            embeddings,
            torch.from_numpy(self.labelled_u[list(rows)]),
        )


def _read(table: Table, rows_b: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the vectors of some rows."""
    return np.stack(list(vectors_at(table.value(row) for row in rows_b)))


def check_finite(values_bd: npt.NDArray[np.float32], table: Table, rows_b: Sequence[int]) -> None:
    """Raise LidError if a vector of these rows of a table has a number that is not finite."""
    broken_b = ~np.isfinite(values_bd).all(axis=1)
    if broken_b.any():
        row = rows_b[int(np.argmax(broken_b))]
        what = f"the teacher's answer for '{table.key(row)}' is not finite"
        raise LidError(what, where=table.value(row), mend=ASK_AGAIN)
