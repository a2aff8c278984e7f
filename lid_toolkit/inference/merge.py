"""The merge of an identification: from the results of all parts to the files of the whole set.

Everything is in arrays, and written in blocks, so that millions of utterances need little time and memory.

Shapes: u identified utterances in the order of their keys, p utterances of a part, b utterances of a block,
n parts, c languages, d embedding.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.utterances import load_unlabelled
from lid_toolkit.datadir.ark import write_vectors
from lid_toolkit.datadir.tables.table import Table, read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.espnet_files import espnet_files
from lid_toolkit.inference.identification import Floats, Identification, IdentifiedPart
from lid_toolkit.parts import check_failures, check_finished, load_plan

BLOCK = 1 << 13


def merge(task: Identification) -> None:
    """Write the results of the finished parts, unless they are current, and remove the parts.

    Raises:
        LidError: a part is not done, the inputs changed, or too many utterances failed.
    """
    planned = load_plan(task.work_dir)
    with task.step.work("merging", lock=task.output_dir, known=planned.inputs) as work:
        if work is None:
            return
        utterances = load_unlabelled(task.data_dir)
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
    scores = [part.matrix("scores") for part in parts]
    best_u = np.concatenate([scores_pc.argmax(axis=1) for scores_pc in scores])[found.order_u]
    with write_whole(outputs[0]) as stream:
        for keys, rows in found.blocks():
            stream.writelines(
                f"{key} {languages[best]}\n" for key, best in zip(keys, best_u[rows].tolist(), strict=True)
            )
    with write_whole(outputs[1]) as stream:
        stream.writelines(f"{language}\n" for language in languages)
    outputs += _write(out, "scores", found.gathered(scores))
    if task.extract_embd:
        embeddings = [part.matrix("embeddings") for part in parts]
        outputs += _write(out, "embeddings", found.gathered(embeddings))
        labels, codes_u = _labels(task.data_dir / "utt2lang", found, languages, best_u)
        means = language_means(labels, codes_u, found.gathered(embeddings))
        outputs += _write(out, "lang_embeddings", iter([means]))
    else:
        for name in ("embeddings.ark", "embeddings.scp", "lang_embeddings.ark", "lang_embeddings.scp"):
            (out / name).unlink(missing_ok=True)
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
        order_u: its place in the results of all parts, one part after the other.
        starts_n: (parts + 1,) where the results of each part begin in that order.
    """

    refs: Table
    rows_u: npt.NDArray[np.int64]
    order_u: npt.NDArray[np.int64]
    starts_n: npt.NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[IdentifiedPart], refs: Table) -> Found:
        """Return the utterances that did not fail in these parts."""
        rows = [part.rows_p[~np.isin(part.rows_p, refs.rows(dict(part.failed())))] for part in parts]
        rows_u = np.concatenate(rows)
        order_u = np.argsort(rows_u, kind="stable")
        return cls(refs, rows_u[order_u], order_u, np.cumsum([0, *map(len, rows)]))

    def blocks(self) -> Iterator[tuple[list[str], slice]]:
        """Yield the keys of up to ``BLOCK`` utterances at a time, and which they are."""
        for first in range(0, len(self.rows_u), BLOCK):
            rows = slice(first, first + BLOCK)
            yield list(self.refs.select(self.rows_u[rows]).keys()), rows

    def gathered(self, matrices: Sequence[Floats]) -> Iterator[tuple[list[str], Floats]]:
        """Yield the keys of up to ``BLOCK`` utterances at a time, and their rows of the parts' matrices."""
        for keys, rows in self.blocks():
            order_b = self.order_u[rows]
            part_b = np.searchsorted(self.starts_n, order_b, side="right") - 1
            block_bd = np.empty((len(keys), matrices[0].shape[1]), dtype=np.float32)
            for part in np.unique(part_b).tolist():
                here = part_b == part
                block_bd[here] = matrices[part][order_b[here] - self.starts_n[part]]
            yield keys, block_bd


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
    utt2lang: Path, found: Found, languages: Sequence[str], best_u: npt.NDArray[np.int64]
) -> tuple[Sequence[str], npt.NDArray[np.integer]]:
    """Return labels, and which of them each utterance has: the true one, or the answer if it is unknown."""
    if not utt2lang.exists():
        return languages, best_u
    truth = read_table(utt2lang)
    rows_u = truth.rows(found.refs.select(found.rows_u).keys())
    if (rows_u < 0).any():
        lacking = found.refs.key(int(found.rows_u[np.argmax(rows_u < 0)]))
        raise LidError(f"utterance '{lacking}' is missing", where=utt2lang, redo="formatting")
    labels, codes = truth.codes()
    return labels, codes[rows_u]


def _write(out: Path, name: str, blocks: Iterator[tuple[list[str], Floats]]) -> list[Path]:
    ark, scp = out / f"{name}.ark", out / f"{name}.scp"
    write_vectors(ark, scp, blocks)
    return [ark, scp]
