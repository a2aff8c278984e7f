"""Join the answers of folds: each is another model, and has answered other utterances of one set.

Shapes: u utterances of a fold, l languages of all models.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lid_toolkit.datadir.tables.table import Table, merge_tables, read_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import answer_file, some
from lid_toolkit.evaluation.identified import Block, Identified, files_of, write_identified
from lid_toolkit.steps import Step


def pool(data_dir: Path, output_dir: Path, results: Sequence[Path], dry_run: bool = False) -> None:
    """Write the answers and scores of all folds as if one system had given them, unless they are current.

    The files are those of an identification: ``SET_lids``, ``languages``, ``scores.ark``, ``scores.scp``,
    ``failed`` and ``abstained``. The languages are those of all models; one that a model does not know has
    the log posterior ``NEVER`` for its utterances.

    Args:
        data_dir: the set, with the utterances of all folds.
        output_dir: directory to write, ``.../MODEL/SET``.
        results: for each fold, the results of its model, ``.../MODEL/SET``.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: a file is missing or damaged, an utterance was answered by two folds or by none, or is not
            in the set.
    """
    step = Step(
        f"join the answers to {output_dir.name}",
        output_dir / ".done" / "pool.json",
        {**files_of(results), "utt2lang": data_dir / "utt2lang"},
        {},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    folds = [Identified.read(directory) for directory in results]
    with step.work("joining answers", lock=output_dir) as work:
        if work is not None:
            work.finish(_write(output_dir, folds, read_table(data_dir / "utt2lang")))


def _write(out: Path, folds: Sequence[Identified], truth: Table) -> list[Path]:
    """Write the joined files and return them."""
    mend = "give each fold's own test set"
    answers = merge_tables([fold.answers for fold in folds], answer_file(out), mend=mend)
    failed = merge_tables([fold.failed for fold in folds], out / "failed", mend=mend)
    abstained = merge_tables([fold.abstained for fold in folds], out / "abstained", mend=mend)
    _check_complete([answers, failed, abstained], truth, out)
    languages = tuple(sorted({label for fold in folds for label in fold.languages}, key=str.encode))
    logging.info("%s: %d answers of %d folds", out, len(answers), len(folds))
    joined = Identified(out, answers, failed, abstained, languages)
    return write_identified(joined, _joined(folds, languages))


def _joined(folds: Sequence[Identified], languages: Sequence[str]) -> Iterator[Block]:
    """Yield the scores of all folds as one block, sorted by utterance."""
    keys: list[str] = []
    blocks = []
    for fold in folds:
        if len(fold.answers):
            own, scores_ul = fold.scores_of(languages)
            keys += own
            blocks.append(scores_ul)
    order = sorted(range(len(keys)), key=lambda row: keys[row].encode())
    if blocks:
        yield [keys[row] for row in order], np.concatenate(blocks)[order]


def _check_complete(tables: Sequence[Table], truth: Table, out: Path) -> None:
    """Raise LidError if answers, failures and abstentions are not those of all utterances of the set."""
    rows = np.concatenate([truth.rows(table.keys()) for table in tables])
    if (rows < 0).any():
        keys = [key for table in tables for key, _ in table]
        others = some([keys[place] for place in np.flatnonzero(rows < 0).tolist()])
        raise LidError(f"answers for utterances that are not in the set: {others}", where=out)
    missing = np.flatnonzero(np.bincount(rows, minlength=len(truth)) == 0).tolist()
    if missing:
        what = f"no fold has answered {some([truth.key(row) for row in missing])}"
        raise LidError(what, where=out, mend="give the results of all folds", redo="identification")
