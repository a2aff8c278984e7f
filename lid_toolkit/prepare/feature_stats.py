"""Global mean and variance of the features of a training set, for normalisers that need them.

The jobs read all utterances once, whole and without augmentation. Neither the parts nor the result depend on
the number of jobs: sums are float64, and the sums of all parts are added exactly and rounded once.

    STATS/.features/plan.json       the inputs
    STATS/.features/0001.json       the record of a finished part
    STATS/.features/0001.npz        sums of a part
    STATS/.features/0001.failed     its utterances that cannot be read, and why
    STATS/train/feats_stats.npz     ``count``, ``sum``, ``sum_square`` of all frames, as ESPnet has them
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.data.features import check_made_by, read_features
from lid_toolkit.data.utterances import Utterances, load_utterances, read_languages, references
from lid_toolkit.data.waves import pad, read_waves
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_frontend, one_frame_per_utterance
from lid_toolkit.models.external import EVERY
from lid_toolkit.models.protocols import FrameStore, Frontend, stores_frames
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
from lid_toolkit.training.feature_stats import STATS_FILE, FeatureStats, Sums, read_sums

UTTERANCES_PER_PART = 256
BATCH_SAMPLES = 1 << 21
MEND = "choose a normaliser without statistics, or set normalize_conf.stats_file"


class StatsPart(RowsPart):
    """A part of the feature statistics: its sums, and the utterances that failed."""

    def failed(self) -> list[tuple[str, str]]:
        """Return (utterance, reason) of those that cannot be read."""
        return list(read_table(self.file("failed"), allow_empty=True))


def work_dir(task: FeatureStats) -> Path:
    """Return the directory of the plan and the parts."""
    return task.stats_dir / ".features"


def parts_of(task: FeatureStats, count: int, inputs: str) -> list[StatsPart]:
    """Cut a set of ``count`` utterances into parts; ``inputs`` is a digest of all inputs."""
    bounds = part_bounds(count, UTTERANCES_PER_PART).tolist()
    options = {**task.step.options, "data": inputs}
    return [
        StatsPart(number, np.arange(first, stop), work_dir(task), options)
        for number, (first, stop) in enumerate(itertools.pairwise(bounds), start=1)
    ]


def plan(task: FeatureStats, num_jobs: int, dry_run: bool = False) -> int:
    """Return the number of jobs to run, at most ``num_jobs``; 0 if statistics are not needed or are current.

    Raises:
        LidError: there is no front end, or training changes it, so that its features have no fixed mean.
    """
    if not task.needed:
        return 0
    _check_frontend(task)
    if dry_run:
        task.step.due(dry_run=True)
        return 0
    with task.step.work("planning feature statistics", lock=work_dir(task)) as work:
        if work is None:
            return 0
        num_jobs = min(num_jobs, len(parts_of(task, _count(task), work.snapshot.digest)))
        Plan(work.snapshot, num_jobs).save(work_dir(task))
    return num_jobs


def run_job(task: FeatureStats, job: int) -> None:
    """Sum the parts of job number ``job``, from 1, that are not done yet."""
    planned = load_plan(work_dir(task))
    planned.inputs.check(task.step.inputs)
    utterances = _utterances(task)
    parts = parts_of(task, len(utterances), planned.inputs.digest)
    with parts_to_do(work_dir(task), parts, job, planned.num_jobs, task.step.name) as todo:
        if not todo:
            return
        description, rate = task.config.model_description(), task.config.preprocessor_conf.sample_rate
        on_disk = utterances.hop_length is not None
        store = _frame_store(description) if on_disk else None
        frontend = None if on_disk else _fixed_frontend(description)

        def do(part: StatsPart, progress: Progress) -> list[Path]:
            failed: list[tuple[str, str]] = []
            if frontend is None:
                sums = [*_sums_of_features(store, utterances, part.rows_p, progress)]
            else:
                sums = [*_sums_of_audio(frontend, rate, utterances, part.rows_p, failed, progress)]
            with write_whole(part.file("npz"), "wb") as stream:
                np.savez(stream, **_arrays(add(sums)))
            write_table(part.file("failed"), failed)
            return [part.file("npz"), part.file("failed")]

        do_parts(task.step.name, todo, do)


def merge(task: FeatureStats) -> None:
    """Write ``train/feats_stats.npz`` and ``train/stats_keys`` from the finished parts.

    Raises:
        LidError: a part is not done, or more recordings than ``max_failed`` cannot be read.
    """
    planned = load_plan(work_dir(task))
    with task.step.work("merging feature statistics", lock=work_dir(task), known=planned.inputs) as work:
        if work is not None:
            work.finish(_write_sums(task, parts_of(task, _count(task), planned.inputs.digest)))


def _write_sums(task: FeatureStats, parts: Sequence[StatsPart]) -> list[Path]:
    check_finished(parts, task.stats_dir)
    failed = [pair for part in parts for pair in part.failed()]
    for utterance, what in failed:
        logging.warning("%s left out: %s", utterance, what)
    count = sum(part.size for part in parts)
    check_failures(
        failed,
        len(failed),
        count,
        task.config.max_failed,
        task.train_dir,
        lambda: [part for part in parts if part.failed()],
    )
    total = add([read_sums(part.file("npz")) for part in parts])
    path = task.stats_dir / STATS_FILE
    with write_whole(path, "wb") as stream:
        np.savez(stream, **_arrays(total))
    keys = path.with_name("stats_keys")
    with write_whole(keys) as stream:
        stream.write("feats\n")
    logging.info("%s: %d frames of %d utterances", task.step.name, total.frames, count - len(failed))
    return [path, keys]


def add(sums: Sequence[Sums]) -> Sums:
    """Add sums. Each result is rounded once, so it does not depend on the order (``math.fsum``)."""
    columns = [np.concatenate((one.sum_d, one.sum_square_d)) for one in sums]
    total = np.array([math.fsum(column) for column in zip(*columns, strict=True)])
    return Sums(sum(one.frames for one in sums), *np.split(total, 2))


def _check_frontend(task: FeatureStats) -> None:
    """Raise LidError if there is no front end, or features on disk are those of another."""
    config = task.config
    if references(task.train_dir)[1] is not None:
        check_made_by(task.train_dir, config.model_description())
    elif config.frontend is None:
        raise LidError("statistics need a front end", where="normalize", mend=MEND)
    else:
        _fixed_frontend(config.model_description())


def _fixed_frontend(description: Mapping[str, object]) -> Frontend:
    """Build the front end, whose features must be known before training."""
    frontend = build_frontend(description, EVERY)
    if not stores_frames(frontend) and any(parameter.requires_grad for parameter in frontend.parameters()):
        raise LidError(
            f"'{description['frontend']}' changes in training, so its features have no fixed statistics",
            where="normalize",
            mend=MEND,
        )
    return frontend.eval()


def _frame_store(description: Mapping[str, object]) -> FrameStore | None:
    """Build the front end that makes features of what is on disk; None if the features are on disk."""
    if not one_frame_per_utterance(description):
        return None
    frontend = build_frontend(description, EVERY)
    return frontend if stores_frames(frontend) else None


def _utterances(task: FeatureStats) -> Utterances:
    languages = read_languages(task.stats_dir / "lang2idx")
    return load_utterances(task.train_dir, task.stats_dir / "train" / "speech_shape", languages)


def _count(task: FeatureStats) -> int:
    return len(read_table(task.stats_dir / "train" / "speech_shape"))


@torch.inference_mode()
def _sums_of_features(
    store: FrameStore | None, utterances: Utterances, rows_u: npt.NDArray[np.int64], progress: Progress
) -> Iterator[Sums]:
    """Yield the sums of each utterance's features: those on disk, or those that training starts from."""
    for row in rows_u.tolist():
        feats_td = torch.from_numpy(read_features(utterances.refs.value(row)))
        if store is not None:
            feats_td = store.initial_features(feats_td[None].float())[0]
        yield _sums(feats_td.double().numpy())
        progress.advance()


