"""Features of a frozen front end, computed once for many trainings: plan, parts of a job, merge.

DIR/feats.scp       utterance and its rows of a matrix file
DIR/data/N.npy      (rows, D) float16
DIR/features.json   description of the front end that computed the features
DIR/wav.scp, utt2lang, utt2num_samples, …  as in the set of audio

Augmented copies of the utterances can be added: other voices, rooms and noise, drawn once here instead of in
each epoch of training. If the front end gives one vector per utterance, which cannot be cropped later, the
copies are random crops. The utterance id of a copy begins with ``augN-``.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from lid_toolkit.augment.fourier import Wave
from lid_toolkit.data.features import DESCRIPTION, TABLE, UNDIVIDED, Features, reference
from lid_toolkit.data.preprocess import PreprocessorConf, Sounds, augment_wave, load_sounds
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.data.utterances import copy_key, load_unlabelled
from lid_toolkit.data.waves import pad, read_waves
from lid_toolkit.datadir.datadir import DIGEST, PER_UTTERANCE_TABLES, SAMPLING_RATE, read_data_dir
from lid_toolkit.datadir.tables.table import Table, read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_frontend, one_frame_per_utterance
from lid_toolkit.models.external import EVERY
from lid_toolkit.models.protocols import FrozenFrontend, stores_frames
from lid_toolkit.parts import Plan, RowsPart, check_failures, check_finished, do_parts, load_plan, parts_to_do
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Snapshot, Step
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.precision import choose_precision

PART_S = 600.0
BATCH_S = 60.0
WORK = ".work"
FILES_VERSION = 2
"""Raise it when the merge writes other files, so that sets of an earlier version are merged again."""
COMPUTED_FROM = ("wav.scp", DIGEST, "utt2num_samples", "utt2lang")
"""Files of a set whose changes make its parts stale; the merge copies the others."""
CROPS = {"fix_duration", "target_duration"}
"""Keys of the preprocessor that apply in training and not here, if features can be cropped."""


@dataclass(frozen=True)
class ExtractedPart(RowsPart):
    """Utterances whose features share a file. Its options do not change when more copies are extracted.

    Attributes:
        copy: number of the augmented copy; 0 for the original utterances.
    """

    copy: int

    @property
    def matrix(self) -> Path:
        """The file of the features."""
        return self.directory.parent / "data" / f"{self.number:04d}.npy"

    @property
    def notes(self) -> dict[str, Path]:
        """The tables of the part: ``rows``, ``samples`` and ``failed``."""
        return {name: self.file(name) for name in ("rows", "samples", "failed")}

    def read(self, name: str) -> list[tuple[str, str]]:
        """Return the rows of one of the tables."""
        return list(read_table(self.notes[name], allow_empty=True))


@dataclass(frozen=True)
class Extraction:
    """The settings of a feature extraction.

    Attributes:
        config: configuration with a frozen front end, and the augmentations of the copies.
        data_dir: a formatted set with wav.scp, utt2lang and utt2num_samples.
        output_dir: directory of the extracted set, ``dump/extracted/SET``.
        copies: number of augmented copies of each utterance, in addition to the original.
        max_failed: largest fraction of utterances that may fail; the number is rounded up.
    """

    config: TrainConfig
    data_dir: Path
    output_dir: Path
    copies: int = 0
    max_failed: float = 0.01

    @property
    def step(self) -> Step:
        """The extraction as a whole, finished by the merge."""
        names = (*COMPUTED_FROM, *PER_UTTERANCE_TABLES)
        return Step(
            f"extract {self.output_dir}",
            self.output_dir / ".done" / "extract.json",
            {name: self.data_dir / name for name in names},
            {**self.options(self.copies), "copies": self.copies, "max_failed": self.max_failed},
            FILES_VERSION,
        )

    @property
    def work_dir(self) -> Path:
        """Directory of the plan and of the tables of the parts."""
        return self.output_dir / WORK

    def options(self, copy: int) -> dict[str, object]:
        """Return all options that determine the features of a copy."""
        description = self.config.model_description()
        acts_later = set() if one_frame_per_utterance(description) else CROPS
        augmentation = self.config.preprocessor_conf.model_dump(
            mode="json", exclude=acts_later | {"augment_on"}
        )
        return {
            "frontend": description["frontend"],
            "frontend_conf": description["frontend_conf"],
            "precision": [self.config.use_amp, self.config.amp_dtype],
            "augmentation": [augmentation, self.config.seed] if copy else None,
        }


@dataclass(frozen=True)
class Extent:
    """The utterances of a set, and of its copies, in parts of about ``PART_S`` seconds.

    Attributes:
        refs: utterances and their audio.
        lengths_u: number of samples of each utterance.
        parts: the parts of the original utterances, then those of each copy.
    """

    refs: Table
    lengths_u: npt.NDArray[np.int64]
    parts: list[ExtractedPart]


def plan(task: Extraction, num_jobs: int, dry_run: bool) -> int:
    """Log the amount of work and return the number of jobs to run, 0 if the set is current.

    Raises:
        LidError: the front end is not frozen, there is no augmentation for the copies, the set is not valid,
            or the disk is too small.
    """
    if dry_run:
        task.step.due(dry_run=True)
        return 0
    with task.step.work("planning", lock=task.output_dir) as work:
        if work is None:
            return 0
        if task.copies and not _augments(task.config.preprocessor_conf):
            raise LidError(
                "copies would not be augmented", where="preprocessor_conf", mend="set some …_apply_prob"
            )
        extent = list_parts(task, work.snapshot)
        frontend = frozen_frontend(task.config)
        _check_space(task, extent, frontend)
        made = {key: task.config.model_description()[key] for key in ("frontend", "frontend_conf")}
        with write_whole(task.work_dir / DESCRIPTION) as stream:
            hop = UNDIVIDED if stores_frames(frontend) else frontend.hop_length
            json.dump({**made, "hop_length": hop}, stream, indent=1)
        num_jobs = min(num_jobs, len(extent.parts))
        Plan(work.snapshot, num_jobs).save(task.work_dir)
    return num_jobs


def _check_space(task: Extraction, extent: Extent, frontend: FrozenFrontend) -> None:
    """Log the disk space that the features need; raise LidError if there is less."""
    one_vector = one_frame_per_utterance(task.config.model_description()) and not stores_frames(frontend)
    lengths_u = extent.lengths_u + frontend.added_samples
    frames_u = np.ones_like(lengths_u) if one_vector else lengths_u // frontend.hop_length + 1
    frames = (1 + task.copies) * int(frames_u.sum())
    size = 2 * frames * frontend.states_size
    (task.output_dir / "data").mkdir(parents=True, exist_ok=True)
    present = sum(path.stat().st_size for path in (task.output_dir / "data").glob("*.npy"))
    free = shutil.disk_usage(task.output_dir).free + present
    logging.info(
        "%s: %d utterances, %d copies of each, %d frames of %d numbers: %.2f GB of %.1f GB free",
        task.step.name,
        len(extent.refs),
        task.copies,
        frames,
        frontend.states_size,
        size / 1e9,
        free / 1e9,
    )
    if size > free:
        raise LidError(
            f"the features need {size / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free",
            where=task.output_dir,
            mend="choose fewer frontend_conf.layers or copies, or another disk",
        )


def run_job(task: Extraction, job: int, device: torch.device) -> None:
    """Extract the parts of job number ``job``, from 1, that are not current."""
    planned = load_plan(task.work_dir)
    planned.inputs.check(task.step.inputs)
    extent = list_parts(task, planned.inputs)
    with parts_to_do(task.work_dir, extent.parts, job, planned.num_jobs, task.step.name) as todo:
        if todo:
            do_parts(f"extract {task.output_dir.name}", todo, Extractor(task, extent, device).do)


def merge(task: Extraction) -> None:
    """Write the extracted set from the finished parts.

    Raises:
        LidError: a part is missing, or too many utterances failed.
    """
    planned = load_plan(task.work_dir)
    with task.step.work("merging", lock=task.output_dir, known=planned.inputs) as work:
        if work is not None:
            work.finish(_merge(task, list_parts(task, planned.inputs).parts))


def _merge(task: Extraction, parts: Sequence[ExtractedPart]) -> list[Path]:
    check_finished(parts, task.output_dir)
    rows, samples, failed = (
        dict(pair for part in parts for pair in part.read(name)) for name in ("rows", "samples", "failed")
    )
    write_table(task.output_dir / "failed", failed.items())
    check_failures(
        failed.items(),
        len(failed),
        len(rows) + len(failed),
        task.max_failed,
        task.output_dir / "failed",
        lambda: [part for part in parts if part.read("failed")],
    )
    tables = _write_set(task, rows, samples, failed)
    matrices = [part.matrix for part in parts]
    for path in set((task.output_dir / "data").glob("*.npy")) - set(matrices):
        path.unlink()
    logging.info("%s: %d utterances, %d failed", task.step.name, len(rows), len(failed))
    return [*tables, *matrices]


def list_parts(task: Extraction, snapshot: Snapshot) -> Extent:
    """Sort the utterances and their copies by length and cut them into parts.

    ``snapshot`` is that of the inputs. Those that the merge only copies do not make the parts stale.

    Raises:
        LidError: the set is not valid, or consists of features.
    """
    utterances = load_unlabelled(task.data_dir)
    refs, lengths_u = utterances.refs, utterances.lengths_u
    rows_u = np.argsort(-lengths_u, kind="stable")
    seconds_u = np.cumsum(lengths_u[rows_u]) / task.config.preprocessor_conf.sample_rate
    cuts = np.flatnonzero(np.diff(seconds_u // PART_S)) + 1
    inputs = snapshot.digest_of(COMPUTED_FROM)
    spans = [(copy, rows_p) for copy in range(1 + task.copies) for rows_p in np.split(rows_u, cuts)]
    parts = [
        ExtractedPart(number, rows_p, task.work_dir, {**task.options(copy), "inputs": inputs}, copy)
        for number, (copy, rows_p) in enumerate(spans, start=1)
    ]
    return Extent(refs, lengths_u, parts)


def frozen_frontend(config: TrainConfig) -> FrozenFrontend:
    """Build a configuration's front end, in evaluation mode.

    Raises:
        LidError: the front end is not frozen.
    """
    frontend = build_frontend(config.model_description(), EVERY)
    if not frontend.frozen:
        raise LidError(
            f"features can only be extracted from a frozen front end, and '{config.frontend}' is not frozen",
            where="frontend_conf",
            mend="use a pretrained front end with frozen: true, or feats_type raw",
        )
    return cast(FrozenFrontend, frontend.eval())


def crop(wave: Wave, conf: PreprocessorConf, rng: np.random.Generator) -> Wave:
    """Return a random crop of random length; a shorter waveform is not cropped."""
    shortest_s, longest_s = conf.crop_range_s()
    if np.isinf(longest_s):
        return wave
    size = round(rng.uniform(shortest_s, longest_s) * conf.sample_rate)
    start = int(rng.integers(max(len(wave) - size, 0) + 1))
    return wave[start : start + size]


def _augments(conf: PreprocessorConf) -> bool:
    chances = (conf.voice_apply_prob, conf.equalizer_apply_prob, conf.telephone_apply_prob)
    return any((*chances, conf.volume_apply_prob, conf.noise_prob(), conf.rir_prob()))


class Extractor:
    """Computes parts, one after another, with one copy of the front end."""

    def __init__(self, task: Extraction, extent: Extent, device: torch.device) -> None:
        self.task, self.extent, self.device = task, extent, device
        self.frontend = frozen_frontend(task.config).to(device)
        self.precision = choose_precision(task.config, device)
        self.sounds = load_sounds(task.config.preprocessor_conf) if task.copies else Sounds()
        self.crops = one_frame_per_utterance(task.config.model_description())
        self.rate = task.config.preprocessor_conf.sample_rate

    def do(self, part: ExtractedPart, progress: Progress) -> list[Path]:
        """Write a part's features and its tables, each whole; return the files."""
        blocks: list[Features] = [np.zeros((0, self.frontend.states_size), np.float16)]
        noted: dict[str, list[tuple[str, str]]] = {"rows": [], "samples": [], "failed": []}
        end = 0
        computed_p = self.extent.lengths_u[part.rows_p] + self.frontend.added_samples
        for batch in sorted_batches(computed_p, int(BATCH_S * self.rate)):
            rows = part.rows_p[batch.rows_b].tolist()
            read, unread = read_waves(self.extent.refs, rows, self.rate, self.extent.lengths_u)
            noted["failed"] += [(self._key(row, part.copy), reason) for row, reason in unread]
            waves = [(self._key(row, part.copy), self._changed(wave, row, part.copy)) for row, wave in read]
            for (key, wave), feats in zip(waves, self._features([wave for _, wave in waves]), strict=True):
                if not np.isfinite(feats).all():
                    noted["failed"].append((key, "features beyond half precision, or not finite"))
                    continue
                blocks.append(feats)
                noted["rows"].append((key, reference(part.matrix, end, end + len(feats))))
                noted["samples"].append((key, str(len(wave))))
                end += len(feats)
            progress.advance(len(rows), sum(len(wave) for _, wave in waves) / self.rate)
        with write_whole(part.matrix, "wb") as stream:
            np.save(stream, np.concatenate(blocks))
        for name, path in part.notes.items():
            write_table(path, noted[name])
        return [part.matrix, *part.notes.values()]

    def _key(self, row: int, copy: int) -> str:
        return copy_key(self.extent.refs.key(row), copy)

    def _changed(self, wave: Wave, row: int, copy: int) -> Wave:
        """Return the waveform of a copy: cropped, if features cannot be cropped later, and augmented."""
        if not copy:
            return wave
        conf = self.task.config.preprocessor_conf
        rng = np.random.default_rng((self.task.config.seed, copy, row))
        return augment_wave(crop(wave, conf, rng) if self.crops else wave, conf, self.sounds, rng)

    @torch.inference_mode()
    def _features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        if not waves:
            return
        wave_bt, lengths_b = pad(waves)
        with self.precision.autocast(self.device):
            states_btd, frames_b = self.frontend.frozen_states(wave_bt.to(self.device), lengths_b)
        for state_td, frames in zip(states_btd.half().cpu().numpy(), frames_b.tolist(), strict=True):
            yield state_td[:frames]


