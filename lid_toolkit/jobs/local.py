"""The local backend: jobs as processes of this machine, a bounded number at the same time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

from lid_toolkit.errors import LidError
from lid_toolkit.jobs.array import JobArray
from lid_toolkit.jobs.log import Outcome, Relay, write_foot, write_head
from lid_toolkit.jobs.machine import count_cores, list_gpus, session_memory

POLL_S = 0.05
MEMORY_POLL_S = 1.0
GRACE_S = 10.0
CANNOT_RUN = 127
PR_SET_PDEATHSIG = 1  # prctl(2)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_local(array: JobArray) -> list[Outcome]:
    """Run the jobs; return the outcomes of those that were started, by number.

    After a failure no further job is started; those under way go on to their end. When this process
    gets SIGINT, SIGTERM or SIGHUP all jobs end, and on Linux also when it is killed.

    Raises:
        LidError: a job wants more GPUs than there are, or a log cannot be written.
        SystemExit: a signal ended the jobs; 128 plus its number.
    """
    pool = _Pool(array)
    relay = Relay(array, sys.stderr)
    with _signals_to(pool.stop):
        try:
            while pool.busy():
                pool.start_waiting()
                time.sleep(POLL_S)
                pool.enforce_limits()
                pool.reap()
                relay.tell([job.number for job in pool.running], len(pool.outcomes))
        finally:
            pool.end_all()
    if pool.stopped_by:
        sys.stderr.write(f"stopped all jobs ({signal.Signals(pool.stopped_by).name})\n")
        raise SystemExit(128 + pool.stopped_by)
    return sorted(pool.outcomes, key=lambda outcome: outcome.number)


@dataclass
class _Running:
    """A job under way; its process leads a session of its own, so that its children end with it."""

    number: int
    process: subprocess.Popen[bytes]
    gpus: list[str]
    started: float = field(default_factory=time.monotonic)
    verdict: str = ""

    def send(self, signal_number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal_number)


class _Pool:
    """The jobs of one array: those that wait, run and have ended. Used from one thread."""

    def __init__(self, array: JobArray) -> None:
        self.array = array
        self.gpus, self.slots = _share_machine(array)
        self.waiting = list(range(array.first, array.last + 1))
        self.running: list[_Running] = []
        self.outcomes: list[Outcome] = []
        self.stopped_by = 0
        self._next_memory_check = 0.0

    def busy(self) -> bool:
        """Return whether jobs run or are still to be started."""
        return not self.stopped_by and bool(self.running or (self.waiting and not self._failed()))

    def stop(self, signal_number: int) -> None:
        """Remember that a signal asks for the end."""
        self.stopped_by = signal_number

    def start_waiting(self) -> None:
        """Start as many waiting jobs as there is room for."""
        while self.waiting and len(self.running) < self.slots and not (self._failed() or self.stopped_by):
            number = self.waiting.pop(0)
            gpus = [self.gpus.pop(0) for _ in range(self.array.resources.gpus)]
            try:
                self.running.append(_Running(number, _spawn(self.array, number, gpus), gpus))
            except _CannotRunError as error:
                self.gpus += gpus
                self._note(Outcome(number, CANNOT_RUN, str(error), seconds=0.0, peak_bytes=0))

    def enforce_limits(self) -> None:
        """End the jobs that take more time or hold more memory than they may."""
        limits, now = self.array.resources, time.monotonic()
        for job in self.running:
            if limits.time_s is not None and now - job.started > limits.time_s:
                self._end(job, f"ran past --time ({limits.time_s:.0f} s)")
        if limits.memory_bytes is not None and now >= self._next_memory_check:
            self._next_memory_check = now + MEMORY_POLL_S
            held = session_memory()
            for job in self.running:
                if held.get(job.process.pid, 0) > limits.memory_bytes:
                    self._end(job, f"held {held[job.process.pid] / 2**30:.2f} GiB, more than --mem")

    def reap(self) -> None:
        """Note the jobs that have ended."""
        self.running = [job for job in self.running if not self._collect(job, os.WNOHANG)]

    def end_all(self) -> None:
        """End all jobs and their children: by SIGTERM, and after a while by SIGKILL."""
        for job in self.running:
            self._end(job, "stopped")
        deadline = time.monotonic() + GRACE_S
        while self.running and time.monotonic() < deadline:
            time.sleep(POLL_S)
            self.reap()
        for job in self.running:
            job.send(signal.SIGKILL)
            self._collect(job, 0)
        self.running = []

    def _end(self, job: _Running, verdict: str) -> None:
        if job.verdict:
            return
        job.verdict = verdict
        job.send(signal.SIGTERM)

    def _collect(self, job: _Running, options: int) -> bool:
        pid, status, usage = os.wait4(job.process.pid, options)
        if not pid:
            return False
        job.send(signal.SIGKILL)  # what the job left running
        job.process.returncode = os.waitstatus_to_exitcode(status)
        self.gpus += job.gpus
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seconds = time.monotonic() - job.started
        self._note(Outcome(job.number, job.process.returncode, job.verdict, seconds, peak_bytes))
        return True

    def _note(self, outcome: Outcome) -> None:
        write_foot(self.array, outcome)
        self.outcomes.append(outcome)

    def _failed(self) -> bool:
        return any(outcome.failed for outcome in self.outcomes)


class _CannotRunError(Exception):
    """The command does not exist or may not be run."""


def _share_machine(array: JobArray) -> tuple[list[str], int]:
    """Return the GPUs to hand out, and how many jobs may run at the same time."""
    wanted = array.resources
    gpus = list_gpus() if wanted.gpus else []
    if wanted.gpus > len(gpus):
        raise LidError(f"each job wants {wanted.gpus} GPUs, this machine has {len(gpus)}", where="jobs --gpu")
    slots = wanted.max_running or max(1, count_cores() // wanted.threads)
    return gpus, min(slots, len(gpus) // wanted.gpus) if wanted.gpus else slots


def _spawn(array: JobArray, number: int, gpus: list[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(array.resources.threads))
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    command = array.command_of(number)
    with write_head(array, number) as log:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise _CannotRunError(f"cannot run '{command[0]}': {error.strerror}") from error


def _die_with_parent() -> None:
    """Have the kernel end this process when the one that started it is killed (Linux; elsewhere nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _signals_to(handle: Callable[[int], None]) -> Iterator[None]:
    """Hand SIGINT, SIGTERM and SIGHUP to ``handle`` while inside."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        handle(number)

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
