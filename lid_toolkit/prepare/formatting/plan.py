"""Plan the formatting of a set: whether it is stale, and the utterances of each part.

The parts do not depend on the number of jobs, and each has its own record. If a run was killed or is repeated
with another number of jobs, only missing parts are done. Utterances of the same recording are in the same
part if possible, so that the recording is opened and decoded once.

    OUTPUT/.format/plan.json          the options and the digests of the inputs
    OUTPUT/.format/utterances.jsonl   the utterances of each part, one part per line
    OUTPUT/.format/results/0001.json  the result of each utterance
    OUTPUT/.format/done/0001.json     the record of the finished part
    OUTPUT/data/0001.flac.ark         its audio (data/0001/ for wav and flac), if any had to be written
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lid_toolkit import parts
from lid_toolkit.audio.reader import Reading
from lid_toolkit.audio.writer import file_name, is_too_long
from lid_toolkit.datadir.datadir import DataDir, read_data_dir, require_two_dirs, table_paths
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.prepare.formatting.listing import PlannedUtterance, UtteranceList, list_utterances
from lid_toolkit.steps import Snapshot, Step

UTTERANCES_PER_PART = 50
FEATS_TYPES = ("raw", "raw_copy")
FILES_VERSION = 2
"""Raise it when the merge writes other files, so that sets of an earlier version are merged again."""


@dataclass(frozen=True)
class FormatOptions:
    """How a set is formatted.

    Attributes:
        audio_format: ``wav``, ``flac``, ``wav.ark`` or ``flac.ark``.
        feats_type: ``raw``: convert all audio to one format; ``raw_copy``: refer to the original recordings.
        fs: rate of the result in Hz.
        min_wav_duration: shorter utterances are dropped, in seconds.
        max_wav_duration: longer utterances are dropped, in seconds; 0: no limit.
        max_failed: largest fraction of the utterances that may fail.
        allow_pipes: whether commands in ``wav.scp`` are run.
        channel: number of the channel to use, from 0; None averages all channels.
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
        """How recordings are read; Kaldi matrices, which store no rate, must have the rate of the result."""
        return Reading(self.allow_pipes, self.channel, self.multi_columns, self.fs)


@dataclass(frozen=True)
class Plan:
    """The plan, which the jobs and the merge read.

    Attributes:
        data_dir: the source.
        output_dir: the result.
        options: the options of the user.
        offsets: where each part's line starts in ``utterances.jsonl``, and where the last one ends.
        num_jobs: number of jobs that share the parts.
        inputs: the source's tables when they were read.
        recordings: for each part, the digest of its recordings' sizes and modification times.
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
        """The step of the whole set, finished by the merge."""
        return _whole_step(self.data_dir, self.output_dir, self.options, self.recordings)

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return len(self.offsets) - 1

    @property
    def parts(self) -> list[PlannedPart]:
        """All parts."""
        return [PlannedPart(self, index) for index in range(self.num_parts)]

    def utterances(self, part: int) -> list[PlannedUtterance]:
        """Return the utterances of a part."""
        return [PlannedUtterance(*row) for row in json.loads(self._line(part))]

    def size(self, part: int) -> int:
        """Return the number of utterances of a part."""
        return len(json.loads(self._line(part)))

    def part_step(self, part: int) -> Step:
        """The step of one part, finished by a job."""
        options = asdict(self.options)
        del options["max_failed"]  # only the merge uses it
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
        """Return the archive or directory for a part's audio."""
        _, _, archive = self.options.audio_format.partition(".")
        suffix = f".{self.options.audio_format}" if archive else ""
        return self.output_dir / "data" / f"{part + 1:04d}{suffix}"

    def result(self, part: int) -> Path:
        """Return the file with the result of each utterance of a part."""
        return self._file("results", part)

    def _line(self, part: int) -> bytes:
        with open(work_dir(self.output_dir) / "utterances.jsonl", "rb") as stream:
            stream.seek(self.offsets[part])
            return stream.read(self.offsets[part + 1] - self.offsets[part])

    def _file(self, kind: str, part: int) -> Path:
        return work_dir(self.output_dir) / kind / f"{part + 1:04d}.json"


@dataclass(frozen=True)
class PlannedPart:
    """A part of a plan, for :mod:`lid_toolkit.parts`.

    Attributes:
        plan: the plan.
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
        """Number of utterances."""
        return self.plan.size(self.index)

    @property
    def step(self) -> Step:
        """The step of the part, finished by a job."""
        return self.plan.part_step(self.index)


def work_dir(output_dir: Path) -> Path:
    """Return the directory of the plan and the parts."""
    return output_dir / ".format"


def make_plan(
    data_dir: Path, output_dir: Path, options: FormatOptions, num_jobs: int, dry_run: bool = False
) -> int:
    """Plan the formatting of ``data_dir`` and return the number of jobs to run, 0 if there is nothing to do.

    A result is current if the sizes and times of all its files are as recorded. Only the parts with other
    files are formatted again. The ``wav.scp`` of a stale result is removed, so that nobody reads a set that
    is only partly renewed.

    Raises:
        LidError: the data directory is not valid, is the output directory, or needs changes that
            ``raw_copy`` does not make.
    """
    require_two_dirs(data_dir, output_dir)
    data = read_data_dir(data_dir)
    _check_copy(data, options)
    _check_ids(data, options)
    listing = list_utterances(data)
    bounds = parts.part_bounds(len(listing), UTTERANCES_PER_PART).tolist()
    num_parts = len(bounds) - 1
    recordings = [
        listing.digest_of_recordings(first, stop, options.multi_columns)
        for first, stop in itertools.pairwise(bounds)
    ]
    step = replace(_whole_step(data_dir, output_dir, options, recordings), check=lambda: _damage(output_dir))
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
    """Read the plan that :func:`make_plan` wrote; raises LidError if it does not exist."""
    kept = parts.load_plan(work_dir(output_dir))
    data_dir, options = Path(kept.facts["data_dir"]), FormatOptions(**kept.facts["options"])
    offsets, recordings = kept.facts["offsets"], kept.facts["recordings"]
    return Plan(data_dir, output_dir, options, offsets, kept.num_jobs, kept.inputs, recordings)


def _damage(output_dir: Path) -> str:
    """Return what is wrong with the files of the parts, or ``""``."""
    if not (work_dir(output_dir) / parts.PLAN).exists():
        return "the records of its parts are missing"
    for part in load_plan(output_dir).parts:
        if reason := part.step.reason():
            return f"part {part.number}: {reason}"
    return ""


def _check_copy(data: DataDir, options: FormatOptions) -> None:
    """Raise LidError if the data directory needs changes to the audio, which ``raw_copy`` does not make."""
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
                f"feats_type raw_copy refers to whole original recordings and does not support {name}",
                where=data.path,
                mend="choose feats_type raw",
            )


def _check_ids(data: DataDir, options: FormatOptions) -> None:
    """Raise LidError if an id is too long for the name of the file that it would be written to."""
    kind, _, archive = options.audio_format.partition(".")
    if archive or options.feats_type == "raw_copy":
        return
    for key, _ in data.utt2lang:
        if is_too_long(key):
            file_name(key, kind)


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
    """Write the utterances, one part per line; return where the lines start and where the last one ends."""
    offsets = [0]
    with write_whole(path, "wb") as stream:
        for first, stop in itertools.pairwise(bounds):
            # Without a channel of its own, a row stays as it was before there were any: its part is current.
            rows = [row if row.channel >= 0 else row[:-1] for row in listing.utterances(first, stop)]
            stream.write(json.dumps(rows).encode() + b"\n")
            offsets.append(stream.tell())
    return offsets
