"""Features of a frozen front end, computed once for many trainings: plan, one job's parts, merge.

DIR/feats.scp       utterance and its rows of a matrix file
DIR/data/N.npy      (rows, D) float16
DIR/features.json   the front end that made them
DIR/wav.scp, utt2lang, utt2num_samples, …  as in the set of audio

Copies with other voices, rooms and noise can be added: what augmentation does to audio in training it
does here once. Of a front end that makes one vector of an utterance, which cannot be cropped any more,
they are of crops. A copy's utterance id begins with ``augN-``.
"""

from __future__ import annotations

import functools
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.references import AudioError
from lid_toolkit.augment.distortions import Wave
from lid_toolkit.data.features import DESCRIPTION, TABLE, Features, reference
from lid_toolkit.data.preprocess import PreprocessorConf, Sounds, augment_wave, load_sounds
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.data.utterances import load_unlabelled
from lid_toolkit.datadir.datadir import DIGEST, SAMPLING_RATE, read_data_dir
from lid_toolkit.datadir.tables.table import Table, read_table, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_frontend, one_frame_per_utterance
from lid_toolkit.models.external import EVERY
from lid_toolkit.models.protocols import FrozenFrontend
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.precision import choose_precision

PART_S = 600.0
BATCH_S = 60.0
WORK = ".work"
FILES_VERSION = 2
"""Raised when the merge writes other files, so that sets of an earlier version are merged again."""
CROPS = {"fix_duration", "target_duration"}
"""What of the preprocessor acts in training, not here, where features can be cropped."""


@dataclass(frozen=True)
class Part:
    """Utterances whose features share a file.

    Attributes:
        number: of the part, from 1.
        copy: 0 for the utterances themselves, else which augmented copy.
        rows_p: row numbers of the utterances in the set's tables, longest first.
    """

    number: int
    copy: int
    rows_p: npt.NDArray[np.int64]


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
        options = {**self._options(self.copies), "copies": self.copies, "max_failed": self.max_failed}
        record = self.output_dir / ".done" / "extract.json"
        return Step(f"extract {self.output_dir}", record, self._inputs(), options, FILES_VERSION)

    def part_step(self, part: Part) -> Step:
        """Return the step that knows whether a part is current; further copies do not make it stale."""
        record = self.output_dir / WORK / f"{part.number:04d}.json"
        return Step(
            f"part {part.number}", record, {}, {**self._options(part.copy), "inputs": self._inputs_digest}
        )

    def matrix(self, part: Part) -> Path:
        """Return the file of a part's features."""
        return self.output_dir / "data" / f"{part.number:04d}.npy"

    def notes(self, part: Part) -> dict[str, Path]:
        """Return the tables of a part: its ``rows``, their ``samples``, and what ``failed``."""
        work = self.output_dir / WORK
        return {name: work / f"{part.number:04d}.{name}" for name in ("rows", "samples", "failed")}

    def _inputs(self) -> dict[str, Path]:
        names = ("wav.scp", DIGEST, "utt2num_samples", "utt2lang")
        return {name: self.data_dir / name for name in names}

    @functools.cached_property
    def _inputs_digest(self) -> str:
        """Of the inputs before the work."""
        return self.step().inputs_digest()

    def _options(self, copy: int) -> dict[str, Any]:
        description = self.config.model_description()
        acts_later = set() if one_frame_per_utterance(description) else CROPS
        augmentation = self.config.preprocessor_conf.model_dump(mode="json", exclude=acts_later)
        return {
            "frontend": description["frontend"],
            "frontend_conf": description["frontend_conf"],
            "precision": [self.config.use_amp, self.config.amp_dtype],
            "augmentation": [augmentation, self.config.seed] if copy else None,
        }


@dataclass(frozen=True)
class Work:
    """The utterances of a set, and of its copies, in parts of about ``PART_S`` seconds.

    Attributes:
        refs: utterances and their audio.
        lengths_u: samples of each.
        parts: those of the utterances themselves come first, then copy by copy.
    """

    refs: Table
    lengths_u: npt.NDArray[np.int64]
    parts: list[Part]


