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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.jobs.array import Call, JobArray, Resources
from lid_toolkit.jobs.log import JobOutcome, keep_old, last_line
from lid_toolkit.jobs.machine import runs
from lid_toolkit.jobs.schedulers import SCHEDULERS, Scheduler

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

    @property
    def queued(self) -> tuple[Scheduler, str] | None:
        """The scheduler that has the array in its queue, and the array's id there; None if there is none."""
        try:
            name, array_id = (self.path / "queue_id").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return None
        return SCHEDULERS[name], array_id

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
        # A signal to all processes of a job may end its command before the guard gets it: then no verdict.
        if not said or not (outcome.verdict or outcome.exit_code < 0):
            return outcome
        return replace(outcome, verdict=f"{outcome.reason}; {said}")


@contextlib.contextmanager
def new_spool(array: JobArray) -> Iterator[Spool]:
    """Create and lock a spool for an array, and remove it at the end.

    Spools beside it whose runners were killed are removed first, and their arrays cancelled.

    Args:
        array: the jobs. The directories of their logs are created. Logs of earlier runs get a number.

    Raises:
        LidError: the directory of the logs is not writable, or another runner runs jobs with these logs.
    """
    parent = array.log_of(array.first).parent / PARENT
    path = parent / f"{array.name}.{secrets.token_hex(4)}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(parent, array)
        for log in {array.log_of(number) for number in array.numbers}:
            log.parent.mkdir(parents=True, exist_ok=True)
            keep_old(log)
        path.mkdir()
    except OSError as error:
        raise LidError(f"cannot be written: {error.strerror}", where=array.log_of(array.first)) from error
    with locked(path, f"running {array.name}"):
        spool = Spool(path)
        spool.save_array(array)
        try:
            yield spool
        finally:
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                parent.rmdir()


def clear_abandoned(parent: Path, array: JobArray) -> None:
    """End the arrays in ``parent`` whose runners have ended, and remove their spools.

    A runner holds a lock on its spool for as long as it lives. A spool that can be locked is abandoned.

    Raises:
        LidError: a runner that lives runs jobs with the logs of ``array``.
    """
    for path in [path for path in parent.iterdir() if path.is_dir()]:
        spool = Spool(path)
        abandoned = False
        with contextlib.suppress(LidError, OSError), locked(path, "clearing"):
            abandoned = True
            if spool.queued:
                scheduler, array_id = spool.queued
                sys.stderr.write(f"{scheduler.title}: cancelling job {array_id} of a killed run\n")
                scheduler.cancel(array_id)
            _wait_for_end(spool)
            shutil.rmtree(path)
        if not abandoned:
            _refuse_same_logs(spool, array)


def _refuse_same_logs(running: Spool, array: JobArray) -> None:
    """Raise LidError if a spool whose runner lives has the logs of ``array``."""
    try:
        other = running.load_array()
        holder = (running.path / ".lock").read_text(encoding="utf-8")
    except FileNotFoundError:  # it has just begun, or has ended meanwhile
        return
    if other.call.log != array.call.log:
        return
    what, mend = f"in use: {holder}", "wait for it, or end that process"
    if running.queued:
        scheduler, array_id = running.queued
        cancel = " ".join((*scheduler.cancel_command, array_id))
        what, mend = f"{what}, {scheduler.title} job {array_id}", f"wait for it, or cancel it: {cancel}"
    raise LidError(what, where=array.call.log, mend=mend)


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