@torch.inference_mode()
def _sums_of_audio(
    frontend: Frontend,
    rate: int,
    utterances: Utterances,
    rows_u: npt.NDArray[np.int64],
    failed: list[tuple[str, str]],
    progress: Progress,
) -> Iterator[Sums]:
    """Yield the sums of batches of similar length; add utterances that cannot be read to ``failed``."""
    yield _sums(np.zeros((0, frontend.output_size)))
    for batch_u in _batches(rows_u, utterances.lengths_u):
        read, unread = read_waves(utterances.refs, batch_u.tolist(), rate)
        failed += [(utterances.refs.key(row), reason) for row, reason in unread]
        wave_bt, lengths_b = pad([wave for _, wave in read])
        if read:
            feats_btd, frames_b = frontend(wave_bt, lengths_b)
            valid_bt = torch.arange(feats_btd.shape[1]) < frames_b[:, None]
            yield _sums(feats_btd[valid_bt].double().numpy())
        progress.advance(len(batch_u), int(lengths_b.sum()) / rate)


def _sums(feats_fd: npt.NDArray[np.float64]) -> Sums:
    return Sums(len(feats_fd), feats_fd.sum(axis=0), np.square(feats_fd).sum(axis=0))


def _batches(
    rows_u: npt.NDArray[np.int64], lengths_u: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows in batches of similar length, at most ``BATCH_SAMPLES`` with padding or one utterance."""
    ordered = rows_u[np.argsort(lengths_u[rows_u], kind="stable")]
    first = 0
    for place in range(1, len(ordered) + 1):
        if place == len(ordered) or lengths_u[ordered[place]] * (place + 1 - first) > BATCH_SAMPLES:
            yield ordered[first:place]
            first = place


def _arrays(sums: Sums) -> dict[str, Any]:
    return {"count": sums.frames, "sum": sums.sum_d, "sum_square": sums.sum_square_d}
