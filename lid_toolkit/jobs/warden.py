"""Watch over one job on the machine that runs it: its signals, limits, children and outcome."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

from lid_toolkit.jobs.array import Resources
from lid_toolkit.jobs.log import Outcome
from lid_toolkit.jobs.machine import descendants, memory_of
from lid_toolkit.processes import adopt_orphans, die_with_parent

CANNOT_RUN = 127
GRACE_S = 30.0
LOOK_S = 1.0
PIPE_BYTES = 65536
# The last is Grid Engine's word before it kills (`qsub -notify`).
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
# What Slurm is asked to send some time before the end (`--signal=B:USR1@60`).
FORWARDED = (signal.SIGUSR1,)


@dataclass
class _Job:
    """A job under way.

    Attributes:
        process: of its command.
        number: which job.
        resources: the limits to enforce.
        verdict: why it is being ended; ``""`` while it is not.
        kill_at: when to end it by force.
        status: as wait(2) gives it, once the command has ended.
        peak_kb: largest resident set so far of a process that has ended.
    """

    process: subprocess.Popen[bytes]
    number: int
    resources: Resources
    verdict: str = ""
    kill_at: float = float("inf")
    status: int | None = None
    peak_kb: int = 0
    started: float = field(default_factory=time.monotonic)

    def end(self, verdict: str) -> None:
        """Ask the command to end; its first verdict stands."""
        if not self.verdict:
            self.verdict, self.kill_at = verdict, time.monotonic() + GRACE_S
            self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send the command a signal, unless it has ended."""
        if self.status is None:
            os.kill(self.process.pid, number)

    def reap(self) -> None:
        """Wait for all processes that have ended: the command, and what it left behind."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    return
                self.peak_kb = max(self.peak_kb, usage.ru_maxrss)
                if pid == self.process.pid:
                    self.status = status
                    self.process.returncode = os.waitstatus_to_exitcode(status)

    def outcome(self) -> Outcome:
        """Return how the job ended."""
        unit = 1 if sys.platform == "darwin" else 1024
        seconds = time.monotonic() - self.started
        return Outcome(self.number, self.process.returncode, self.verdict, seconds, self.peak_kb * unit)


def guard(
    command: Sequence[str],
    number: int,
    resources: Resources,
    environment: Mapping[str, str],
    log: IO[bytes],
    lifeline: int | None,
) -> Outcome:
    """Run a command until it and all its descendants have ended, and return the outcome.

    On a signal of ENDING, over a limit, or when ``lifeline`` closes, the command gets SIGTERM,
    and after 30 s SIGKILL. What it leaves running is killed. On Linux descendants cannot hide
    (``PR_SET_CHILD_SUBREAPER``), and the command dies with this process (``PR_SET_PDEATHSIG``).

    Args:
        command: its words.
        number: which job.
        resources: limits of memory and time to enforce.
        environment: the command's.
        log: where its output goes.
        lifeline: file descriptor of a pipe that whoever wants the job holds open.
    """
    adopt_orphans()
    with _signals() as (woken, signals):
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            what = f"cannot run '{command[0]}': {error.strerror}"
            return Outcome(number, CANNOT_RUN, what, seconds=0.0, peak_bytes=0)
        job = _Job(process, number, resources)
        lifelines = [] if lifeline is None else [lifeline]
        while job.status is None:
            ready = select.select([woken, *lifelines], [], [], LOOK_S)[0]
            if woken in ready:
                os.read(woken, PIPE_BYTES)
                _obey(job, signals)
            if lifelines and lifelines[0] in ready and not os.read(lifelines.pop(), PIPE_BYTES):
                job.end("stopped: its runner has ended")
            _enforce_limits(job)
            job.reap()
        _obey(job, signals)
        _kill_descendants(job)
    return job.outcome()


def _obey(job: _Job, signals: list[int]) -> None:
    while signals:
        number = signals.pop(0)
        if number in FORWARDED:
            job.send(number)
        elif number in ENDING:
            job.end(f"stopped by {signal.Signals(number).name}")


def _enforce_limits(job: _Job) -> None:
    """End the job when it takes more time or holds more memory than it may, by force after a while."""
    limits, now = job.resources, time.monotonic()
    if limits.time_s is not None and now - job.started > limits.time_s:
        job.end(f"ran past --time ({limits.time_s:.0f} s)")
    if limits.memory_bytes is not None:
        held = memory_of(descendants())
        if held > limits.memory_bytes:
            job.end(f"held {held / 2**30:.2f} GiB, more than --mem")
    if now > job.kill_at:
        job.send(signal.SIGKILL)


def _kill_descendants(job: _Job) -> None:
    """Kill what the command left running, until nothing is left."""
    deadline = time.monotonic() + GRACE_S
    while (left := descendants()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        job.reap()


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, list[int]]]:
    """Yield a file descriptor at which a byte arrives with each signal, and the list of signals so far."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signals: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, on_signal) for number in (*ENDING, *FORWARDED, signal.SIGCHLD)
    }
    before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield woken, signals
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(woken)
        os.close(waker)
