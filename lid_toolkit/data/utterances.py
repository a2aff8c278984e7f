"""A formatted data directory as arrays: what the loader's workers share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.features import TABLE, read_description
from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError


@dataclass(frozen=True)
class Utterances:
    """One set; row u of every attribute is the same utterance. Buffers, not objects: forks share them.

    Attributes:
        refs: utterance id and where its audio lies.
        labels_u: class of each, int32; -1 where unknown.
        lengths_u: samples of each, int64.
        datasets_u: number of the dataset each comes from, int32; None where nobody asked.
        hop_length: samples for each row of extracted features; None where ``refs`` lead to audio.
    """

    refs: Table
    labels_u: npt.NDArray[np.int32]
    lengths_u: npt.NDArray[np.int64]
    datasets_u: npt.NDArray[np.int32] | None = None
    hop_length: int | None = None

    def __len__(self) -> int:
        return len(self.refs)

    def select(self, rows: npt.NDArray[np.int64]) -> Utterances:
        """Return some of the utterances."""
        return replace(
            self,
            refs=self.refs.select(rows),
            labels_u=self.labels_u[rows],
            lengths_u=self.lengths_u[rows],
            datasets_u=None if self.datasets_u is None else self.datasets_u[rows],
        )


def load_utterances(
    data_dir: Path, shape_file: Path, languages: tuple[str, ...], with_datasets: bool = False
) -> Utterances:
    """Load the utterances of ``shape_file`` (utt, samples) from ``data_dir``'s references and utt2lang.

    Args:
        data_dir: a formatted set.
        shape_file: which of its utterances, and their lengths.
        languages: labels in index order.
        with_datasets: read ``utt2dataset`` too.

    Raises:
        LidError: a table is missing or faulty, lacks an utterance, or names an unknown language.
    """
    shapes = read_table(shape_file)
    table, hop_length = references(data_dir)
    refs, labels = (_rows_of(path, shapes) for path in (table, data_dir / "utt2lang"))
    known, codes_u = labels.codes()
    index = {language: row for row, language in enumerate(languages)}
    unknown = [language for language in known if language not in index]
    if unknown:
        raise LidError(
            f"languages unknown to training: {' '.join(unknown)}",
            where=data_dir / "utt2lang",
            mend="remove these utterances, or train with these languages",
        )
    to_class_l = np.array([index[language] for language in known], dtype=np.int32)
    datasets_u = _rows_of(data_dir / "utt2dataset", shapes).codes()[1] if with_datasets else None
    return Utterances(refs, to_class_l[codes_u], shapes.integers(), datasets_u, hop_length)


def load_unlabelled(data_dir: Path) -> Utterances:
    """Load the utterances of a set of audio or of extracted features, which need no language labels."""
    table, hop_length = references(data_dir)
    refs, lengths = read_table(table), read_table(data_dir / "utt2num_samples")
    if not refs.same_keys(lengths):
        raise LidError(
            f"differs in utterances from {table.name}",
            where=data_dir / "utt2num_samples",
            mend="run stage 3 again",
        )
    labels_u = np.full(len(refs), -1, dtype=np.int32)
    return Utterances(refs, labels_u, lengths.integers(), hop_length=hop_length)


def references(data_dir: Path) -> tuple[Path, int | None]:
    """Return the table of where utterances lie, and the samples for each row where they are features."""
    made = read_description(data_dir)
    return (data_dir / "wav.scp", None) if made is None else (data_dir / TABLE, int(made["hop_length"]))


def read_languages(lang2idx: Path) -> tuple[str, ...]:
    """Return the labels of a ``lang2idx`` table in index order."""
    table = read_table(lang2idx)
    indices = table.integers()
    if sorted(indices.tolist()) != list(range(len(table))):
        raise LidError("indices are not 0, 1, 2, …", where=lang2idx, mend="run stage 4 again")
    return tuple(table.key(int(row)) for row in np.argsort(indices))


def _rows_of(path: Path, wanted: Table) -> Table:
    table = read_table(path)
    if table.same_keys(wanted):
        return table
    rows = table.rows(wanted.keys())
    if (rows < 0).any():
        lacking = wanted.key(int(np.argmax(rows < 0)))
        raise LidError(f"lacks utterance '{lacking}'", where=path, mend="run stages 3 and 4 again")
    return table.select(rows)
