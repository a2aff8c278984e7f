"""A formatted data directory as arrays.

Shapes: u utterances, l languages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.features import TABLE, read_description
from lid_toolkit.data.targets import TargetKind, Targets, TeacherTargets, read_targets
from lid_toolkit.datadir.crops import crop_begins, crop_samples
from lid_toolkit.datadir.datadir import read_lengths
from lid_toolkit.datadir.mixtures import UTT2LANGS
from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError
from lid_toolkit.languages import UNLABELLED

COPY_PREFIX = re.compile(r"^(aug\d+-)?(sp\d+(\.\d+)?-)?")


@dataclass(frozen=True)
class Utterances:
    """A set of utterances: row u of every attribute is the same utterance.

    Everything is in arrays instead of Python objects, so that forked workers share the memory: counting
    references to an object would copy the page it is on.

    Attributes:
        refs: utterance ids, and references to their audio or features.
        labels_u: class index of each utterance, int32; -1 if unknown.
        lengths_u: number of samples of each utterance, int64.
        datasets_u: number of the dataset of each utterance, int32; None if not loaded.
        targets: target weights of the classes of each utterance, or a teacher's answers; None to train with
            ``labels_u``.
        hop_length: samples per frame of extracted features, ``UNDIVIDED`` if they cannot be cropped; None if
            ``refs`` refer to audio.
        begins_u: first sample of each utterance in its audio, int64; None: 0.
        domains_u: number of the domain of each utterance, int32; None if not loaded.
    """

    refs: Table
    labels_u: npt.NDArray[np.int32]
    lengths_u: npt.NDArray[np.int64]
    datasets_u: npt.NDArray[np.int32] | None = None
    targets: Targets | TeacherTargets | None = None
    hop_length: int | None = None
    begins_u: npt.NDArray[np.int64] | None = None
    domains_u: npt.NDArray[np.int32] | None = None

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
            domains_u=None if self.domains_u is None else self.domains_u[rows],
            targets=None if self.targets is None else self.targets.select(rows),
            begins_u=None if self.begins_u is None else self.begins_u[rows],
        )


def load_utterances(
    data_dir: Path,
    shape_file: Path,
    languages: tuple[str, ...],
    with_datasets: bool = False,
    targets: TargetKind | None = None,
    domains: str | None = None,
) -> Utterances:
    """Load the utterances of ``shape_file`` (utt, samples) from ``data_dir``'s references and utt2lang.

    An utterance whose label is ``und`` has class -1.

    Args:
        data_dir: a formatted set.
        shape_file: table of the utterances to load and their lengths.
        languages: labels in index order.
        with_datasets: also read ``utt2dataset``.
        targets: also read ``utt2langs``, if the set has it, as targets of this kind.
        domains: also read this table, whose values are domains.

    Raises:
        LidError: a table is missing or not valid, lacks an utterance, or has an unknown language.
    """
    shapes = read_table(shape_file)
    table, hop_length = references(data_dir)
    refs, labels = (_rows_of(path, shapes) for path in (table, data_dir / "utt2lang"))
    known, codes_u = labels.codes()
    index = {UNLABELLED: -1, **{language: row for row, language in enumerate(languages)}}
    unknown = [language for language in known if language not in index]
    if unknown:
        raise LidError(
            f"languages that are not in the training data: {' '.join(unknown)}",
            where=data_dir / "utt2lang",
            mend="remove these utterances, or add training data of these languages",
        )
    to_class_l = np.array([index[language] for language in known], dtype=np.int32)
    datasets_u = _rows_of(data_dir / "utt2dataset", shapes).codes()[1] if with_datasets else None
    weights, utt2langs = None, data_dir / UTT2LANGS
    if targets is not None and utt2langs.exists():
        weights = read_targets(_rows_of(utt2langs, shapes), languages, targets, utt2langs)
    domains_u = None if domains is None else _rows_of(data_dir / domains, shapes).codes()[1]
    lengths_u = shapes.integers()
    loaded = Utterances(refs, to_class_l[codes_u], lengths_u, datasets_u, weights, hop_length)
    return replace(loaded, domains_u=domains_u)


def load_unlabelled(data_dir: Path) -> Utterances:
    """Load the utterances of a set without their labels."""
    table, hop_length = references(data_dir)
    refs = read_table(table)
    lengths = read_lengths(data_dir, refs)
    labels_u = np.full(len(refs), -1, dtype=np.int32)
    return Utterances(refs, labels_u, lengths.integers(), hop_length=hop_length)


def crops_of(utterances: Utterances, seconds: float, rate: int) -> Utterances:
    """Return a crop of each utterance that is long enough; see :mod:`lid_toolkit.datadir.crops`.

    Args:
        utterances: whole utterances.
        seconds: duration of a crop, above 0.
        rate: samples per second.

    Raises:
        LidError: the utterances are features.
    """
    if utterances.hop_length is not None:
        raise LidError("features cannot be cropped", where="crop_seconds", mend="give formatted audio")
    size = crop_samples(seconds, rate)
    long = utterances.select(np.flatnonzero(utterances.lengths_u >= size))
    begins_u = crop_begins(long.refs.keys(), long.lengths_u, size)
    return replace(long, lengths_u=np.full(len(long), size), begins_u=begins_u)


def references(data_dir: Path) -> tuple[Path, int | None]:
    """Return the table of references, and the hop length in samples if they refer to features, else None."""
    made = read_description(data_dir)
    return (data_dir / "wav.scp", None) if made is None else (data_dir / TABLE, int(made["hop_length"]))


def read_languages(lang2idx: Path) -> tuple[str, ...]:
    """Return the labels of a ``lang2idx`` table in index order; none if no utterance is labelled."""
    table = read_table(lang2idx, allow_empty=True)
    indices = table.integers()
    if sorted(indices.tolist()) != list(range(len(table))):
        raise LidError("indices are not 0, 1, 2, …", where=lang2idx, redo="statistics")
    return tuple(table.key(int(row)) for row in np.argsort(indices))


def copy_key(key: str, copy: int) -> str:
    """Return the id of an augmented copy of an utterance; copy 0 is the utterance itself."""
    return f"aug{copy}-{key}" if copy else key


def original_id(utterance: str) -> str:
    """Return the id of the utterance that this one is a copy of: ``a`` for ``sp0.9-a`` and ``aug1-a``."""
    return COPY_PREFIX.sub("", utterance)


def _rows_of(path: Path, wanted: Table) -> Table:
    table = read_table(path)
    if table.same_keys(wanted):
        return table
    rows = table.rows(wanted.keys())
    if (rows < 0).any():
        lacking = wanted.key(int(np.argmax(rows < 0)))
        raise LidError(f"utterance '{lacking}' is missing", where=path, redo="formatting")
    return table.select(rows)