def _write_set(
    task: Extraction, rows: dict[str, str], samples: dict[str, str], failed: dict[str, str]
) -> list[Path]:
    """Write the tables of the set; return the files."""
    out, data = task.output_dir, read_data_dir(task.data_dir)
    keys = [(copy_key(key, copy), key) for copy in range(1 + task.copies) for key, _ in data.utt2lang]
    kept = [(key, original) for key, original in keys if key in rows]
    tables: dict[str, list[tuple[str, str]]] = {
        name: [(key, str(table[original])) for key, original in kept]
        for name, table in {"wav.scp": data.wav_scp, "utt2lang": data.utt2lang, **data.carried}.items()
    }
    tables |= {TABLE: [(key, rows[key]) for key, _ in kept]}
    tables |= {"utt2num_samples": [(key, samples[key]) for key, _ in kept], "failed": list(failed.items())}
    for name, pairs in tables.items():
        write_table(out / name, pairs)
    for name in {*PER_UTTERANCE_TABLES} - {*tables}:
        (out / name).unlink(missing_ok=True)
    shutil.copyfile(task.work_dir / DESCRIPTION, out / DESCRIPTION)
    copied = [name for name in (DIGEST, SAMPLING_RATE) if (data.path / name).exists()]
    for name in {DIGEST, SAMPLING_RATE} - {*copied}:
        (out / name).unlink(missing_ok=True)
    for name in copied:
        shutil.copyfile(data.path / name, out / name)
    return [*(out / name for name in (*tables, *copied)), out / DESCRIPTION]
