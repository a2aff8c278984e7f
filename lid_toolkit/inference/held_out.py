"""The scores of utterances whose languages are known, and a check that no training has seen them.

Shapes: u utterances, c languages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lid_toolkit import languages
from lid_toolkit.data.utterances import original_id
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_languages, some
from lid_toolkit.evaluation.posteriors import Floats
from lid_toolkit.inference.calibration import Scored
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.steps import digest, recorded
from lid_toolkit.training.overrides import read_settings

SMALLEST = np.finfo(np.float64).tiny
"""Stands for posteriors that are too small for a float."""


def from_scores(data_dir: Path, scores_dir: Path, labels: Sequence[str], model: str | None) -> Scored:
    """Return the scores of an identified set; utterances that failed are left out.

    Args:
        data_dir: the set, with ``utt2lang``.
        scores_dir: ``.../MODEL/SET``.
        labels: the model's labels in index order.
        model: digest of the model's file; None if it is not known.

    Raises:
        LidError: the scores are those of another model, or do not belong to the set; or the model does not
            know a language of the set.
    """
    made_by = recorded(scores_dir, "identify").get("model")
    if tuple(labels) != read_languages(scores_dir / "languages") or made_by != model:
        raise LidError("the scores are those of another model", where=scores_dir, redo="identification")
    keys, scores_uc = read_vectors(scores_dir / "scores.scp")
    return _scored(data_dir, keys, scores_uc, labels)


def from_records(data_dir: Path, records: Iterator[tuple[str, Prediction]], labels: Sequence[str]) -> Scored:
    """Return the scores of records that have the posteriors of all languages; others are left out.

    Args:
        data_dir: the set, with ``utt2lang``.
        records: id and record of each utterance, without calibration.
        labels: the model's labels in index order.

    Raises:
        LidError: a record does not belong to the set, or the model does not know a language of the set.
    """
    keys, rows = [], []
    for key, record in records:
        if len(record.scores) == len(labels):
            keys.append(key)
            rows.append([record.scores[label] for label in labels])
        else:
            logging.warning("%s is left out: %s", key, record.reason)
    posteriors_uc = np.array(rows).reshape(-1, len(labels))
    return _scored(data_dir, keys, np.log(np.maximum(posteriors_uc, SMALLEST)), labels)


def _scored(data_dir: Path, keys: Sequence[str], scores_uc: Floats, labels: Sequence[str]) -> Scored:
    path = data_dir / "utt2lang"
    truth = read_table(path)
    rows = truth.rows(keys)
    if (rows < 0).any():
        missing = [key for key, row in zip(keys, rows.tolist(), strict=True) if row < 0]
        raise LidError(f"has no language for {some(missing)}", where=path, mend="give the set of the scores")
    names, codes = truth.codes()
    columns = {label: column for column, label in enumerate(labels)}
    true = np.array([columns[languages.find(name, labels, path)] for name in names], np.int64)
    return Scored(tuple(labels), scores_uc, true[codes][rows])


def require_unseen(data_dir: Path, experiment: Path) -> bool:
    """Check that a model was not trained on any utterance of a set.

    The training's record has digests of the tables of its set. The ids of the utterances are in the
    statistics beside the experiment; copies of an utterance (``sp0.9-ID``, ``aug1-ID``) count as the same.

    Args:
        data_dir: the set, with ``utt2lang``.
        experiment: the directory of the model's file.

    Returns:
        Whether the training set is known; if not, nothing was checked.

    Raises:
        LidError: the set, or an utterance of it, was trained on.
    """
    inputs = recorded(experiment, "train")
    mend = "give data that the model was not trained on, such as the validation set"
    if not inputs:
        return False
    if digest(data_dir / "utt2lang") == inputs.get("train utt2lang"):
        raise LidError("is the training set of the model", where=data_dir, mend=mend)
    tables = experiment.parent.glob("lid_stats*/train/speech_shape")
    shapes = _with_digest(tables, inputs.get("train speech_shape"))
    if shapes is None:
        return False
    trained = {original_id(key) for key, _ in read_table(shapes)}
    keys = [key for key, _ in read_table(data_dir / "utt2lang")]
    seen = [key for key in keys if original_id(key) in trained]
    if seen:
        what = f"{len(seen)} utterances were trained on: {some(seen)}"
        raise LidError(what, where=data_dir, mend=mend)
    return True


def require_selection_set(data_dir: Path, experiment: Path) -> None:
    """Raise LidError unless the record of a training says that a set chose its checkpoint.

    Args:
        data_dir: the set, with ``utt2lang``.
        experiment: the directory of the model's file.
    """
    inputs, chosen_by = recorded(experiment, "train"), read_settings(experiment / "config.yaml")
    mend = "call lid calibrate with data of your choice, or train with selection_set: valid"
    if chosen_by.get("selection_set", "valid") != "valid":
        what = "did not choose the checkpoint: utterances of the training set were held out for this"
        raise LidError(what, where=data_dir, mend=mend)
    if not inputs or digest(data_dir / "utt2lang") != inputs.get("valid utt2lang"):
        raise LidError("is not the validation set of the training", where=data_dir, mend=mend)


def _with_digest(paths: Iterator[Path], wanted: str | None) -> Path | None:
    """Return the first file with a digest."""
    return next((path for path in paths if wanted is not None and digest(path) == wanted), None)
