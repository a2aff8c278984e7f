"""Identification of a whole data directory by N jobs: plan, one job's shard, merge.

A job computes its utterances, longest first, and leaves a shard; merging sorts the shards into the
files of stage 6. An utterance's answer is the same in any batch and any job.
"""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.data.features import TABLE
from lid_toolkit.data.loader import MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.utterances import Utterances, load_unlabelled
from lid_toolkit.datadir.ark import write_vectors
from lid_toolkit.datadir.datadir import DIGEST
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import write_whole
from lid_toolkit.inference.compute import Floats, ReadBatch, identify_batches, plan_batches
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from lid_toolkit.training.checkpoint import SavedModel, load_model

SHARDS = ".shards"


@dataclass(frozen=True)
class Identification:
    """What to identify with what.

    Attributes:
        model: model file.
        data_dir: formatted or extracted set: wav.scp and utt2num_samples; utt2lang where known.
        output_dir: ``exp/lid_TAG/inference/MODEL/SET``.
        jobs: number of shards.
        extract_embd: also keep embeddings, of utterances and of languages.
        max_failed: largest share of utterances that may fail, rounded up.
    """

    model: Path
    data_dir: Path
    output_dir: Path
    jobs: int
    extract_embd: bool = True
    max_failed: float = 0.01

    def step(self) -> Step:
        """Return the step that knows whether the merged results are current."""
        names = ("wav.scp", TABLE, DIGEST, "utt2num_samples", "utt2lang")
        return Step(
            f"identify {self.output_dir}",
            self.output_dir / ".done" / "identify.json",
            inputs={"model": self.model, **{name: self.data_dir / name for name in names}},
            options={"extract_embd": self.extract_embd, "max_failed": self.max_failed},
        )

    def shard_step(self, job: int) -> Step:
        """Return the step that knows whether the shard of ``job``, from 1, is current."""
        return Step(
            f"identify {self.output_dir}, job {job} of {self.jobs}",
            self.output_dir / SHARDS / f"{job}.json",
            {},
            {"extract_embd": self.extract_embd, "jobs": self.jobs, "inputs": self._inputs_digest},
        )

    @functools.cached_property
    def _inputs_digest(self) -> str:
        """Of the inputs before the work."""
        return self.step().inputs_digest()


def run_job(task: Identification, job: int, batch_size: int, device: torch.device, workers: int) -> None:
    """Identify every ``jobs``-th utterance in order of length, beginning with number ``job``.

    Args:
        task: what to do.
        job: this job's number, from 1.
        batch_size: most utterances computed together.
        device: where.
        workers: processes that read ahead.
    """
    with task.shard_step(job).work("identifying", lock=None) as work:
        if work is not None:
            work.finish(_do_shard(task, job, batch_size, device, workers))


def _do_shard(
    task: Identification, job: int, batch_size: int, device: torch.device, workers: int
) -> list[Path]:
    saved = load_model(task.model)
    utterances = load_unlabelled(task.data_dir)
    rows = np.sort(np.argsort(-utterances.lengths_u, kind="stable")[job - 1 :: task.jobs])
    own = utterances.select(rows)
    scores_uc, embeddings_ud, failed = identify(
        saved, own, batch_size, device, workers, task.shard_step(job).name
    )
    done = np.array(sorted(set(range(len(own))) - failed.keys()), dtype=np.int64)
    shard = task.output_dir / SHARDS
    outputs = [shard / f"{job}.{name}" for name in ("keys", "scores.npy", "embeddings.npy", "failed")]
    write_table(outputs[0], ((own.refs.key(int(row)), str(place)) for place, row in enumerate(done)))
    kept = (scores_uc[done], embeddings_ud[done] if task.extract_embd else embeddings_ud[:0])
    for path, matrix in zip(outputs[1:3], kept, strict=True):
        with write_whole(path, "wb") as stream:
            np.save(stream, matrix)
    write_table(outputs[3], ((own.refs.key(row), reason) for row, reason in failed.items()))
    return outputs


def identify(
    saved: SavedModel,
    utterances: Utterances,
    batch_size: int,
    device: torch.device,
    workers: int,
    title: str,
) -> tuple[Floats, Floats, dict[int, str]]:
    """Compute all utterances, longest first.

    Returns:
        Log posteriors (U, classes), L2-normalised embeddings (U, D), and the reason for each row that
        failed, whose scores are NaN.
    """
    saved.model.to(device)
    batches = plan_batches(utterances.lengths_u, saved.rate, batch_size)
    reader = MinibatchReader(utterances, batches, PreprocessorConf(), saved.rate)
    unread: dict[str, str] = {}

    def read() -> Iterator[ReadBatch]:
        with Progress(title, len(utterances)) as progress:
            for batch in iterate(reader, 0, workers, pin=device.type == "cuda"):
                unread.update(batch.failed)
                if len(batch.rows_b):
                    yield batch.rows_b.numpy(), batch.wave_bt, batch.lengths_b
                progress.advance(len(batch.rows_b) + len(batch.failed), batch.samples / saved.rate)

    scores_uc, embeddings_ud = identify_batches(saved, device, len(utterances), read())
    failed = {int(utterances.refs.rows([key])[0]): reason for key, reason in unread.items()}
    for row in np.flatnonzero(~np.isfinite(scores_uc).all(axis=1)):
        failed.setdefault(int(row), "scores are not finite")
    return scores_uc, embeddings_ud, failed


