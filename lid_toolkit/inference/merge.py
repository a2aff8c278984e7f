"""The merge of an identification: from the results of all parts to the files of the whole set.

Everything is in arrays, and written in blocks, so that millions of utterances need little time and memory.

Shapes: u identified utterances in the order of their keys, p utterances of a part, b utterances of a block,
c languages, d embedding.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.ark import vector_writer, write_vectors
from lid_toolkit.datadir.tables.table import Table, read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.espnet_files import espnet_files
from lid_toolkit.inference.identification import Floats, Identification, IdentifiedPart
from lid_toolkit.parts import check_failures, check_finished, load_plan

BLOCK = 1 << 16
"""Number of utterances in memory at a time: each of up to 1,024 parts has some of them, in adjacent rows."""


def merge(task: Identification) -> None:
    """Write the results of the finished parts, unless they are current, and remove the parts.

    Raises:
        LidError: a part is not done, the inputs changed, or too many utterances failed.
    """
    planned = load_plan(task.work_dir)
    with task.step.work("merging", lock=task.output_dir, known=planned.inputs) as work:
        if work is None:
            return
        utterances = task.load(planned.facts["rate"])
        parts = task.parts(utterances.lengths_u, planned.inputs.digest, planned.facts["rate"])
        check_finished(parts, task.output_dir)
        languages = task.languages.read_text(encoding="utf-8").splitlines()
        work.finish(_write_answers(task, parts, utterances.refs, languages))
        shutil.rmtree(task.work_dir, ignore_errors=True)


def _write_answers(
    task: Identification, parts: Sequence[IdentifiedPart], refs: Table, languages: list[str]
) -> list[Path]:
    """Write the files of all parts together, sorted by utterance; return the files."""
    out = task.output_dir
    failed = dict(pair for part in parts for pair in part.failed())
    outputs = [out / f"{out.name}_lids", out / "languages", out / "failed"]
    write_table(outputs[2], failed.items())
    check_failures(
        failed.items(),
        len(failed),
        len(refs),
        task.max_failed,
        outputs[2],
        lambda: [part for part in parts if part.failed()],
    )
    found = Found.of(parts, refs)
    best_blocks: list[npt.NDArray[np.int64]] = []
    with write_whole(outputs[0]) as stream:
        for keys, scores_bc in written(out, "scores", found):
            best_b = scores_bc.argmax(axis=1)
            stream.writelines(
                f"{key} {languages[best]}\n" for key, best in zip(keys, best_b.tolist(), strict=True)
            )
            best_blocks.append(best_b)
    with write_whole(outputs[1]) as stream:
        stream.writelines(f"{language}\n" for language in languages)
    outputs += vector_files(out, "scores")
    if task.extract_embd:
        labels, codes_u = _labels(task.data_dir / "utt2lang", found, languages, best_blocks)
        means = language_means(labels, codes_u, written(out, "embeddings", found))
        write_vectors(*vector_files(out, "lang_embeddings"), [means])
        outputs += [*vector_files(out, "embeddings"), *vector_files(out, "lang_embeddings")]
    else:
        for path in (*vector_files(out, "embeddings"), *vector_files(out, "lang_embeddings")):
            path.unlink(missing_ok=True)
    for path in espnet_files(out):  # made of earlier embeddings
        path.unlink(missing_ok=True)
    logging.info("%s: %d utterances identified, %d failed", task.step.name, len(found.rows_u), len(failed))
    return outputs


@dataclass(frozen=True)
class Found:
    """The utterances that were identified, in the order of their keys, and where their results are.

    Attributes:
        refs: the table of all utterances of the set.
        rows_u: row of each identified utterance in ``refs``, ascending.
        parts: the parts, each with the rows in ``refs`` of its utterances, ascending, as its results are.
    """

    refs: Table
    rows_u: npt.NDArray[np.int64]
    parts: Sequence[tuple[IdentifiedPart, npt.NDArray[np.int64]]]

    @classmethod
    def of(cls, parts: Sequence[IdentifiedPart], refs: Table) -> Found:
        """Return the utterances that did not fail in these parts."""
        rows = [part.rows_p[~np.isin(part.rows_p, refs.rows(dict(part.failed())))] for part in parts]
        return cls(refs, np.sort(np.concatenate(rows)), tuple(zip(parts, rows, strict=True)))

    def gathered(self, name: str) -> Iterator[tuple[list[str], Floats]]:
        """Yield the keys of up to ``BLOCK`` utterances at a time, and their scores or embeddings."""
        stored = [part.stored(name) for part, _ in self.parts]
        for first in range(0, len(self.rows_u), BLOCK):
            rows_b = self.rows_u[first : first + BLOCK]
            block_bd = np.empty((len(rows_b), stored[0].width), dtype=np.float32)
            for matrix, (_, rows_p) in zip(stored, self.parts, strict=True):
                begin, end = np.searchsorted(rows_p, (rows_b[0], rows_b[-1] + 1)).tolist()
                if begin < end:
                    block_bd[np.searchsorted(rows_b, rows_p[begin:end])] = matrix.read(begin, end)
            yield list(self.refs.select(rows_b).keys()), block_bd


def written(out: Path, name: str, found: Found) -> Iterator[tuple[list[str], Floats]]:
    """Write the scores or embeddings of all utterances to ``out``; yield each block after it is written."""
    with vector_writer(*vector_files(out, name)) as write:
        for keys, block_bd in found.gathered(name):
            write(keys, block_bd)
            yield keys, block_bd


def vector_files(out: Path, name: str) -> tuple[Path, Path]:
    """Return the archive and the table of vectors."""
    return out / f"{name}.ark", out / f"{name}.scp"


def language_means(
    labels: Sequence[str],
    codes_u: npt.NDArray[np.integer],
    embedded: Iterable[tuple[Sequence[str], Floats]],
) -> tuple[list[str], Floats]:
    """Return the languages that occur, sorted, and the mean embedding of each, L2-normalised.

    Args:
        labels: all labels.
        codes_u: index in ``labels`` of each utterance.
        embedded: keys and embeddings of the utterances, in the order of ``codes_u``, in blocks.
    """
    totals: npt.NDArray[np.float64] | None = None
    first = 0
    for keys, embeddings_bd in embedded:
        if totals is None:
            totals = np.zeros((len(labels), embeddings_bd.shape[1]))
        codes_b = codes_u[first : first + len(keys)]
        for code in np.unique(codes_b).tolist():
            totals[code] += embeddings_bd[codes_b == code].sum(axis=0, dtype=np.float64)
        first += len(keys)
    occurring = sorted({labels[code] for code in np.unique(codes_u).tolist()}, key=str.encode)
    if totals is None:
        return [], np.zeros((0, 0), dtype=np.float32)
    chosen = totals[[labels.index(label) for label in occurring]]
    return occurring, (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).astype(np.float32)


def _labels(
    utt2lang: Path, found: Found, languages: Sequence[str], best_blocks: Sequence[npt.NDArray[np.int64]]
) -> tuple[Sequence[str], npt.NDArray[np.integer]]:
    """Return labels, and which of them each utterance has: the true one, or the answer if it is unknown."""
    if not utt2lang.exists():
        return languages, np.concatenate([np.zeros(0, np.int64), *best_blocks])
    truth = read_table(utt2lang)
    same = truth.same_keys(found.refs)
    rows_u = found.rows_u if same else truth.rows(found.refs.select(found.rows_u).keys())
    if (rows_u < 0).any():
        lacking = found.refs.key(int(found.rows_u[np.argmax(rows_u < 0)]))
        raise LidError(f"utterance '{lacking}' is missing", where=utt2lang, redo="formatting")
    labels, codes = truth.codes()
    return labels, codes[rows_u]