def plan(task: Extraction, jobs: int, dry_run: bool) -> int:
    """Say how much there is to extract; return how many jobs to run, 0 if the set is current.

    Raises:
        LidError: no frozen front end, copies without augmentation, a faulty set, or a disk too small.
    """
    step = task.step()
    if not step.due(dry_run):
        return 0
    if task.copies and not _augments(task.config.preprocessor_conf):
        raise LidError(
            "copies that nothing would change", where="preprocessor_conf", mend="set some …_apply_prob"
        )
    work = list_work(task)
    frontend = frozen_frontend(task.config)
    one_vector = one_frame_per_utterance(task.config.model_description())
    frames_u = np.ones_like(work.lengths_u) if one_vector else work.lengths_u // frontend.hop_length + 1
    frames = (1 + task.copies) * int(frames_u.sum())
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
    own = work.parts[job - 1 :: jobs]
    todo = [part for part in own if task.part_step(part).reason()]
    logging.info("job %d: %d of %d parts to do", job, len(todo), len(own))
    if not todo:
        return
    extractor = Extractor(task, work, device)
    with Progress(f"extract {task.output_dir.name}", sum(len(part.rows_p) for part in todo)) as progress:
        for part in todo:
            extractor.do(part, progress)


def merge(task: Extraction) -> None:
    """Write the set of what the jobs left.

    Raises:
        LidError: a part is missing, or too many utterances failed.
    """
    with task.step().work("merging", lock=None) as work:
        if work is not None:
            work.finish(_merge(task))


def _merge(task: Extraction) -> list[Path]:
    work = list_work(task)
    notes: dict[str, dict[str, str]] = {"rows": {}, "samples": {}, "failed": {}}
    for part in work.parts:
        reason = task.part_step(part).reason()
        if reason:
            raise LidError(f"part {part.number}: {reason}", where=task.output_dir, mend="run the jobs again")
        for name, path in task.notes(part).items():
            notes[name].update(read_table(path, allow_empty=True))
    failed = list(notes["failed"].items())
    if len(failed) > allowed_failures(task.max_failed, len(work.refs) * (1 + task.copies)):
        raise LidError(
            f"{len(failed)} utterances failed, such as {failed[0][0]}: {failed[0][1]}",
            where=task.output_dir,
            mend="mend these recordings, or raise --max_failed",
        )
    tables = _write_set(task, **notes)
    matrices = [task.matrix(part) for part in work.parts]
    for path in set((task.output_dir / "data").glob("*.npy")) - set(matrices):
        path.unlink()
    logging.info("%s: %d utterances, %d failed", task.step().name, len(notes["rows"]), len(failed))
    return [*tables, *matrices]


