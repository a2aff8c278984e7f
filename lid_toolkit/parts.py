"""Work that is split into parts, done by jobs, and merged.

Formatting, feature extraction, feature statistics and identification all work in this way:

* The plan reads the inputs, saves their digests and returns the number of jobs to run.
* Job *j* of *n* does parts j, j + n, j + 2n, … Each finished part has its own record, so if a job was killed
  or is repeated with another number of jobs, only missing parts are done.
* The merge checks that all parts are current and that not too many utterances failed, and writes the result.

The parts do not depend on the number of jobs, so the result does not either.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import locked, write_whole
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Snapshot, Step

PLAN = "plan.json"
MOST_PARTS = 1024
SHOWN_FAILURES = 3


class Part(Protocol):
    """The interface of a part; each kind of work has its own class."""

    @property
    def number(self) -> int:
        """The number of the part, from 1."""

    @property
    def size(self) -> int:
        """The number of utterances, for the progress bar."""

    @property
    def step(self) -> Step:
        """The step of this part. Its options must contain everything that determines the outputs."""


AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(frozen=True)
class RowsPart:
    """Some utterances of a set, and the files with their results.

    Attributes:
        number: number of the part, from 1.
        rows_p: row numbers of the utterances in the tables of the set.
        directory: directory of the files.
        options: all options that determine the content of the files.
    """

    number: int
    rows_p: npt.NDArray[np.int64]
    directory: Path
    options: dict[str, object]

    @property
    def size(self) -> int:
        """The number of utterances."""
        return len(self.rows_p)

    @property
    def step(self) -> Step:
        """The step of this part."""
        return Step(f"part {self.number}", self.file("json"), {}, self.options)

    def file(self, kind: str) -> Path:
        """Return one of the part's files, such as ``0001.json``."""
        return self.directory / f"{self.number:04d}.{kind}"


@dataclass(frozen=True)
class Plan:
    """The plan, which the jobs and the merge read.

    Attributes:
        inputs: the inputs of the whole work, so that jobs and the merge need not read them again.
        num_jobs: number of jobs that share the parts.
        facts: JSON-serialisable values that are expensive to compute again.
    """

    inputs: Snapshot
    num_jobs: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def save(self, directory: Path) -> None:
        """Write the plan for :func:`load_plan`."""
        with write_whole(directory / PLAN) as stream:
            json.dump(asdict(self), stream, ensure_ascii=False)


def load_plan(directory: Path) -> Plan:
    """Read the plan of a directory; raises LidError if it is missing or broken."""
    path = directory / PLAN
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Plan(Snapshot(**kept["inputs"]), kept["num_jobs"], kept["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        raise LidError("missing or broken", where=path, mend="run the sub-command plan first") from None


def part_bounds(count: int, per_part: int, multiple_of: int = 1) -> npt.NDArray[np.int64]:
    """Return where the parts of ``count`` utterances begin, and where the last one ends.

    There are at most ``MOST_PARTS`` parts, so a part may have more than ``per_part`` utterances. The sizes of
    the parts differ by at most one utterance. With ``multiple_of``, the size of every part but the last is a
    multiple of it instead: ``part_bounds(150, 64, 32)`` returns 0, 64, 128, 150.
    """
    parts = min(MOST_PARTS, math.ceil(count / per_part))
    if multiple_of == 1:
        return np.linspace(0, count, parts + 1).astype(np.int64)
    size = multiple_of * math.ceil(max(count / MOST_PARTS, per_part) / multiple_of)
    return np.append(np.arange(0, count, size, dtype=np.int64), count)


@contextlib.contextmanager
def parts_to_do(
    directory: Path, parts: Sequence[AnyPart], job: int, num_jobs: int, doing: str
) -> Iterator[list[AnyPart]]:
    """Lock job number ``job``, counted from 1, and yield its parts that are not current.

    Raises:
        LidError: the job does not exist, or another process is running it.
    """
    if not 1 <= job <= num_jobs:
        raise LidError(f"there are only {num_jobs} jobs", where=f"job {job}")
    own = parts[job - 1 :: num_jobs]
    with locked(directory / f"job.{job}", f"job {job}: {doing}"):
        todo = [part for part in own if part.step.reason()]
        logging.info("job %d: %d of %d parts to do", job, len(todo), len(own))
        yield todo


def do_parts(title: str, todo: Sequence[AnyPart], do: Callable[[AnyPart, Progress], Iterable[Path]]) -> None:
    """Do parts one after another; ``do`` writes a part's files, advances the progress and returns them."""
    with Progress(title, sum(part.size for part in todo)) as progress:
        for part in todo:
            with part.step.work(title, lock=None, quiet=True) as work:
                if work is not None:
                    work.finish(do(part, progress))


def check_finished(parts: Iterable[Part], where: Path) -> None:
    """Raise LidError if a part is not current."""
    for part in parts:
        if reason := part.step.reason():
            raise LidError(f"part {part.number}: {reason}", where=where, mend="run the jobs again")


def check_failures(
    failed: Iterable[tuple[str, str]],
    count: int,
    total: int,
    max_failed: float,
    where: Path,
    parts_with_failures: Callable[[], Iterable[Part]],
) -> None:
    """Raise LidError if too many utterances failed, and make the next run try them again.

    The cause may be temporary, such as a disk that is not mounted, so the records of these parts are removed.

    Args:
        failed: (utterance, reason) of each failure.
        count: number of failures.
        total: number of utterances.
        max_failed: largest fraction of the utterances that may fail; rounded up to whole utterances.
        where: the table that lists the failures, or the set.
        parts_with_failures: the parts that the next run must do again.

    Raises:
        LidError: more utterances failed than ``max_failed`` allows.
    """
    if count <= allowed_failures(max_failed, total):
        return
    for part in parts_with_failures():
        part.step.record.unlink(missing_ok=True)
    shown = "; ".join(f"{key}: {reason}" for key, reason in itertools.islice(failed, SHOWN_FAILURES))
    raise LidError(
        f"{count} of {total} utterances failed, more than max_failed ({max_failed:g}) allows: {shown}",
        where=where,
        mend="repair or remove these recordings, or raise max_failed",
    )
