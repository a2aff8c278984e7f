"""Global mean and variance of the features of a training set, for normalisers that need them.

One pass over the whole utterances, without augmentation, by N jobs. The set is cut into parts that do
not depend on the number of jobs; sums are kept in float64 and added without rounding between parts, so
that neither does the result.

    STATS/.features/0001.npz        sums of a part
    STATS/.features/0001.failed     its utterances that cannot be read, and why
    STATS/train/feats_stats.npz     ``count``, ``sum``, ``sum_square`` of all frames, as ESPnet has them
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.audio.reader import AudioError, read_audio
from lid_toolkit.data.features import check_made_by, read_features
from lid_toolkit.data.utterances import Utterances, load_utterances, read_languages, references
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_frontend
from lid_toolkit.models.external import EVERY
from lid_toolkit.models.protocols import Frontend
from lid_toolkit.progress import Progress
from lid_toolkit.training.feature_stats import STATS_FILE, FeatureStats, Sums, read_sums

UTTERANCES_PER_PART = 256
MOST_PARTS = 1024
BATCH_SAMPLES = 1 << 21


def plan(task: FeatureStats, dry_run: bool = False) -> int:
    """Return how many jobs to run, at most ``num_jobs``: 0 if statistics are not needed, or are current.

    Raises:
        LidError: there is no front end, or training changes it: its features have no fixed mean.
    """
    if not task.needed:
        return 0
    _fixed_frontend(task)
    if not task.step.due(dry_run):
        return 0
    return min(task.num_jobs, len(_bounds(_count(task))) - 1)


def run_job(task: FeatureStats, job: int) -> None:
    """Sum the parts of job number ``job``, counted from 1, that are not done yet."""
    utterances = _utterances(task)
    frontend = _fixed_frontend(task)
    bounds_p = _bounds(len(utterances))
    steps = {part: task.part_step(part) for part in range(job - 1, len(bounds_p) - 1, task.num_jobs)}
    todo = {part: step for part, step in steps.items() if step.reason()}
    total = sum(int(bounds_p[part + 1] - bounds_p[part]) for part in todo)
    with Progress(task.step.name, total) as progress:
        for part, step in todo.items():
            rows_u = np.arange(bounds_p[part], bounds_p[part + 1])
            failed: list[tuple[str, str]] = []
            sums = [
                *(
                    _sums_of_features(utterances, rows_u, progress)
                    if frontend is None
                    else _sums_of_audio(frontend, utterances, rows_u, failed, progress)
                )
            ]
            with write_whole(task.file(part, "npz"), "wb") as stream:
                np.savez(stream, **_arrays(add(sums)))
            write_table(task.file(part, "failed"), failed)
            with step.work("collecting", lock=None) as work:
                if work is not None:
                    work.finish([task.file(part, "npz"), task.file(part, "failed")])


def merge(task: FeatureStats) -> None:
    """Write ``train/feats_stats.npz`` and ``train/stats_keys`` from the finished parts.

    Raises:
        LidError: a part is not done, or more recordings than ``max_failed`` cannot be read.
    """
    with task.step.work("merging", lock=None) as work:
        if work is not None:
            work.finish(_merge(task))


def _merge(task: FeatureStats) -> list[Path]:
    count = _count(task)
    sums: list[Sums] = []
    failed: list[tuple[str, str]] = []
    for part in range(len(_bounds(count)) - 1):
        if reason := task.part_step(part).reason():
            raise LidError(f"part {part + 1}: {reason}", where=task.stats_dir, mend="run the jobs again")
        failed += read_table(task.file(part, "failed"), allow_empty=True)
        sums.append(read_sums(task.file(part, "npz")))
    for utterance, what in failed:
        logging.warning("%s left out: %s", utterance, what)
    if len(failed) > allowed_failures(task.config.max_failed, count):
        raise LidError(
            f"{len(failed)} of {count} utterances cannot be read, the last: {failed[-1][1]}",
            where=task.train_dir,
            mend="mend the recordings and run from stage 3, or raise max_failed",
        )
    total = add(sums)
    path = task.stats_dir / STATS_FILE
    with write_whole(path, "wb") as stream:
        np.savez(stream, **_arrays(total))
    keys = path.with_name("stats_keys")
    with write_whole(keys) as stream:
        stream.write("feats\n")
    logging.info("%s: %d frames of %d utterances", task.step.name, total.frames, count - len(failed))
    return [path, keys]


def add(sums: Sequence[Sums]) -> Sums:
    """Add one or more sums, each result rounded once whatever the order (``math.fsum``)."""
    columns = [np.concatenate((one.sum_d, one.sum_square_d)) for one in sums]
    total = np.array([math.fsum(column) for column in zip(*columns, strict=True)])
    return Sums(sum(one.frames for one in sums), *np.split(total, 2))


def _fixed_frontend(task: FeatureStats) -> Frontend | None:
    """Build the front end, which training must not change; None where its features are on disk."""
    config = task.config
    if references(task.train_dir)[1] is not None:
        check_made_by(task.train_dir, config.model_description())
        return None
    mend = "choose a normalize that needs no statistics, or give normalize_conf.stats_file"
    if config.frontend is None:
        raise LidError("statistics of features without a front end", where="normalize", mend=mend)
    frontend = build_frontend(config.model_description(), EVERY)
    if any(parameter.requires_grad for parameter in frontend.parameters()):
        raise LidError(
            f"statistics of the features of '{config.frontend}', which training changes",
            where="normalize",
            mend=mend,
        )
    return frontend.eval()


def _utterances(task: FeatureStats) -> Utterances:
    languages = read_languages(task.stats_dir / "lang2idx")
    return load_utterances(task.train_dir, task.stats_dir / "train" / "speech_shape", languages)


def _count(task: FeatureStats) -> int:
    return len(read_table(task.stats_dir / "train" / "speech_shape"))


def _bounds(count: int) -> npt.NDArray[np.int64]:
    """Return where the parts of ``count`` utterances begin, and where the last one ends."""
    parts = min(MOST_PARTS, math.ceil(count / UTTERANCES_PER_PART))
    return np.linspace(0, count, parts + 1).astype(np.int64)


def _sums_of_features(
    utterances: Utterances, rows_u: npt.NDArray[np.int64], progress: Progress
) -> Iterator[Sums]:
    """Yield the sums of each utterance's features on disk."""
    for row in rows_u.tolist():
        yield _sums(read_features(utterances.refs.value(row)).astype(np.float64))
        progress.advance()


