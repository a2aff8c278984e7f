"""Identification of a whole data directory: a plan, jobs that do the parts, and a merge.

A part has 64 utterances of similar length, or more if the set has more than 64 * 1024 utterances. Batches are
within parts, and parts do not depend on the number of jobs, so the written files do not either.

    OUTPUT/.parts/plan.json            digests of the inputs, and the model's languages
    OUTPUT/.parts/0001.json            the record of a finished part
    OUTPUT/.parts/0001.keys            its utterances, and the row of each in the two matrices
    OUTPUT/.parts/0001.scores.npy      log posteriors
    OUTPUT/.parts/0001.embeddings.npy  embeddings, if wanted
    OUTPUT/.parts/0001.failed          utterances that failed, and the reasons

Shapes: u utterances, p utterances of a part, b batch, t samples, c languages, d embedding.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.data.features import TABLE
from lid_toolkit.data.loader import Minibatch, MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import Batches
from lid_toolkit.data.utterances import Utterances, load_unlabelled
from lid_toolkit.datadir.ark import write_vectors
from lid_toolkit.datadir.datadir import DIGEST
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.compute import Floats, ReadBatch, identify_batches, plan_batches
from lid_toolkit.inference.espnet_files import espnet_files
from lid_toolkit.parts import (
    Plan,
    RowsPart,
    check_failures,
    check_finished,
    do_parts,
    load_plan,
    part_bounds,
    parts_to_do,
)
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from lid_toolkit.training.checkpoint import SavedModel, load_content, load_model

UTTERANCES_PER_PART = 64
"""A power of two, so that whole batches of the usual sizes fit."""


@dataclass(frozen=True)
class Identification:
    """The settings of an identification.

    Attributes:
        model: model file.
        data_dir: formatted or extracted set with wav.scp and utt2num_samples, and utt2lang if known.
        output_dir: directory of the results, ``exp/lid_TAG/inference/MODEL/SET``.
        extract_embd: also write embeddings, of utterances and of languages.
        max_failed: largest fraction of utterances that may fail; the number is rounded up.
        max_duration: longer utterances, in seconds, are not identified but failed; 0: no limit.
    """

    model: Path
    data_dir: Path
    output_dir: Path
    extract_embd: bool = True
    max_failed: float = 0.01
    max_duration: float = 600.0

    @property
    def step(self) -> Step:
        """The identification as a whole, finished by the merge."""
        names = ("wav.scp", TABLE, DIGEST, "utt2num_samples", "utt2lang")
        return Step(
            f"identify {self.output_dir}",
            self.output_dir / ".done" / "identify.json",
            inputs={"model": self.model, **{name: self.data_dir / name for name in names}},
            options={
                "extract_embd": self.extract_embd,
                "max_failed": self.max_failed,
                "max_duration": self.max_duration,
            },
        )

    @property
    def work_dir(self) -> Path:
        """Directory of the plan and the parts; the merge removes it."""
        return self.output_dir / ".parts"

    def fits(self, lengths_u: npt.NDArray[np.int64], rate: int) -> npt.NDArray[np.bool_]:
        """Return which utterances of these lengths in samples are short enough to identify."""
        return lengths_u / rate <= (self.max_duration or np.inf)

    def parts(self, lengths_u: npt.NDArray[np.int64], inputs: str, rate: int) -> list[IdentifiedPart]:
        """Cut utterances of these lengths into parts, longest first; ``inputs`` is a digest of all inputs.

        Only parts with an utterance over ``max_duration`` have it as an option, so the others stay current.
        """
        rows_u = np.argsort(-lengths_u, kind="stable")
        fits_u = self.fits(lengths_u, rate)
        bounds = part_bounds(len(rows_u), UTTERANCES_PER_PART, multiple_of=UTTERANCES_PER_PART).tolist()
        return [
            IdentifiedPart(
                number,
                np.sort(rows_u[first:stop]),
                self.work_dir,
                {
                    "extract_embd": self.extract_embd,
                    "inputs": inputs,
                    "utterances": [first, stop],
                    "max_duration": None if fits_u[rows_u[first:stop]].all() else self.max_duration,
                },
            )
            for number, (first, stop) in enumerate(itertools.pairwise(bounds), start=1)
        ]


class IdentifiedPart(RowsPart):
    """An identified part: its scores and embeddings, and the utterances that failed."""

    def write(
        self, keys: list[str], scores_pc: Floats, embeddings_pd: Floats, failed: dict[str, str]
    ) -> None:
        """Write the scores and embeddings of the utterances ``keys``, and the reasons of failures."""
        write_table(self.file("keys"), ((key, str(row)) for row, key in enumerate(keys)))
        for kind, matrix in (("scores.npy", scores_pc), ("embeddings.npy", embeddings_pd)):
            with write_whole(self.file(kind), "wb") as stream:
                np.save(stream, matrix)
        write_table(self.file("failed"), failed.items())

    @property
    def files(self) -> list[Path]:
        """The files that :meth:`write` writes."""
        return [self.file(kind) for kind in ("keys", "scores.npy", "embeddings.npy", "failed")]

    def keys(self) -> list[str]:
        """Return the utterances that were identified."""
        return list(read_table(self.file("keys"), allow_empty=True).keys())

    def failed(self) -> list[tuple[str, str]]:
        """Return (utterance, reason) of those that failed."""
        return list(read_table(self.file("failed"), allow_empty=True))

    def matrix(self, name: str) -> Floats:
        """Return ``scores`` or ``embeddings``, memory-mapped."""
        matrix: Floats = np.load(self.file(f"{name}.npy"), mmap_mode="r")
        return matrix


def plan(task: Identification, num_jobs: int, dry_run: bool = False) -> int:
    """Plan the identification and return the number of jobs to run, at most ``num_jobs``, 0 if it is current.

    Raises:
        LidError: the model does not exist, or the set is not valid.
    """
    if dry_run:
        task.step.due(dry_run=True)
        return 0
    with task.step.work("planning", lock=task.output_dir) as work:
        if work is None:
            return 0
        content = load_content(task.model, mmap=True)
        lengths_u = load_unlabelled(task.data_dir).lengths_u
        num_jobs = min(num_jobs, len(task.parts(lengths_u, work.snapshot.digest, content["rate"])))
        facts = {"languages": content["languages"], "rate": content["rate"]}
        Plan(work.snapshot, num_jobs, facts).save(task.work_dir)
    return num_jobs


def run_job(task: Identification, job: int, batch_size: int, device: torch.device, workers: int) -> None:
    """Identify the utterances in the parts of job number ``job``, from 1, that are not done yet.

    Args:
        task: the settings.
        job: this job's number.
        batch_size: largest number of utterances computed together.
        device: the device to compute on.
        workers: number of processes that read ahead.

    Raises:
        LidError: there is no plan or no such job, the inputs changed, or audio has another rate.
    """
    planned = load_plan(task.work_dir)
    planned.inputs.check(task.step.inputs)
    utterances = load_unlabelled(task.data_dir)
    lengths_u, rate = utterances.lengths_u, planned.facts["rate"]
    parts = task.parts(lengths_u, planned.inputs.digest, rate)
    with parts_to_do(task.work_dir, parts, job, planned.num_jobs, task.step.name) as todo:
        if not todo:
            return
        saved = load_model(task.model)
        saved.model.to(device)
        fitting = [part.rows_p[task.fits(lengths_u[part.rows_p], rate)] for part in todo]
        batches = [plan_batches(lengths_u[rows], rate, batch_size) for rows in fitting]
        reader = MinibatchReader(utterances, _joined(batches, fitting), PreprocessorConf(), rate)
        sizes = {part.number: len(own) for part, own in zip(todo, batches, strict=True)}
        # One stream for all parts, so that workers also read ahead across the end of a part.
        with contextlib.closing(iterate(reader, 0, workers, pin=device.type == "cuda")) as read:

            def do(part: IdentifiedPart, progress: Progress) -> list[Path]:
                own = itertools.islice(read, sizes[part.number])
                _do_part(task, part, utterances, saved, device, own, progress)
                return part.files

            do_parts(task.step.name, todo, do)


def merge(task: Identification) -> None:
    """Write the results of the finished parts, unless they are current, and remove the parts.

    Raises:
        LidError: a part is not done, the inputs changed, or too many utterances failed.
    """
    planned = load_plan(task.work_dir)
    with task.step.work("merging", lock=task.output_dir, known=planned.inputs) as work:
        if work is None:
            return
        lengths_u = load_unlabelled(task.data_dir).lengths_u
        parts = task.parts(lengths_u, planned.inputs.digest, planned.facts["rate"])
        check_finished(parts, task.output_dir)
        work.finish(_write_answers(task, parts, planned.facts["languages"]))
        shutil.rmtree(task.work_dir, ignore_errors=True)


def _joined(batches: Sequence[Batches], rows_of: Sequence[npt.NDArray[np.int64]]) -> Batches:
    """Return the batches of several parts, with the rows of each part, as one sequence with these rows."""
    rows = [rows_p[own.rows_d] for own, rows_p in zip(batches, rows_of, strict=True)]
    starts = np.cumsum([0, *map(len, rows)])[:-1]
    shifted = list(zip(batches, starts, strict=True))
    return Batches(
        np.concatenate(rows),
        np.concatenate([own.begins_b + start for own, start in shifted]),
        np.concatenate([own.ends_b + start for own, start in shifted]),
    )


def _do_part(
    task: Identification,
    part: IdentifiedPart,
    utterances: Utterances,
    saved: SavedModel,
    device: torch.device,
    batches: Iterator[Minibatch],
    progress: Progress,
) -> None:
    """Compute the batches of a part and write the results."""
    failed = _too_long(task, part, utterances, saved.rate)
    progress.advance(len(failed))

    def numbered() -> Iterator[ReadBatch]:
        for batch in batches:
            failed.update(batch.failed)
            if len(batch.rows_b):
                # Rows of the set become numbers within the part: rows 3, 5, 9 are numbers 0, 1, 2.
                yield np.searchsorted(part.rows_p, batch.rows_b.numpy()), batch.wave_bt, batch.lengths_b
            progress.advance(len(batch.rows_b) + len(batch.failed), batch.samples / saved.rate)

    scores_pc, embeddings_pd = identify_batches(saved, device, part.size, numbered())
    keys = [utterances.refs.key(int(row)) for row in part.rows_p]
    for number in np.flatnonzero(~np.isfinite(scores_pc).all(axis=1)).tolist():
        failed.setdefault(keys[number], "scores are not finite")
    done = np.array([number for number, key in enumerate(keys) if key not in failed], dtype=np.int64)
    kept_pd = embeddings_pd[done] if task.extract_embd else embeddings_pd[:0]
    part.write([keys[number] for number in done], scores_pc[done], kept_pd, failed)


def _too_long(
    task: Identification, part: IdentifiedPart, utterances: Utterances, rate: int
) -> dict[str, str]:
    """Return the utterances of a part that are too long to identify, each with the reason."""
    lengths_p = utterances.lengths_u[part.rows_p]
    return {
        utterances.refs.key(int(part.rows_p[number])): (
            f"lasts {lengths_p[number] / rate:.2f} s, longer than max_duration ({task.max_duration:g} s)"
        )
        for number in np.flatnonzero(~task.fits(lengths_p, rate))
    }


def _write_answers(task: Identification, parts: Sequence[IdentifiedPart], languages: list[str]) -> list[Path]:
    """Write the files of all parts together, sorted by utterance; return the files."""
    out = task.output_dir
    failed = dict(pair for part in parts for pair in part.failed())
    keys = [part.keys() for part in parts]
    places = sorted((key, number, row) for number, own in enumerate(keys) for row, key in enumerate(own))
    scores = [part.matrix("scores") for part in parts]
    outputs = [out / f"{out.name}_lids", out / "languages", out / "failed"]
    write_table(outputs[2], failed.items())
    check_failures(
        failed.items(),
        len(failed),
        len(places) + len(failed),
        task.max_failed,
        outputs[2],
        lambda: [part for part in parts if part.failed()],
    )
    best = {key: languages[int(scores[number][row].argmax())] for key, number, row in places}
    write_table(outputs[0], best.items())
    with write_whole(outputs[1]) as stream:
        stream.writelines(f"{language}\n" for language in languages)
    outputs += _write(out, "scores", ((key, scores[number][row]) for key, number, row in places))
    if task.extract_embd:
        embeddings = [part.matrix("embeddings") for part in parts]
        labels = _labels(task.data_dir / "utt2lang", best)
        outputs += _write(out, "embeddings", ((key, embeddings[number][row]) for key, number, row in places))
        means = language_means((labels[key], embeddings[number][row]) for key, number, row in places)
        outputs += _write(out, "lang_embeddings", iter(means))
    else:
        for name in ("embeddings.ark", "embeddings.scp", "lang_embeddings.ark", "lang_embeddings.scp"):
            (out / name).unlink(missing_ok=True)
    for path in espnet_files(out):  # made of earlier embeddings
        path.unlink(missing_ok=True)
    logging.info("%s: %d utterances identified, %d failed", task.step.name, len(places), len(failed))
    return outputs


def language_means(labelled: Iterator[tuple[str, Floats]]) -> list[tuple[str, Floats]]:
    """Return each language's mean embedding, L2-normalised, sorted by label."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for label, embedding in labelled:
        sums[label] = sums.get(label, 0.0) + embedding.astype(np.float64)
    return [
        (label, (total / np.linalg.norm(total)).astype(np.float32)) for label, total in sorted(sums.items())
    ]


def _labels(utt2lang: Path, predicted: dict[str, str]) -> dict[str, str]:
    """Return the true language of each identified utterance, or the predicted one if it is not known."""
    if not utt2lang.exists():
        return predicted
    truth = dict(read_table(utt2lang))
    lacking = next((key for key in predicted if key not in truth), None)
    if lacking is not None:
        raise LidError(f"utterance '{lacking}' is missing", where=utt2lang, redo="formatting")
    return truth


def _write(out: Path, name: str, vectors: Iterator[tuple[str, Floats]]) -> list[Path]:
    ark, scp = out / f"{name}.ark", out / f"{name}.scp"
    write_vectors(ark, scp, vectors)
    return [ark, scp]
