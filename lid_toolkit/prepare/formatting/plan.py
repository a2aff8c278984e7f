"""Plan the formatting of a set: what is stale, and which utterances make up each part.

The work is cut into parts that do not depend on the number of jobs. A part is done once, whole, and
has a record of its own: a run that was killed, or is repeated with another number of jobs, does
what is missing. Utterances of one recording lie together, so that it is opened and decoded once.

    OUTPUT/.format/plan.json          the options and what the plan was made from
    OUTPUT/.format/utterances.jsonl   a part a line: its utterances
    OUTPUT/.format/results/0001.json  what became of them
    OUTPUT/.format/done/0001.json     the record of the finished part
    OUTPUT/data/0001.flac.ark         its audio (data/0001/ for wav and flac), if any had to be written
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from lid_toolkit import parts
from lid_toolkit.audio.reader import Reading
from lid_toolkit.datadir.datadir import DataDir, read_data_dir, require_two_dirs, table_paths
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.prepare.formatting.listing import PlannedUtterance, UtteranceList, list_utterances
from lid_toolkit.steps import Snapshot, Step

UTTERANCES_PER_PART = 50
FEATS_TYPES = ("raw", "raw_copy")
FILES_VERSION = 2
"""Raised when the merge writes other files, so that sets of an earlier version are merged again."""


@dataclass(frozen=True)
class FormatOptions:
    """How a set is formatted.

    Attributes:
        audio_format: ``wav``, ``flac``, ``wav.ark`` or ``flac.ark``.
        feats_type: ``raw``: audio of one kind; ``raw_copy``: refer to the recordings as they are.
        fs: rate of the result in Hz.
        min_wav_duration: shorter utterances are dropped; seconds.
        max_wav_duration: longer ones too; 0 drops none.
        max_failed: largest fraction of the utterances that may fail.
        allow_pipes: whether commands in ``wav.scp`` are run.
        channel: which channel to take, from 0; None averages all.
        multi_columns: a value of ``wav.scp`` is one or more paths, separated by spaces.
    """

    audio_format: str = "flac.ark"
    feats_type: str = "raw"
    fs: int = 16000
    min_wav_duration: float = 0.0
    max_wav_duration: float = 0.0
    max_failed: float = 0.01
    allow_pipes: bool = False
    channel: int | None = None
    multi_columns: bool = False

    @property
    def reading(self) -> Reading:
        """How recordings are read; Kaldi matrices are taken to have the rate of the result."""
        return Reading(self.allow_pipes, self.channel, self.multi_columns, self.fs)


@dataclass(frozen=True)
class Plan:
    """What jobs and the merge are told.

    Attributes:
        data_dir: the source.
        output_dir: the result.
        options: what the user asked for.
        offsets: where each part's line starts in ``utterances.jsonl``, and where the last one ends.
        num_jobs: how many jobs share them.
        inputs: the source's tables as they were read.
        recordings: for each part, the digest of its recordings' sizes and times.
    """

    data_dir: Path
    output_dir: Path
    options: FormatOptions
    offsets: list[int]
    num_jobs: int
    inputs: Snapshot
    recordings: list[str]

    @property
    def step(self) -> Step:
        """The stage as a whole, finished by the merge."""
        return _whole_step(self.data_dir, self.output_dir, self.options, self.recordings)

    @property
    def num_parts(self) -> int:
        """How many parts there are."""
        return len(self.offsets) - 1

    @property
    def parts(self) -> list[PlannedPart]:
        """All parts."""
        return [PlannedPart(self, index) for index in range(self.num_parts)]

    def utterances(self, part: int) -> list[PlannedUtterance]:
        """Return the utterances of a part."""
        return [PlannedUtterance(*row) for row in json.loads(self._line(part))]

    def size(self, part: int) -> int:
        """Return how many utterances a part has."""
        return len(json.loads(self._line(part)))

    def part_step(self, part: int) -> Step:
        """The making of one part, finished by a job."""
        options = asdict(self.options)
        del options["max_failed"]  # judged by the merge
        return Step(
            f"part {part + 1}",
            self._file("done", part),
            {},
            {
                **options,
                "utterances": hashlib.blake2b(self._line(part), digest_size=16).hexdigest(),
                "recordings": self.recordings[part],
            },
        )

    def audio(self, part: int) -> Path:
        """Return the archive or directory that a part's audio goes to."""
        _, _, archive = self.options.audio_format.partition(".")
        suffix = f".{self.options.audio_format}" if archive else ""
        return self.output_dir / "data" / f"{part + 1:04d}{suffix}"

    def result(self, part: int) -> Path:
        """Return the file that tells what became of a part's utterances."""
        return self._file("results", part)

    def _line(self, part: int) -> bytes:
        with open(work_dir(self.output_dir) / "utterances.jsonl", "rb") as stream:
            stream.seek(self.offsets[part])
            return stream.read(self.offsets[part + 1] - self.offsets[part])

    def _file(self, kind: str, part: int) -> Path:
        return work_dir(self.output_dir) / kind / f"{part + 1:04d}.json"