@torch.inference_mode()
def _sums_of_audio(
    frontend: Frontend,
    utterances: Utterances,
    rows_u: npt.NDArray[np.int64],
    failed: list[tuple[str, str]],
    progress: Progress,
) -> Iterator[Sums]:
    """Yield the sums of batches of similar length; note in ``failed`` what cannot be read."""
    yield _sums(np.zeros((0, frontend.output_size)))
    for batch_u in _batches(rows_u, utterances.lengths_u):
        waves, seconds = [], 0.0
        for row in batch_u.tolist():
            ref = utterances.refs.value(row)
            try:
                wave, rate = read_audio(ref)
            except AudioError as error:
                failed.append((utterances.refs.key(row), str(error)))
                continue
            if frontend.rate not in (None, rate):
                raise LidError(f"{rate} Hz, not {frontend.rate} Hz", where=ref, mend="format it with stage 3")
            waves.append(torch.from_numpy(wave))
            seconds += len(wave) / rate
        lengths = [len(wave) for wave in waves]
        if waves:
            feats_btd, frames_b = frontend(pad_sequence(waves, batch_first=True), torch.tensor(lengths))
            valid_bt = torch.arange(feats_btd.shape[1]) < frames_b[:, None]
            yield _sums(feats_btd[valid_bt].double().numpy())
        progress.advance(len(batch_u), seconds)


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
