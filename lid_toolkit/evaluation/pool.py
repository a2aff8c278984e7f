"""Join the answers of folds: each is another model, and has answered other utterances of one set.

Shapes: u utterances of a fold, c languages of its model, l languages of all models.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.ark import read_vectors, write_vectors
from lid_toolkit.datadir.tables.table import Table, merge_tables, read_table, write_blocks
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import answer_file, read_languages, read_optional_table, some
from lid_toolkit.files import require_directory, write_whole
from lid_toolkit.steps import Step

NEVER = float(np.log(np.finfo(np.float32).tiny))
"""Log posterior of a language that a fold's model does not know."""


@dataclass(frozen=True)
class Fold:
    """The answers of one fold's model to its test set.

    Attributes:
        directory: ``.../MODEL/SET``.
        answers: utterance -> language.
        failed: utterance -> reason why it has no answer.
        languages: the model's labels in index order.
    """

    directory: Path
    answers: Table
    failed: Table
    languages: tuple[str, ...]

    @classmethod
    def read(cls, directory: Path) -> Fold:
        """Read the results of an identification, except its scores."""
        require_directory(directory, redo="identification")
        answers = read_optional_table(answer_file(directory))
        failed = read_optional_table(directory / "failed")
        return cls(directory, answers, failed, read_languages(directory / "languages"))

    def scores(self, languages: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Return the utterances, and their log posteriors (U, L) of ``languages``.

        Raises:
            LidError: the scores have other utterances than the answers, or another number of languages.
        """
        path = self.directory / "scores.scp"
        keys, scores_uc = read_vectors(path)
        if list(keys) != list(self.answers.keys()) or scores_uc.shape[1:] != (len(self.languages),):
            raise LidError("the scores do not belong to the answers", where=path, redo="identification")
        scores_ul = np.full((len(keys), len(languages)), NEVER, np.float32)
        place = {label: column for column, label in enumerate(languages)}
        scores_ul[:, [place[label] for label in self.languages]] = scores_uc
        return list(keys), scores_ul


def pool(data_dir: Path, output_dir: Path, results: Sequence[Path], dry_run: bool = False) -> None:
    """Write the answers and scores of all folds as if one system had given them, unless they are current.

    The files are those of an identification: ``SET_lids``, ``languages``, ``scores.ark``, ``scores.scp`` and
    ``failed``. The languages are those of all models; one that a model does not know has the log posterior
    ``NEVER`` for its utterances.

    Args:
        data_dir: the set, with the utterances of all folds.
        output_dir: directory to write, ``.../MODEL/SET``.
        results: for each fold, the results of its model, ``.../MODEL/SET``.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: a file is missing or damaged, an utterance was answered by two folds or by none, or is not
            in the set.
    """
    names = ("languages", "failed", "scores.scp", "scores.ark")
    inputs = {f"{place}/{name}": place / name for place in results for name in names}
    inputs |= {f"{place}/answers": answer_file(place) for place in results}
    step = Step(
        f"join the answers to {output_dir.name}",
        output_dir / ".done" / "pool.json",
        {**inputs, "utt2lang": data_dir / "utt2lang"},
        {},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    folds = [Fold.read(directory) for directory in results]
    with step.work("joining answers", lock=output_dir) as work:
        if work is not None:
            work.finish(_write(output_dir, folds, read_table(data_dir / "utt2lang")))


def _write(out: Path, folds: Sequence[Fold], truth: Table) -> list[Path]:
    """Write the joined files and return them."""
    mend = "give each fold's own test set"
    answers = merge_tables([fold.answers for fold in folds], answer_file(out), mend=mend)
    failed = merge_tables([fold.failed for fold in folds], out / "failed", mend=mend)
    _check_complete(answers, failed, truth, out)
    languages = sorted({label for fold in folds for label in fold.languages}, key=str.encode)
    write_blocks(answer_file(out), answers.blocks())
    write_blocks(out / "failed", failed.blocks())
    with write_whole(out / "languages") as stream:
        stream.writelines(f"{label}\n" for label in languages)
    ark, scp = out / "scores.ark", out / "scores.scp"
    write_vectors(ark, scp, _joined(folds, languages))
    logging.info("%s: %d answers of %d folds", out, len(answers), len(folds))
    return [answer_file(out), out / "failed", out / "languages", ark, scp]


def _joined(
    folds: Sequence[Fold], languages: Sequence[str]
) -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
    """Yield the scores of all folds as one block, sorted by utterance."""
    keys: list[str] = []
    blocks = []
    for fold in folds:
        if len(fold.answers):
            own, scores_ul = fold.scores(languages)
            keys += own
            blocks.append(scores_ul)
    order = sorted(range(len(keys)), key=lambda row: keys[row].encode())
    if blocks:
        yield [keys[row] for row in order], np.concatenate(blocks)[order]


def _check_complete(answers: Table, failed: Table, truth: Table, out: Path) -> None:
    """Raise LidError if the answers and failures are not those of all utterances of the set."""
    rows = np.concatenate([truth.rows(answers.keys()), truth.rows(failed.keys())])
    if (rows < 0).any():
        keys = [*answers.keys(), *failed.keys()]
        others = some([keys[place] for place in np.flatnonzero(rows < 0).tolist()])
        raise LidError(f"answers for utterances that are not in the set: {others}", where=out)
    missing = np.flatnonzero(np.bincount(rows, minlength=len(truth)) == 0).tolist()
    if missing:
        what = f"no fold has answered {some([truth.key(row) for row in missing])}"
        raise LidError(what, where=out, mend="give the results of all folds", redo="identification")
