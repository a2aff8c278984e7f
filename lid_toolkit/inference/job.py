"""A job of an identification: it computes the parts that are not done yet."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.data.loader import Minibatch, MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import Batches
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.datadir import check_sampling_rate
from lid_toolkit.files import write_whole
from lid_toolkit.inference.compute import (
    Identify,
    ReadBatch,
    compiled_identify,
    identify_batches,
    plan_batches,
)
from lid_toolkit.inference.identification import Identification, IdentifiedPart
from lid_toolkit.inference.locate import open_model
from lid_toolkit.parts import do_parts, load_plan, parts_to_do
from lid_toolkit.progress import Progress
from lid_toolkit.training.checkpoint import SavedModel
from lid_toolkit.training.precision import named_precision


def run_job(
    task: Identification,
    job: int,
    batch_size: int,
    device: torch.device,
    workers: int,
    torch_compile: bool = False,
) -> None:
    """Identify the utterances in the parts of job number ``job``, from 1, that are not done yet.

    Args:
        task: the settings.
        job: this job's number.
        batch_size: largest number of utterances computed together.
        device: the device to compute on.
        workers: number of processes that read ahead.
        torch_compile: compile the model; answers agree up to rounding, so it is no setting of the task.

    Raises:
        LidError: there is no plan or no such job, the inputs changed, or audio has another rate.
    """
    planned = load_plan(task.work_dir)
    planned.inputs.check(task.step.inputs)
    rate = planned.facts["rate"]
    utterances = task.load(rate)
    lengths_u = utterances.lengths_u
    parts = task.parts(lengths_u, planned.inputs.digest, rate)
    with parts_to_do(task.work_dir, parts, job, planned.num_jobs, task.step.name) as todo:
        if not todo:
            return
        saved = open_model(task.model)
        saved.model.to(device)
        identify = compiled_identify(saved) if torch_compile else saved.model.identify
        check_sampling_rate(task.data_dir, saved.rate, "the model")
        with write_whole(task.languages) as stream:
            stream.writelines(f"{language}\n" for language in saved.languages)
        fitting = [part.rows_p[task.fits(lengths_u[part.rows_p], rate)] for part in todo]
        batches = [plan_batches(lengths_u[rows], rate, batch_size, device) for rows in fitting]
        reader = MinibatchReader(utterances, _joined(batches, fitting), PreprocessorConf(), rate)
        sizes = {part.number: len(own) for part, own in zip(todo, batches, strict=True)}
        # One stream for all parts, so that workers also read ahead across the end of a part.
        with contextlib.closing(iterate(reader, 0, workers, pin=device.type == "cuda")) as read:

            def do(part: IdentifiedPart, progress: Progress) -> list[Path]:
                own = itertools.islice(read, sizes[part.number])
                _do_part(task, part, utterances, saved, device, own, identify, progress)
                return part.files

            do_parts(task.step.name, todo, do)


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
    identify: Identify,
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
                wave_bt = batch.model_inputs(device)[0]
                yield np.searchsorted(part.rows_p, batch.rows_b.numpy()), wave_bt, batch.lengths_b
            progress.advance(len(batch.rows_b) + len(batch.failed), batch.samples / saved.rate)

    precision = named_precision(task.dtype, device)
    scores_pc, embeddings_pd = identify_batches(saved, device, precision, part.size, numbered(), identify)
    keys = [utterances.refs.key(int(row)) for row in part.rows_p]
    for number in np.flatnonzero(~np.isfinite(scores_pc).all(axis=1)).tolist():
        failed.setdefault(keys[number], "scores are not finite")
    done = np.array([number for number, key in enumerate(keys) if key not in failed], dtype=np.int64)
    kept_pd = embeddings_pd[done] if task.extract_embd else embeddings_pd[:0]
    part.write(scores_pc[done], kept_pd, failed)


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
