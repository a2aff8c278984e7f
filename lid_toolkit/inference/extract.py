"""Features of a frozen front end, computed once for many trainings: plan, one job's parts, merge.

DIR/feats.scp       utterance and its rows of a matrix file
DIR/data/N.npy      (rows, D) float16
DIR/features.json   the front end that made them
DIR/wav.scp, utt2lang, utt2num_samples, …  as in the set of audio

Copies with other voices, rooms and noise can be added: what augmentation does to audio in training it
does here once. A copy's utterance id begins with ``augN-``.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.audio.entry import AudioError
from lid_toolkit.audio.reader import read_audio
from lid_toolkit.data.features import DESCRIPTION, TABLE, Features, reference
from lid_toolkit.data.preprocess import Sounds, augment_wave, load_sounds
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.datadir.tables import Table, read_table, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import write_whole
from lid_toolkit.inference.batched import load_unlabelled
from lid_toolkit.models.build import build_frontend
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from lid_toolkit.training.config import TrainConfig

PART_S = 600.0
BATCH_S = 60.0
WORK = ".work"


@dataclass(frozen=True)
class Extraction:
    """What to extract with what.

    Attributes:
        config: its front end, frozen, makes the features; its preprocessor makes the copies.
        data_dir: a formatted set: wav.scp, utt2lang, utt2num_samples.
        output_dir: ``dump/extracted/SET``.
        copies: augmented copies of each utterance beside the utterance itself.
        max_failed: largest share of utterances that may fail, rounded up.
    """

    config: TrainConfig
    data_dir: Path
    output_dir: Path
    copies: int = 0
    max_failed: float = 0.01

    def step(self) -> Step:
        """Return the step that knows whether the merged set is current."""
        names = ("wav.scp", "utt2num_samples", "utt2lang")
        options = {**self._options(), "max_failed": self.max_failed}
        return Step(
            f"extract {self.output_dir}",
            self.output_dir / ".done" / "extract.json",
            {name: self.data_dir / name for name in names},
            options,
        )

    def part_step(self, part: int) -> Step:
        """Return the step that knows whether a part, from 0, is current."""
        whole = self.step()
        return Step(
            f"extract {self.output_dir}, part {part + 1}",
            self.output_dir / WORK / f"{part + 1:04d}.json",
            whole.inputs,
            self._options(),
        )

    def matrix(self, part: int) -> Path:
        """Return the file of a part's features."""
        return self.output_dir / "data" / f"{part + 1:04d}.npy"

    def notes(self, part: int, name: str) -> Path:
        """Return the table ``name`` of a part: ``rows``, ``samples`` or ``failed``."""
        return self.output_dir / WORK / f"{part + 1:04d}.{name}"

    def _options(self) -> dict[str, Any]:
        description = self.config.model_description()
        return {
            "frontend": description["frontend"],
            "frontend_conf": description["frontend_conf"],
            "copies": self.copies,
            "augmentation": self.config.preprocessor_conf.model_dump(mode="json") if self.copies else None,
            "seed": self.config.seed,
        }


@dataclass(frozen=True)
class Work:
    """The utterances of a set and their copies, in parts of about ``PART_S`` seconds.

    Attributes:
        refs: utterances and their audio.
        lengths_u: samples of each.
        parts: for each part its utterances' numbers; number n is row ``n % U``, copy ``n // U``.
    """

    refs: Table
    lengths_u: npt.NDArray[np.int64]
    parts: list[npt.NDArray[np.int64]]


