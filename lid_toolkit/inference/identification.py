"""Identification of a whole data directory: its settings, parts and plan. See ``job`` and ``merge``.

Nothing here imports torch, so that it is quick to see that there is nothing to do.

A part has 64 utterances of similar length, or more if the set has more than 64 * 1024 utterances. Batches are
within parts, and parts do not depend on the number of jobs, so the written files do not either.

    OUTPUT/.parts/plan.json            digests of the inputs
    OUTPUT/.parts/languages            the model's languages, written by the jobs
    OUTPUT/.parts/0001.json            the record of a finished part
    OUTPUT/.parts/0001.scores.npy      log posteriors of its utterances that did not fail, in their order
    OUTPUT/.parts/0001.embeddings.npy  embeddings, if wanted
    OUTPUT/.parts/0001.failed          utterances that failed, and the reasons

Shapes: u utterances, p utterances of a part, b batch, t samples, c languages, d embedding.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.features import TABLE
from lid_toolkit.data.utterances import Utterances, crops_of, load_unlabelled
from lid_toolkit.datadir.datadir import DIGEST, SAMPLING_RATE, read_sampling_rate
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.model_files import model_files
from lid_toolkit.parts import Plan, RowsPart, part_bounds
from lid_toolkit.steps import Step

Floats = npt.NDArray[np.float32]

UTTERANCES_PER_PART = 64
"""A power of two, so that whole batches of the usual sizes fit."""


@dataclass(frozen=True)
class Identification:
    """The settings of an identification.

    Attributes:
        model: model file, experiment, packed model, or folder or file of another toolkit's model.
        data_dir: formatted or extracted set with wav.scp and utt2num_samples, and utt2lang if known.
        output_dir: directory of the results, ``exp/lid_TAG/inference/MODEL/SET``.
        extract_embd: also write embeddings, of utterances and of languages.
        max_failed: largest fraction of utterances that may fail; the number is rounded up.
        max_duration: longer utterances, in seconds, are not identified but failed; 0: no limit.
        dtype: number format, see ``lid_toolkit.training.precision``.
        crop_seconds: identify a crop of this duration of each utterance that is long enough, for the
            duration curve; None for whole utterances.
    """

    model: Path
    data_dir: Path
    output_dir: Path
    extract_embd: bool = True
    max_failed: float = 0.01
    max_duration: float = 600.0
    dtype: str = "float32"
    crop_seconds: float | None = None

    def load(self, rate: int) -> Utterances:
        """Return what is identified; ``rate`` is in samples per second."""
        whole = load_unlabelled(self.data_dir)
        return whole if self.crop_seconds is None else crops_of(whole, self.crop_seconds, rate)

    @property
    def crop(self) -> dict[str, object]:
        """The option that a record has if crops are identified."""
        return {} if self.crop_seconds is None else {"crop_seconds": self.crop_seconds}

    @property
    def step(self) -> Step:
        """The identification as a whole, finished by the merge."""
        names = ("wav.scp", TABLE, DIGEST, "utt2num_samples", "utt2lang")
        return Step(
            f"identify {self.output_dir}",
            self.output_dir / ".done" / "identify.json",
            inputs={**model_files(self.model), **{name: self.data_dir / name for name in names}},
            options={
                "extract_embd": self.extract_embd,
                "max_failed": self.max_failed,
                "max_duration": self.max_duration,
                "dtype": self.dtype,
                **self.crop,
            },
        )

    @property
    def work_dir(self) -> Path:
        """Directory of the plan and the parts; the merge removes it."""
        return self.output_dir / ".parts"

    @property
    def languages(self) -> Path:
        """The model's labels in index order, one on each line, which the jobs write for the merge."""
        return self.work_dir / "languages"

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
                    "dtype": self.dtype,
                    "inputs": inputs,
                    "utterances": [first, stop],
                    "max_duration": None if fits_u[rows_u[first:stop]].all() else self.max_duration,
                    **self.crop,
                },
            )
            for number, (first, stop) in enumerate(itertools.pairwise(bounds), start=1)
        ]


@dataclass(frozen=True)
class StoredRows:
    """A float32 matrix in a file, of which rows are read. Mapped pages would count as memory in use.

    Attributes:
        path: the file.
        offset: where its first row begins.
        width: number of values in a row.
    """

    path: Path
    offset: int
    width: int

    def read(self, first: int, stop: int) -> Floats:
        """Return rows ``first`` to ``stop``: (stop - first, width)."""
        place = self.offset + 4 * first * self.width
        values = np.fromfile(self.path, "<f4", (stop - first) * self.width, offset=place)
        return values.reshape(stop - first, self.width)


class IdentifiedPart(RowsPart):
    """An identified part: its scores and embeddings, and the utterances that failed."""

    def write(self, scores_pc: Floats, embeddings_pd: Floats, failed: dict[str, str]) -> None:
        """Write scores and embeddings of the utterances that did not fail, and the reasons of failures."""
        for kind, matrix in (("scores.npy", scores_pc), ("embeddings.npy", embeddings_pd)):
            with write_whole(self.file(kind), "wb") as stream:
                np.save(stream, matrix)
        write_table(self.file("failed"), failed.items())

    @property
    def files(self) -> list[Path]:
        """The files that :meth:`write` writes."""
        return [self.file(kind) for kind in ("scores.npy", "embeddings.npy", "failed")]

    def failed(self) -> list[tuple[str, str]]:
        """Return (utterance, reason) of those that failed."""
        return list(read_table(self.file("failed"), allow_empty=True))

    def stored(self, name: str) -> StoredRows:
        """Return where ``scores`` or ``embeddings`` are."""
        path = self.file(f"{name}.npy")
        mapped = np.load(path, mmap_mode="r")
        return StoredRows(path, mapped.offset, mapped.shape[1])


def plan(task: Identification, num_jobs: int, dry_run: bool = False) -> int:
    """Plan the identification and return the number of jobs to run, at most ``num_jobs``.

    It is 0 if the identification is current, or if no utterance is as long as a crop.

    Raises:
        LidError: the model does not exist, or the set is not valid.
    """
    if not task.step.due(dry_run):
        return 0
    if not task.model.exists():
        raise LidError("does not exist", where=task.model, redo="training", mend="give another file")
    with task.step.work("planning", lock=task.output_dir) as work:
        if work is None:
            return 0
        rate = _rate(task)
        lengths_u = task.load(rate).lengths_u
        if not len(lengths_u):
            logging.warning("%s: no utterance lasts %g s", task.data_dir, task.crop_seconds)
            return 0
        num_jobs = min(num_jobs, len(task.parts(lengths_u, work.snapshot.digest, rate)))
        Plan(work.snapshot, num_jobs, {"rate": rate}).save(task.work_dir)
    return num_jobs


def _rate(task: Identification) -> int:
    """Return the sampling rate of the set, or of the model if the set does not record it."""
    if (task.data_dir / SAMPLING_RATE).exists():
        return read_sampling_rate(task.data_dir)
    from lid_toolkit.inference.locate import open_model

    return open_model(task.model).rate
