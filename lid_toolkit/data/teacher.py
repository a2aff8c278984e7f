"""What a teacher answered for the utterances of a training set: the targets of distillation.

A teacher is a model that has identified the set. Its answers stay in its archives and are read for each
batch, so the memory does not grow with the number of languages or the size of the embeddings.

Shapes: u utterances, b utterances of a block, c classes, l languages of the teacher, r rows of its answers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.targets import ASK_AGAIN, TeacherTargets, check_finite
from lid_toolkit.data.utterances import Utterances, original_id
from lid_toolkit.datadir.ark import vector_blocks
from lid_toolkit.datadir.tables.table import Table, read_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.languages import find

SCORES, EMBEDDINGS, LANGUAGES = "scores.scp", "embeddings.scp", "languages"
ANSWER_FILES = (SCORES, "scores.ark", EMBEDDINGS, "embeddings.ark", LANGUAGES)
"""The files of a teacher's answers, as an identification with embeddings writes them."""


def teacher_languages(answers: Path) -> tuple[str, ...]:
    """Return the labels of a teacher in the order of its scores.

    Raises:
        LidError: the directory has no answers of a model.
    """
    for name in (SCORES, LANGUAGES):
        if not (answers / name).is_file():
            what = f"{name} is missing: no log posteriors of a teacher"
            raise LidError(what, where=answers, mend=ASK_AGAIN)
    return tuple((answers / LANGUAGES).read_text(encoding="utf-8").splitlines())


def columns_of(languages: Sequence[str], answers: Path) -> npt.NDArray[np.int64]:
    """Return the place of each language among those of a teacher, int64.

    Raises:
        LidError: the teacher does not know a language, or has one label for two of them.
    """
    known = teacher_languages(answers)
    where = answers / LANGUAGES
    columns: dict[int, str] = {}
    for language in languages:
        try:
            column = known.index(find(language, known))
        except LidError:
            what = f"the teacher does not know '{language}', a language of the student"
            mend = "write the teacher's label, leave its utterances out, or choose another teacher"
            raise LidError(what, where=where, mend=mend) from None
        if column in columns:
            what = f"'{columns[column]}' and '{language}' are one language of the teacher, '{known[column]}'"
            raise LidError(what, where=where, mend="write one of the two labels everywhere")
        columns[column] = language
    return np.array(list(columns), dtype=np.int64)


def taught_by(
    answers: Path,
    utterances: Utterances,
    languages: Sequence[str],
    with_embeddings: bool,
    max_failed: float,
) -> Utterances:
    """Return the utterances with a teacher's answers as their targets.

    An utterance without a label gets the teacher's most probable class, and is left out if the most probable
    of all the teacher's languages is none of ``languages``. A copy (``sp0.9-ID``, ``aug1-ID``) that the
    teacher has not heard has the answer for its original.

    Args:
        answers: directory of the answers, see ``ANSWER_FILES``.
        utterances: the training set; unknown labels are -1.
        languages: the student's languages, in index order.
        with_embeddings: whether the embeddings are learnt, too.
        max_failed: largest proportion of utterances without an answer, which are left out.

    Raises:
        LidError: the answers are missing, broken or not finite, or of other languages.
    """
    columns_c = columns_of(languages, answers)
    scores = read_table(answers / SCORES)
    embeddings = _embeddings(answers, scores) if with_embeddings else None
    rows_u = _rows_of(utterances.refs, scores)
    answered = np.flatnonzero(rows_u >= 0)
    _check_answered(utterances.refs, rows_u, max_failed, answers / SCORES)
    heard = teacher_languages(answers)
    best_r = _best_columns(scores, len(heard))
    class_l = np.full(len(heard), -1, dtype=np.int32)
    class_l[columns_c] = np.arange(len(columns_c), dtype=np.int32)
    known = utterances.select(answered)
    labelled_u = known.labels_u >= 0
    labels_u = np.where(labelled_u, known.labels_u, class_l[best_r[rows_u[answered]]]).astype(np.int32)
    targets = TeacherTargets(scores, embeddings, rows_u[answered], columns_c, labelled_u)
    kept = np.flatnonzero(labels_u >= 0)
    if dropped := len(labels_u) - len(kept):
        logging.info("%d unlabelled utterances are left out: the teacher hears other languages", dropped)
    if not len(kept):
        what = "in all utterances, the teacher hears languages that the student does not have"
        raise LidError(what, where=answers / SCORES, mend="add languages, or choose another teacher")
    return replace(known, labels_u=labels_u, targets=targets).select(kept)


def _embeddings(answers: Path, scores: Table) -> Table:
    """Return the table of embeddings; LidError if it is missing or has other utterances than the scores."""
    path = answers / EMBEDDINGS
    if not path.is_file():
        raise LidError("does not exist", where=path, mend=f"{ASK_AGAIN}, or set embedding_weight: 0")
    embeddings = read_table(path)
    if not embeddings.same_keys(scores):
        raise LidError(f"its utterances are not those of {SCORES}", where=path, mend=ASK_AGAIN)
    return embeddings


def _rows_of(refs: Table, scores: Table) -> npt.NDArray[np.int64]:
    """Return the row of each utterance among the teacher's, or else that of its original; -1 without."""
    rows_u = scores.rows(refs.keys())
    copies = np.flatnonzero(rows_u < 0)
    rows_u[copies] = scores.rows([original_id(refs.key(row)) for row in copies.tolist()])
    return rows_u


def _check_answered(refs: Table, rows_u: npt.NDArray[np.int64], max_failed: float, where: Path) -> None:
    """Warn of utterances without an answer; LidError if more than ``max_failed`` have none."""
    lacking = np.flatnonzero(rows_u < 0)
    if not len(lacking):
        return
    what = f"no answer for {len(lacking)} of {len(refs)} utterances, such as '{refs.key(int(lacking[0]))}'"
    if len(lacking) > allowed_failures(max_failed, len(refs)) or len(lacking) == len(refs):
        raise LidError(what, where=where, mend=f"{ASK_AGAIN}, or raise max_failed")
    logging.warning("%s: %s; they are left out", where, what)


def _best_columns(scores: Table, languages: int) -> npt.NDArray[np.int64]:
    """Return the place of the most probable language of each row (R,).

    Raises:
        LidError: a score is not finite, or there are not as many as ``languages``.
    """
    best_blocks = []
    first = 0
    for block_bl in vector_blocks(scores):
        if block_bl.shape[1] != languages:
            what = f"{block_bl.shape[1]} scores, but the teacher has {languages} languages"
            raise LidError(what, where=scores.value(0), mend=ASK_AGAIN)
        check_finite(block_bl, scores, range(first, first + len(block_bl)))
        best_blocks.append(block_bl.argmax(axis=1))
        first += len(block_bl)
    return np.concatenate(best_blocks)
