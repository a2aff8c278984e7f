"""Plan the formatting of a set: what is stale, and which utterances make up each part.

The work is cut into parts that do not depend on the number of jobs. A part is done once, whole, and
has a record of its own: a run that was killed, or is repeated with another number of jobs, does
what is missing. Utterances of one recording lie together, so that it is opened and decoded once.

    OUTPUT/.format/plan.json          the options and what the plan was made from
    OUTPUT/.format/utterances.jsonl   a part a line: its utterances
    OUTPUT/.format/results/0001.json  what became of them
    OUTPUT/.format/done/0001.json     the record of the finished part
    OUTPUT/data/0001.flac.ark         its audio (data/0001/ for wav and flac)
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lid_toolkit.audio.reader import file_of, is_pipe
from lid_toolkit.datadir.datadir import DataDir, parse_segments, read_data_dir, table_paths
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.steps import Step

UTTERANCES_PER_PART = 50
MOST_PARTS = 1024


@dataclass(frozen=True)
class FormatOptions:
    """What the user asks of stage 3.

    Attributes:
        audio_format: ``wav``, ``flac``, ``wav.ark`` or ``flac.ark``.
        feats_type: ``raw``.
        fs: rate of the result in Hz.
        min_wav_duration: shorter utterances are dropped; seconds.
        max_wav_duration: longer ones too; 0 drops none.
        max_failed: share of the utterances that may be broken.
        allow_pipes: whether commands in ``wav.scp`` are run.
    """

    audio_format: str = "flac.ark"
    feats_type: str = "raw"
    fs: int = 16000
    min_wav_duration: float = 0.0
    max_wav_duration: float = 0.0
    max_failed: float = 0.01
    allow_pipes: bool = False


class Utterance(NamedTuple):
    """One utterance to format: its place in seconds (an end of -1 is the recording's), and its speed."""

    key: str
    ref: str
    start: float
    end: float
    speed: float


@dataclass(frozen=True)
class Plan:
    """What jobs and the merge are told.

    Attributes:
        data_dir: the source.
        output_dir: the result.
        options: what the user asked for.
        offsets: where each part's line starts in ``utterances.jsonl``, and where the last one ends.
        num_jobs: how many jobs share them.
        inputs: digests of the source's tables.
        recordings: digest of the recordings' sizes and times.
    """

    data_dir: Path
    output_dir: Path
    options: FormatOptions
    offsets: list[int]
    num_jobs: int
    inputs: dict[str, str | None]
    recordings: str

    @property
    def step(self) -> Step:
        """The stage as a whole, finished by the merge."""
        return _whole_step(self.data_dir, self.output_dir, self.options, self.recordings)

    @property
    def num_parts(self) -> int:
        """How many parts there are."""
        return len(self.offsets) - 1

    def utterances(self, part: int) -> list[Utterance]:
        """Return the utterances of a part."""
        with open(work_dir(self.output_dir) / "utterances.jsonl", "rb") as stream:
            stream.seek(self.offsets[part])
            line = stream.read(self.offsets[part + 1] - self.offsets[part])
        return [Utterance(*row) for row in json.loads(line)]

    def part_step(self, part: int, utterances: list[Utterance]) -> Step:
        """The making of one part, finished by a job."""
        options = self.options
        return Step(
            f"part {part + 1}",
            self._file("done", part),
            {},
            {
                "utterances": hashlib.blake2b(json.dumps(utterances).encode(), digest_size=16).hexdigest(),
                "audio_format": options.audio_format,
                "fs": options.fs,
                "min_wav_duration": options.min_wav_duration,
                "max_wav_duration": options.max_wav_duration,
                "allow_pipes": options.allow_pipes,
                "recordings": digest_of_recordings(utterance.ref for utterance in utterances),
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

    def _file(self, kind: str, part: int) -> Path:
        return work_dir(self.output_dir) / kind / f"{part + 1:04d}.json"


def work_dir(output_dir: Path) -> Path:
    """Return where the stage keeps its plan and parts."""
    return output_dir / ".format"


def make_plan(
    data_dir: Path, output_dir: Path, options: FormatOptions, num_jobs: int, dry_run: bool = False
) -> int:
    """Plan the formatting of ``data_dir`` and return how many jobs to run: 0 if there is nothing to do.

    A stale result loses its ``wav.scp`` now, so that nothing reads it half renewed.

    Raises:
        LidError: a faulty data directory, or one that is the output directory.
    """
    if data_dir.resolve() == output_dir.resolve():
        raise LidError("source and target are one directory", where=output_dir)
    data = read_data_dir(data_dir)
    utterances = list_utterances(data)
    recordings = digest_of_recordings(utterance.ref for utterance in utterances)
    step = _whole_step(data_dir, output_dir, options, recordings)
    if not step.due(dry_run):
        return 0
    num_parts = min(MOST_PARTS, math.ceil(len(utterances) / UTTERANCES_PER_PART))
    num_jobs = min(num_jobs, num_parts)
    with locked(output_dir, "planning"):
        (output_dir / "wav.scp").unlink(missing_ok=True)
        offsets = _write_parts(work_dir(output_dir) / "utterances.jsonl", utterances, num_parts)
        _save(Plan(data_dir, output_dir, options, offsets, num_jobs, step.digests, recordings))
    logging.info("%s: %d utterances in %d parts for %d jobs", step.name, len(utterances), num_parts, num_jobs)
    return num_jobs


def load_plan(output_dir: Path) -> Plan:
    """Read the plan that :func:`make_plan` left; raises LidError if there is none."""
    path = work_dir(output_dir) / "plan.json"
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise LidError("no plan", where=path, mend="run the sub-command plan first") from None
    kept["options"] = FormatOptions(**kept["options"])
    kept["data_dir"] = Path(kept["data_dir"])
    return Plan(output_dir=output_dir, **kept)


def list_utterances(data: DataDir) -> list[Utterance]:
    """Return all utterances, ordered by recording, then by their place in it."""
    count = len(data.utt2lang)
    refs = list(data.wav_scp.values())
    starts, ends = [0.0] * count, [-1.0] * count
    if data.segments is not None:
        segments = parse_segments(data.segments, data.wav_scp)
        refs = [refs[row] for row in segments.recordings.tolist()]
        starts, ends = segments.starts.tolist(), segments.ends.tolist()
    speeds = [1.0] * count if data.utt2speed is None else list(map(_speed, data.utt2speed.values()))
    columns = zip(data.utt2lang.keys(), refs, starts, ends, speeds, strict=True)
    return sorted((Utterance(*row) for row in columns), key=lambda utterance: utterance[1:])


def digest_of_recordings(refs: Iterable[str]) -> str:
    """Return a digest of the sizes and times of recordings, missing ones included, in this order."""
    state = hashlib.blake2b(digest_size=16)
    last = ""
    for ref in refs:
        path = file_of(ref)
        if path == last or is_pipe(ref):
            continue
        last = path
        try:
            status = os.stat(path)  # noqa: PTH116  # a Path for each of millions is slow
            state.update(b"%d %d\n" % (status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):
            state.update(b"missing\n")
    return state.hexdigest()


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise LidError(f"'{text}' is not a speed", where="utt2speed", mend="make the directory again")
    return speed


def _whole_step(data_dir: Path, output_dir: Path, options: FormatOptions, recordings: str) -> Step:
    return Step(
        f"format {output_dir.name}",
        output_dir / ".done" / "format.json",
        table_paths(data_dir),
        {**asdict(options), "recordings": recordings},
    )


def _write_parts(path: Path, utterances: list[Utterance], num_parts: int) -> list[int]:
    """Write the utterances, a part a line, and return where the lines start and the last one ends."""
    bounds = np.linspace(0, len(utterances), num_parts + 1).astype(int).tolist()
    offsets = [0]
    with write_whole(path, "wb") as stream:
        for start, stop in itertools.pairwise(bounds):
            stream.write(json.dumps(utterances[start:stop]).encode() + b"\n")
            offsets.append(stream.tell())
    return offsets


def _save(plan: Plan) -> None:
    kept = {
        "data_dir": str(plan.data_dir),
        "options": asdict(plan.options),
        "offsets": plan.offsets,
        "num_jobs": plan.num_jobs,
        "inputs": plan.inputs,
        "recordings": plan.recordings,
    }
    with write_whole(work_dir(plan.output_dir) / "plan.json") as stream:
        json.dump(kept, stream)