def merge(task: Identification) -> None:
    """Write stage 6's files, unless they are current, from the shards of all jobs; remove the shards.

    Raises:
        LidError: a shard is missing, or more than ``max_failed`` of the utterances failed.
    """
    with task.step().work("merging", lock=None) as work:
        if work is not None:
            work.finish(_merge(task))
            shutil.rmtree(task.output_dir / SHARDS, ignore_errors=True)


def _merge(task: Identification) -> list[Path]:
    out = task.output_dir
    saved = load_model(task.model)
    for job in range(1, task.jobs + 1):
        if reason := task.shard_step(job).reason():
            raise LidError(f"job {job} of {task.jobs}: {reason}", where=out, mend="run stage 6 again")
    shards = [Shard.load(out / SHARDS, job) for job in range(1, task.jobs + 1)]
    failed = dict(pair for shard in shards for pair in shard.failed)
    places = sorted((key, s, row) for s, shard in enumerate(shards) for row, key in enumerate(shard.keys))
    write_table(out / "failed", failed.items())
    total = len(places) + len(failed)
    if len(failed) > allowed_failures(task.max_failed, total):
        utterance, reason = next(iter(failed.items()))
        raise LidError(
            f"{len(failed)} of {total} utterances failed, such as {utterance}: {reason}",
            where=out / "failed",
            mend="mend these recordings, or raise --max_failed",
        )
    best = {key: saved.languages[int(shards[s].scores[row].argmax())] for key, s, row in places}
    outputs = [out / f"{out.name}_lids", out / "languages", out / "failed"]
    write_table(outputs[0], best.items())
    with write_whole(outputs[1]) as stream:
        stream.writelines(f"{language}\n" for language in saved.languages)
    outputs += _write(out, "scores", ((key, shards[s].scores[row]) for key, s, row in places))
    if task.extract_embd:
        labels = _labels(task.data_dir / "utt2lang", best)
        outputs += _write(out, "embeddings", ((key, shards[s].embeddings[row]) for key, s, row in places))
        means = language_means((labels[key], shards[s].embeddings[row]) for key, s, row in places)
        outputs += _write(out, "lang_embeddings", iter(means))
    else:
        for name in ("embeddings.ark", "embeddings.scp", "lang_embeddings.ark", "lang_embeddings.scp"):
            (out / name).unlink(missing_ok=True)
    logging.info("%s: %d utterances identified, %d failed", task.step().name, len(places), len(failed))
    return outputs


@dataclass(frozen=True)
class Shard:
    """What one job left: its utterances, their scores and embeddings, and what failed."""

    keys: list[str]
    scores: Floats
    embeddings: Floats
    failed: list[tuple[str, str]]

    @classmethod
    def load(cls, directory: Path, job: int) -> Shard:
        """Map the files of job number ``job``."""
        return cls(
            list(read_table(directory / f"{job}.keys", allow_empty=True).keys()),
            np.load(directory / f"{job}.scores.npy", mmap_mode="r"),
            np.load(directory / f"{job}.embeddings.npy", mmap_mode="r"),
            list(read_table(directory / f"{job}.failed", allow_empty=True)),
        )


def language_means(labelled: Iterator[tuple[str, Floats]]) -> list[tuple[str, Floats]]:
    """Return each language's mean embedding, L2-normalised, sorted by label."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for label, embedding in labelled:
        sums[label] = sums.get(label, 0.0) + embedding.astype(np.float64)
    return [
        (label, (total / np.linalg.norm(total)).astype(np.float32)) for label, total in sorted(sums.items())
    ]


def _labels(utt2lang: Path, predicted: dict[str, str]) -> dict[str, str]:
    """Return the true language of each identified utterance, or the predicted one where there is no truth."""
    if not utt2lang.exists():
        return predicted
    truth = dict(read_table(utt2lang))
    lacking = next((key for key in predicted if key not in truth), None)
    if lacking is not None:
        raise LidError(f"lacks utterance '{lacking}'", where=utt2lang, mend="run stage 3 again")
    return truth


def _write(out: Path, name: str, vectors: Iterator[tuple[str, Floats]]) -> list[Path]:
    ark, scp = out / f"{name}.ark", out / f"{name}.scp"
    write_vectors(ark, scp, vectors)
    return [ark, scp]