def list_work(task: Extraction) -> Work:
    """Sort the utterances and their copies by length, and cut them into parts.

    Raises:
        LidError: a faulty set.
    """
    utterances = load_unlabelled(task.data_dir)
    if utterances.hop_length is not None:
        raise LidError("holds features", where=task.data_dir, mend="name a set of audio")
    refs, lengths_u = utterances.refs, utterances.lengths_u
    rows_u = np.argsort(-lengths_u, kind="stable")
    seconds_u = np.cumsum(lengths_u[rows_u]) / task.config.preprocessor_conf.sample_rate
    cuts = np.flatnonzero(np.diff(seconds_u // PART_S)) + 1
    shares = [(copy, rows_p) for copy in range(1 + task.copies) for rows_p in np.split(rows_u, cuts)]
    return Work(refs, lengths_u, [Part(number, *share) for number, share in enumerate(shares, 1)])


def frozen_frontend(config: TrainConfig) -> FrozenFrontend:
    """Build a configuration's front end, in evaluation mode.

    Raises:
        LidError: it is not frozen, or copies of it would not differ.
    """
    frontend = build_frontend(config.model_description(), EVERY)
    if not frontend.frozen:
        raise LidError(
            f"features are extracted from a frozen front end, not from '{config.frontend}' in training",
            where="frontend_conf",
            mend="take a pretrained front end with frozen: true, or feats_type raw",
        )
    return cast(FrozenFrontend, frontend.eval())


def crop(wave: Wave, conf: PreprocessorConf, rng: np.random.Generator) -> Wave:
    """Return a random part of a waveform, of a drawn length; what is shorter stays whole."""
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

    def __init__(self, task: Extraction, work: Work, device: torch.device) -> None:
        self.task, self.work, self.device = task, work, device
        self.frontend = frozen_frontend(task.config).to(device)
        self.precision = choose_precision(task.config, device)
        self.sounds = load_sounds(task.config.preprocessor_conf) if task.copies else Sounds()
        self.crops = one_frame_per_utterance(task.config.model_description())
        self.rate = task.config.preprocessor_conf.sample_rate

    def do(self, part: Part, progress: Progress) -> None:
        """Write a part's features and its tables, each whole."""
        blocks: list[Features] = [np.zeros((0, self.frontend.states_size), np.float16)]
        noted: dict[str, list[tuple[str, str]]] = {"rows": [], "samples": [], "failed": []}
        end = 0
        computed_p = self.work.lengths_u[part.rows_p] + self.frontend.added_samples
        for batch in sorted_batches(computed_p, int(BATCH_S * self.rate)):
            rows = part.rows_p[batch.rows_b].tolist()
            waves, unread = self._waves(rows, part.copy)
            noted["failed"] += unread
            for (key, wave), feats in zip(waves, self._features([wave for _, wave in waves]), strict=True):
                if not np.isfinite(feats).all():
                    noted["failed"].append((key, "features beyond half precision, or not finite"))
                    continue
                blocks.append(feats)
                noted["rows"].append((key, reference(self.task.matrix(part), end, end + len(feats))))
                noted["samples"].append((key, str(len(wave))))
                end += len(feats)
            progress.advance(len(rows), sum(len(wave) for _, wave in waves) / self.rate)
        matrix, notes = self.task.matrix(part), self.task.notes(part)
        with write_whole(matrix, "wb") as stream:
            np.save(stream, np.concatenate(blocks))
        for name, path in notes.items():
            write_table(path, noted[name])
        with self.task.part_step(part).work("extracting", lock=None) as work:
            if work is not None:
                work.finish([matrix, *notes.values()])

    def _waves(self, rows: list[int], copy: int) -> tuple[list[tuple[str, Wave]], list[tuple[str, str]]]:
        """Return the waveforms that can be read, and (utterance, reason) of the others."""
        conf = self.task.config.preprocessor_conf
        waves: list[tuple[str, Wave]] = []
        unread: list[tuple[str, str]] = []
        for row in rows:
            ref, key = self.work.refs.value(row), copy_key(self.work.refs.key(row), copy)
            try:
                wave, rate = read_audio(ref, 0, int(self.work.lengths_u[row]))
            except AudioError as error:
                unread.append((key, str(error)))
                continue
            if rate != self.rate:
                raise LidError(f"{rate} Hz, not {self.rate} Hz", where=ref, mend="format it with stage 3")
            if copy:
                rng = np.random.default_rng((self.task.config.seed, copy, row))
                if self.crops:
                    wave = crop(wave, conf, rng)
                wave = augment_wave(wave, conf, self.sounds, rng)
            waves.append((key, wave))
        return waves, unread

    @torch.inference_mode()
    def _features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        if not waves:
            return
        wave_bt = pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
        lengths_b = torch.tensor([len(wave) for wave in waves])
        with self.precision.autocast(self.device):
            states_btd, frames_b = self.frontend.frozen_states(wave_bt.to(self.device), lengths_b)
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
    tables: dict[str, list[tuple[str, str]]] = {
        name: [(key, str(table[original])) for key, original in kept]
        for name, table in {"wav.scp": data.wav_scp, "utt2lang": data.utt2lang, **data.carried}.items()
    }
    tables |= {TABLE: [(key, rows[key]) for key, _ in kept]}
    tables |= {"utt2num_samples": [(key, samples[key]) for key, _ in kept], "failed": list(failed.items())}
    for name, pairs in tables.items():
        write_table(out / name, pairs)
    shutil.copyfile(out / WORK / DESCRIPTION, out / DESCRIPTION)
    copied = [name for name in (DIGEST, SAMPLING_RATE) if (data.path / name).exists()]
    for name in {DIGEST, SAMPLING_RATE} - {*copied}:
        (out / name).unlink(missing_ok=True)
    for name in copied:
        shutil.copyfile(data.path / name, out / name)
    return [*(out / name for name in (*tables, *copied)), out / DESCRIPTION]