def plan(task: Extraction, jobs: int, dry_run: bool) -> int:
    """Say how much there is to extract; return how many jobs to run, 0 if the set is current.

    Raises:
        LidError: no frozen front end, copies without augmentation, a faulty set, or a disk too small.
    """
    step = task.step()
    if not step.due(dry_run):
        return 0
    work = list_work(task)
    frontend = frozen_frontend(task.config)
    frames = (1 + task.copies) * int((work.lengths_u // frontend.hop_length + 1).sum())
    size = 2 * frames * frontend.states_size
    (task.output_dir / "data").mkdir(parents=True, exist_ok=True)
    made = {key: task.config.model_description()[key] for key in ("frontend", "frontend_conf")}
    if not dry_run:
        with write_whole(task.output_dir / WORK / DESCRIPTION) as stream:
            json.dump({**made, "hop_length": frontend.hop_length}, stream, indent=1)
    present = sum(path.stat().st_size for path in (task.output_dir / "data").glob("*.npy"))
    free = shutil.disk_usage(task.output_dir).free + present
    logging.info(
        "%s: %d utterances, %d copies of each, %d frames of %d numbers: %.2f GB of %.1f GB free",
        step.name,
        len(work.refs),
        task.copies,
        frames,
        frontend.states_size,
        size / 1e9,
        free / 1e9,
    )
    if size > free:
        raise LidError(
            f"features take {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=task.output_dir,
            mend="choose fewer frontend_conf.layers or copies, or another --dumpdir",
        )
    return min(jobs, len(work.parts))


def run_job(task: Extraction, job: int, jobs: int, device: torch.device) -> None:
    """Extract every ``jobs``-th part that is not current, beginning with number ``job``, from 1."""
    work = list_work(task)
    own = range(job - 1, len(work.parts), jobs)
    todo = [part for part in own if task.part_step(part).reason()]
    logging.info("job %d: %d of %d parts to do", job, len(todo), len(own))
    if not todo:
        return
    frontend = frozen_frontend(task.config).to(device)
    sounds = load_sounds(task.config.preprocessor_conf) if task.copies else Sounds()
    with Progress(f"extract {task.output_dir.name}", sum(len(work.parts[part]) for part in todo)) as progress:
        for part in todo:
            _do_part(task, work, part, frontend, sounds, device, progress)


def merge(task: Extraction) -> None:
    """Write the set of what the jobs left.

    Raises:
        LidError: a part is missing, or too many utterances failed.
    """
    step = task.step()
    if not step.due():
        return
    work = list_work(task)
    rows: list[tuple[str, str]] = []
    samples: list[tuple[str, str]] = []
    failed: list[tuple[str, str]] = []
    for part in range(len(work.parts)):
        reason = task.part_step(part).reason()
        if reason:
            raise LidError(f"part {part + 1}: {reason}", where=task.output_dir, mend="run the jobs again")
        for table, name in ((rows, "rows"), (samples, "samples"), (failed, "failed")):
            table.extend(read_table(task.notes(part, name), allow_empty=True))
    if len(failed) > allowed_failures(task.max_failed, len(work.refs) * (1 + task.copies)):
        raise LidError(
            f"{len(failed)} utterances failed, such as {failed[0][0]}: {failed[0][1]}",
            where=task.output_dir,
            mend="mend these recordings, or raise --max_failed",
        )
    outputs = _write_set(task, dict(rows), dict(samples), dict(failed))
    for path in (task.output_dir / "data").glob("*.npy"):
        if path not in {task.matrix(part) for part in range(len(work.parts))}:
            path.unlink()
    step.finish(outputs)
    logging.info("%s: %d utterances, %d failed", step.name, len(rows), len(failed))


def list_work(task: Extraction) -> Work:
    """Sort the utterances and their copies by length, and cut them into parts.

    Raises:
        LidError: a faulty set.
    """
    utterances = load_unlabelled(task.data_dir)
    if utterances.hop_length is not None:
        raise LidError("holds features", where=task.data_dir, mend="name a set of audio")
    refs, lengths_u = utterances.refs, utterances.lengths_u
    lengths_n = np.tile(lengths_u, 1 + task.copies)
    numbers_n = np.argsort(-lengths_n, kind="stable")
    seconds_n = np.cumsum(lengths_n[numbers_n]) / task.config.preprocessor_conf.sample_rate
    cuts = np.flatnonzero(np.diff(seconds_n // PART_S)) + 1
    return Work(refs, lengths_u, np.split(numbers_n, cuts))


def frozen_frontend(config: TrainConfig) -> Any:
    """Build a configuration's front end, in evaluation mode.

    Raises:
        LidError: it is not frozen, or copies of it would not differ.
    """
    frontend = build_frontend(config.model_description())
    if not getattr(frontend, "frozen", False):
        raise LidError(
            f"features are extracted from a frozen front end, not from '{config.frontend}' in training",
            where="frontend_conf",
            mend="take frontend: transformers with frozen: true, or feats_type raw",
        )
    return frontend.eval()


def _do_part(
    task: Extraction,
    work: Work,
    part: int,
    frontend: Any,
    sounds: Sounds,
    device: torch.device,
    progress: Progress,
) -> None:
    rate = task.config.preprocessor_conf.sample_rate
    numbers_n = work.parts[part]
    lengths_n = work.lengths_u[numbers_n % len(work.refs)]
    blocks: list[Features] = []
    rows: list[tuple[str, str]] = []
    samples: list[tuple[str, str]] = []
    failed: list[tuple[str, str]] = []
    end = 0
    for batch in sorted_batches(lengths_n, int(BATCH_S * rate)):
        numbers = numbers_n[batch.rows_b].tolist()
        waves: dict[str, npt.NDArray[np.float32]] = {}
        for number in numbers:
            key = copy_key(work.refs.key(number % len(work.refs)), number // len(work.refs))
            try:
                waves[key] = _wave(task, work, number, sounds)
            except AudioError as error:
                failed.append((key, str(error)))
        for (key, wave), feats in zip(
            waves.items(), _features(frontend, list(waves.values()), device), strict=True
        ):
            if not np.isfinite(feats).all():
                failed.append((key, "features beyond half precision, or not finite"))
                continue
            blocks.append(feats)
            rows.append((key, reference(task.matrix(part), end, end + len(feats))))
            samples.append((key, str(len(wave))))
            end += len(feats)
        progress.advance(len(numbers), sum(len(wave) for wave in waves.values()) / rate)
    with write_whole(task.matrix(part), "wb") as stream:
        np.save(stream, np.concatenate(blocks) if blocks else np.zeros((0, frontend.states_size), np.float16))
    for table, name in ((rows, "rows"), (samples, "samples"), (failed, "failed")):
        write_table(task.notes(part, name), table)
    outputs = [task.matrix(part), *(task.notes(part, name) for name in ("rows", "samples", "failed"))]
    task.part_step(part).finish(outputs)


def _wave(task: Extraction, work: Work, number: int, sounds: Sounds) -> npt.NDArray[np.float32]:
    conf = task.config.preprocessor_conf
    copy, row = divmod(number, len(work.refs))
    ref = work.refs.value(row)
    wave, rate = read_audio(ref, 0, int(work.lengths_u[row]))
    if rate != conf.sample_rate:
        raise LidError(f"{rate} Hz, not {conf.sample_rate} Hz", where=ref, mend="format it with stage 3")
    if copy:
        wave = augment_wave(wave, conf, sounds, np.random.default_rng((task.config.seed, copy, row)))
    return wave


@torch.inference_mode()
def _features(
    frontend: Any, waves: Sequence[npt.NDArray[np.float32]], device: torch.device
) -> Iterator[Features]:
    if not waves:
        return
    wave_bt = pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True).to(device)
    states_btd, frames_b = frontend.frozen_states(wave_bt, torch.tensor([len(wave) for wave in waves]))
    for state_td, frames in zip(states_btd.half().cpu().numpy(), frames_b.tolist(), strict=True):
        yield state_td[:frames]


def copy_key(key: str, copy: int) -> str:
    """Return the id of a copy; copy 0 is the utterance itself."""
    return f"aug{copy}-{key}" if copy else key


def _write_set(
    task: Extraction, rows: dict[str, str], samples: dict[str, str], failed: dict[str, str]
) -> list[Path]:
    """Write the tables of the set; return the files."""
    out, data = task.output_dir, read_data_dir(task.data_dir)
    keys = [(copy_key(key, copy), key) for copy in range(1 + task.copies) for key, _ in data.utt2lang]
    kept = [(key, original) for key, original in keys if key in rows]
    matrices = sorted({ref.rpartition("[")[0] for ref in rows.values()})
    tables: dict[str, list[tuple[str, str]]] = {
        name: [(key, str(table[original])) for key, original in kept]
        for name, table in {"wav.scp": data.wav_scp, "utt2lang": data.utt2lang, **data.carried}.items()
    }
    tables |= {TABLE: [(key, rows[key]) for key, _ in kept]}
    tables |= {"utt2num_samples": [(key, samples[key]) for key, _ in kept], "failed": list(failed.items())}
    for name, pairs in tables.items():
        write_table(out / name, pairs)
    shutil.copyfile(out / WORK / DESCRIPTION, out / DESCRIPTION)
    return [*(out / name for name in tables), out / DESCRIPTION, *map(Path, matrices)]
