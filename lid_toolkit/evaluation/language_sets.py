"""Metrics of utterances of several languages: are all of them among the best answers?

Shapes: u utterances, c known languages, e languages of the utterances in turn.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.mixtures import Mixtures, mixtures_of
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import FAILED, Answers, some
from lid_toolkit.evaluation.intervals import wilson
from lid_toolkit.evaluation.metrics import LanguageSets
from lid_toolkit.evaluation.proportions import proportion_of
from lid_toolkit.evaluation.ranking import ranks
from lid_toolkit.languages import merged

UNKNOWN = -1

Counts = npt.NDArray[np.int64]


def language_sets(answers: Answers, scores_uc: npt.NDArray[np.float32], path: Path) -> LanguageSets | None:
    """Compare the best answers with the languages in ``utt2langs``.

    An utterance of k languages has k best answers. A language that the system does not know, and every
    language of an utterance that failed, is not among them.

    Args:
        answers: truth and answers.
        scores_uc: log posteriors; see :func:`lid_toolkit.evaluation.answers.read_scores`.
        path: ``utt2langs`` of the set.

    Returns:
        The metrics; None if there is no such file.

    Raises:
        LidError: an utterance is missing, or a row is malformed.
    """
    if not path.exists():
        return None
    table = read_table(path)
    rows = table.rows(answers.truth.keys())
    if len(missing := np.flatnonzero(rows < 0)):
        what = f"utterance '{answers.truth.key(int(missing[0]))}' is missing"
        raise LidError(what, where=path, redo="formatting")
    mixtures = mixtures_of(table, path, merged if answers.merged else str)
    values_u = mixtures.values_u[rows]
    counts_u = np.diff(mixtures.bounds_v)[values_u]
    rows_e = np.repeat(np.arange(len(values_u)), counts_u)
    firsts_u = np.cumsum(counts_u) - counts_u
    entries = mixtures.bounds_v[values_u][rows_e] + np.arange(len(rows_e)) - firsts_u[rows_e]
    languages_e = _known_languages(mixtures, answers, path)[mixtures.labels_e[entries]]
    found_e = (languages_e != UNKNOWN) & (answers.predicted[rows_e] != FAILED)
    found_e[found_e] = ranks(scores_uc, rows_e[found_e], languages_e[found_e]) < counts_u[rows_e[found_e]]
    found_u = np.bincount(rows_e, weights=found_e, minlength=len(values_u))
    exact_u, several_u = found_u == counts_u, counts_u > 1
    return LanguageSets(
        exact=proportion_of(exact_u),
        mixed=proportion_of(exact_u[several_u]) if several_u.any() else None,
        recall=wilson(float((found_u / counts_u).sum()), len(values_u)),
    )


def _known_languages(mixtures: Mixtures, answers: Answers, path: Path) -> Counts:
    """Return the column of the scores of each label, UNKNOWN if there is none; warn about those."""
    index = {label: number for number, label in enumerate(answers.languages[: answers.known])}
    if unknown := [label for label in mixtures.labels if label not in index]:
        logging.warning("%s: the system does not know %s, which counts as not found", path, some(unknown))
    return np.array([index.get(label, UNKNOWN) for label in mixtures.labels], np.int64)
