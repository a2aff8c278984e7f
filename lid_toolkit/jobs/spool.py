"""The spool: a directory of small files through which a runner and its jobs exchange messages.

Files work for every backend: all machines share the file system, but may not reach each other otherwise. Each
file appears as a whole, so that a reader never sees half of it. The directory is beside the logs,
``LOGDIR/.jobs/NAME.XXXXXXXX/``:

=============  ==========================================================================
``array.json``  the array, for the jobs to read
``N.started``   job N has started: the host and the id of the process that guards it
``N.done``      job N has ended: its outcome
``N.out``       output of the scheduler or ssh about job N, outside its log
``stop``        no further job may start
``queue_id``    the scheduler and the array's id in its queue, for cancelling it
=============  ==========================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.jobs.array import Call, JobArray, Resources
from lid_toolkit.jobs.log import JobOutcome, last_line
from lid_toolkit.jobs.machine import runs
from lid_toolkit.jobs.schedulers import SCHEDULERS

PARENT = ".jobs"
ABANDONED_S = 60.0


@dataclass
class Spool:
    """A spool directory, and the outcomes read from it so far.

    Attributes:
        path: the directory.
        outcomes: by the job's number.
    """

    path: Path
    outcomes: dict[int, JobOutcome] = field(default_factory=dict)

    def save_array(self, array: JobArray) -> None:
        """Write the array for the jobs."""
        with write_whole(self.path / "array.json") as stream:
            json.dump(asdict(array), stream)

    def load_array(self) -> JobArray:
        """Return the array."""
        saved = json.loads((self.path / "array.json").read_text(encoding="utf-8"))
        call = saved["call"]
        call |= {"passed": tuple(call["passed"]), "command": tuple(call["command"])}
        return JobArray(Call(**call), Resources(**saved["resources"]), saved["name"])

    def note_start(self, number: int) -> None:
        """Write that this process runs a job."""
        with write_whole(self.path / f"{number}.started") as stream:
            stream.write(f"{socket.gethostname()} {os.getpid()}")

    def has_started(self, number: int) -> bool:
        """Return whether a job has started; it may have ended since."""
        return (self.path / f"{number}.started").exists()

    def note_end(self, outcome: JobOutcome) -> None:
        """Write a job's outcome."""
        with write_whole(self.path / f"{outcome.number}.done") as stream:
            json.dump(asdict(outcome), stream)

    def note_stop(self) -> None:
        """Stop further jobs from starting."""
        (self.path / "stop").touch()

    @property
    def stopped(self) -> bool:
        """Whether no further job may start."""
        return (self.path / "stop").exists()

    def output_of(self, number: int) -> Path:
        """Return the file for the output of the scheduler or ssh about a job."""
        return self.path / f"{number}.out"

    def ask_anew(self) -> None:
        """Refresh a directory listing that an NFS client has cached, by creating and removing a file in it.

        Without this, outcomes that other machines write may be invisible here for up to a minute.
        """
        with contextlib.suppress(OSError):
            (self.path / ".look").touch()
            (self.path / ".look").unlink()

    def running(self) -> list[int]:
        """Read new outcomes; return the jobs that have started but not ended."""
        started = []
        for path in self.path.iterdir():
            if not path.stem.isdigit():
                continue
            number = int(path.stem)
            if path.suffix == ".done" and number not in self.outcomes:
                self.outcomes[number] = self._read_outcome(path)
            elif path.suffix == ".started":
                started.append(number)
        return sorted(set(started) - set(self.outcomes))

    def _read_outcome(self, path: Path) -> JobOutcome:
        outcome = JobOutcome(**json.loads(path.read_text(encoding="utf-8")))
        said = last_line(self.output_of(outcome.number))
        if not outcome.verdict or not said:
            return outcome
        return JobOutcome(**{**asdict(outcome), "verdict": f"{outcome.verdict}; {said}"})


@contextlib.contextmanager
def new_spool(array: JobArray) -> Iterator[Spool]:
    """Create and lock a spool for an array, and remove it at the end.

    Spools beside it whose runners were killed are removed first, and their arrays cancelled.

    Args:
        array: the jobs. The directories of their logs are created, and old logs removed.

    Raises:
        LidError: the directory of the logs is not writable.
    """
    parent = array.log_of(array.first).parent / PARENT
    path = parent / f"{array.name}.{secrets.token_hex(4)}"
    try:
        for log in {array.log_of(number) for number in array.numbers}:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
        path.mkdir(parents=True)
    except OSError as error:
        raise LidError(f"cannot be written: {error.strerror}", where=array.log_of(array.first)) from error
    clear_abandoned(parent, path)
    with locked(path, f"running {array.name}"):
        spool = Spool(path)
        spool.save_array(array)
        try:
            yield spool
        finally:
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                parent.rmdir()


def clear_abandoned(parent: Path, own: Path) -> None:
    """End the arrays in ``parent`` whose runners have ended, and remove their spools.

    A runner holds a lock on its spool for as long as it lives. A spool that can be locked is abandoned.
    """
    for path in parent.iterdir():
        if path == own or not path.is_dir():
            continue
        with contextlib.suppress(LidError, OSError), locked(path, "clearing"):
            queue_id = path / "queue_id"
            if queue_id.exists():
                name, array_id = queue_id.read_text(encoding="utf-8").split()
                SCHEDULERS[name].cancel(array_id)
            _wait_for_end(Spool(path))
            shutil.rmtree(path)


def _wait_for_end(spool: Spool) -> None:
    """Wait for jobs to end after their runner. A job whose guarding process is gone counts as ended."""
    spool.note_stop()
    deadline = time.monotonic() + ABANDONED_S
    announced = False
    while any(_watched(spool.path / f"{number}.started") for number in spool.running()):
        if time.monotonic() > deadline:
            return
        if not announced:
            sys.stderr.write("waiting for the jobs of a killed run to end\n")
            announced = True
        time.sleep(0.2)


def _watched(started: Path) -> bool:
    host, pid = started.read_text(encoding="utf-8").split()
    return host != socket.gethostname() or runs(int(pid))
