"""The files of an identification: the answers, the failures and the scores of one system on a set.

Shapes: u utterances, c languages of the system, l any other list of languages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.ark import read_vectors, write_vectors
from lid_toolkit.datadir.tables.table import Table, write_blocks
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import answer_file, read_languages, read_optional_table
from lid_toolkit.files import require_directory, write_whole

NEVER = float(np.log(np.finfo(np.float32).tiny))
"""Log posterior of a language that a system does not know."""

Block = tuple[list[str], npt.NDArray[np.float32]]
"""Utterances, and their log posteriors (U, C)."""


@dataclass(frozen=True)
class Identified:
    """The results of one system on a set.

    Attributes:
        directory: ``.../MODEL/SET``.
        answers: utterance -> language.
        failed: utterance -> reason why it could not be identified.
        abstained: utterance -> reason why it was left without an answer, as by a vote.
        languages: the system's labels in index order.
    """

    directory: Path
    answers: Table
    failed: Table
    abstained: Table
    languages: tuple[str, ...]

    @classmethod
    def read(cls, directory: Path) -> Identified:
        """Read the results of an identification, except its scores.

        Raises:
            LidError: the directory or its languages do not exist, or a file is malformed.
        """
        require_directory(directory, redo="identification")
        answers = read_optional_table(answer_file(directory))
        failed, abstained = (read_optional_table(directory / name) for name in ("failed", "abstained"))
        return cls(directory, answers, failed, abstained, read_languages(directory / "languages"))

    def scores(self) -> Block:
        """Return the utterances that have an answer, and their log posteriors (U, C).

        Raises:
            LidError: the scores have other utterances than the answers, or another number of languages.
        """
        if not len(self.answers):
            return [], np.zeros((0, len(self.languages)), np.float32)
        path = self.directory / "scores.scp"
        keys, scores_uc = read_vectors(path)
        if list(keys) != list(self.answers.keys()) or scores_uc.shape[1:] != (len(self.languages),):
            raise LidError("the scores do not belong to the answers", where=path, redo="identification")
        return list(keys), scores_uc

    def scores_of(self, languages: Sequence[str]) -> Block:
        """Return the utterances, and their log posteriors (U, L) of ``languages``, which are all its own.

        Others among them get ``NEVER``.

        Raises:
            LidError: see :meth:`scores`.
        """
        keys, scores_uc = self.scores()
        scores_ul = np.full((len(keys), len(languages)), NEVER, np.float32)
        place = {label: column for column, label in enumerate(languages)}
        scores_ul[:, [place[label] for label in self.languages]] = scores_uc
        return keys, scores_ul


def files_of(directories: Sequence[Path]) -> dict[str, Path]:
    """Return the files that :class:`Identified` reads from some directories, by name."""
    names = ("languages", "failed", "abstained", "scores.scp", "scores.ark")
    files = {f"{place}/{name}": place / name for place in directories for name in names}
    return files | {f"{place}/answers": answer_file(place) for place in directories}


def write_identified(results: Identified, scores: Iterator[Block]) -> list[Path]:
    """Write the results of a system on a set to their directory, and return the files.

    Args:
        results: what is written.
        scores: log posteriors of the answered utterances, in the order of the answers.
    """
    out = results.directory
    tables = {
        answer_file(out): results.answers,
        out / "failed": results.failed,
        out / "abstained": results.abstained,
    }
    for path, table in tables.items():
        write_blocks(path, table.blocks())
    with write_whole(out / "languages") as stream:
        stream.writelines(f"{label}\n" for label in results.languages)
    ark, scp = out / "scores.ark", out / "scores.scp"
    write_vectors(ark, scp, scores)
    return [*tables, out / "languages", ark, scp]