@dataclass(frozen=True)
class PlannedPart:
    """A part of a plan, as :mod:`lid_toolkit.parts` knows parts.

    Attributes:
        plan: the whole.
        index: number of the part, from 0.
    """

    plan: Plan
    index: int

    @property
    def number(self) -> int:
        """Number of the part, from 1."""
        return self.index + 1

    @property
    def size(self) -> int:
        """How many utterances it has."""
        return self.plan.size(self.index)

    @property
    def step(self) -> Step:
        """The making of the part, finished by a job."""
        return self.plan.part_step(self.index)


def work_dir(output_dir: Path) -> Path:
    """Return where the stage keeps its plan and parts."""
    return output_dir / ".format"


def make_plan(
    data_dir: Path, output_dir: Path, options: FormatOptions, num_jobs: int, dry_run: bool = False
) -> int:
    """Plan the formatting of ``data_dir`` and return how many jobs to run: 0 if there is nothing to do.

    A stale result loses its ``wav.scp`` now, so that nothing reads it half renewed.

    Raises:
        LidError: a faulty data directory, one that is the output directory, or one that
            ``raw_copy`` cannot refer to.
    """
    require_two_dirs(data_dir, output_dir)
    data = read_data_dir(data_dir)
    _check_copy(data, options)
    listing = list_utterances(data)
    bounds = parts.part_bounds(len(listing), UTTERANCES_PER_PART).tolist()
    num_parts = len(bounds) - 1
    recordings = [
        listing.digest_of_recordings(first, stop, options.multi_columns)
        for first, stop in itertools.pairwise(bounds)
    ]
    step = _whole_step(data_dir, output_dir, options, recordings)
    if dry_run:
        step.due(dry_run=True)
        return 0
    num_jobs = min(num_jobs, num_parts)
    with step.work("planning", lock=output_dir) as work:
        if work is None:
            return 0
        (output_dir / "wav.scp").unlink(missing_ok=True)
        offsets = _write_parts(work_dir(output_dir) / "utterances.jsonl", listing, bounds)
        facts = dict(data_dir=str(data_dir), options=asdict(options), offsets=offsets, recordings=recordings)
        parts.Plan(work.snapshot, num_jobs, facts).save(work_dir(output_dir))
    logging.info("%s: %d utterances in %d parts for %d jobs", step.name, len(listing), num_parts, num_jobs)
    return num_jobs


def load_plan(output_dir: Path) -> Plan:
    """Read the plan that :func:`make_plan` left; raises LidError if there is none."""
    kept = parts.load_plan(work_dir(output_dir))
    data_dir, options = Path(kept.facts["data_dir"]), FormatOptions(**kept.facts["options"])
    offsets, recordings = kept.facts["offsets"], kept.facts["recordings"]
    return Plan(data_dir, output_dir, options, offsets, kept.num_jobs, kept.inputs, recordings)


def _check_copy(data: DataDir, options: FormatOptions) -> None:
    """Raise LidError if ``raw_copy`` would have to change the audio it is to refer to."""
    if options.feats_type != "raw_copy":
        return
    wanted = {
        "segments": data.segments is not None,
        "utt2speed": data.utt2speed is not None,
        "channel": options.channel is not None,
        "multi_columns": options.multi_columns,
    }
    for name, present in wanted.items():
        if present:
            raise LidError(
                f"feats_type raw_copy refers to whole recordings as they are and does not support {name}",
                where=data.path,
                mend="choose feats_type raw",
            )


def _whole_step(data_dir: Path, output_dir: Path, options: FormatOptions, recordings: list[str]) -> Step:
    digest = hashlib.blake2b("".join(recordings).encode(), digest_size=16).hexdigest()
    return Step(
        f"format {output_dir.name}",
        output_dir / ".done" / "format.json",
        table_paths(data_dir),
        {**asdict(options), "recordings": digest},
        FILES_VERSION,
    )


def _write_parts(path: Path, listing: UtteranceList, bounds: list[int]) -> list[int]:
    """Write the utterances, a part a line, and return where the lines start and the last one ends."""
    offsets = [0]
    with write_whole(path, "wb") as stream:
        for first, stop in itertools.pairwise(bounds):
            stream.write(json.dumps(listing.utterances(first, stop)).encode() + b"\n")
            offsets.append(stream.tell())
    return offsets
