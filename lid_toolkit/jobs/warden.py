"""Guard one job on the machine that runs it: forward signals, enforce limits, clean up its children.

Killing a command is not enough, because it may have started other processes: data-loading workers, a shell
pipeline, a server in the background. If they stay, they hold the GPU and write into the next run's files.
So the guard makes itself the parent of all orphans (on Linux, by ``PR_SET_CHILD_SUBREAPER``). Every process
of the job is then its descendant, and it returns only when none is left. Example: the command is
``sh -c "train & exit 1"``. The shell ends with code 1 and ``train`` becomes a child of the guard, which
kills it and reports exit code 1.
"""

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
from lid_toolkit.jobs.log import JobOutcome
from lid_toolkit.jobs.machine import descendants, memory_of
from lid_toolkit.processes import adopt_orphans, die_with_parent

CANNOT_RUN = 127
GRACE_S = 30.0
LOOK_S = 1.0
PIPE_BYTES = 65536
# Grid Engine sends SIGUSR2 before it kills a job (`qsub -notify`).
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
# Slurm can be asked to send SIGUSR1 before the time limit (`--signal=B:USR1@60`); a training then saves.
FORWARDED = (signal.SIGUSR1,)


@dataclass
class _Job:
    """A running job.

    Attributes:
        process: the process of its command.
        number: the job's number.
        resources: the limits to enforce.
        verdict: why it is being ended; ``""`` if it is not.
        kill_at: time of ``time.monotonic`` at which it gets SIGKILL.
        status: exit status as in wait(2); None until the command has ended.
        peak_kb: largest resident set of the processes that have ended.
        started: time of ``time.monotonic`` at its start.
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
        """Send the command SIGTERM. Of several verdicts the first is kept."""
        if not self.verdict:
            self.verdict, self.kill_at = verdict, time.monotonic() + GRACE_S
            self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send the command a signal, unless it has ended."""
        if self.status is None:
            os.kill(self.process.pid, number)

    def reap(self) -> None:
        """Reap all children that have ended: the command, and orphans of its processes."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    return
                self.peak_kb = max(self.peak_kb, usage.ru_maxrss)
                if pid == self.process.pid:
                    self.status = status
                    self.process.returncode = os.waitstatus_to_exitcode(status)

    def outcome(self) -> JobOutcome:
        """Return how the job ended."""
        unit = 1 if sys.platform == "darwin" else 1024
        seconds = time.monotonic() - self.started
        return JobOutcome(self.number, self.process.returncode, self.verdict, seconds, self.peak_kb * unit)


def guard(
    command: Sequence[str],
    number: int,
    resources: Resources,
    environment: Mapping[str, str],
    log: IO[bytes],
    lifeline: int | None,
) -> JobOutcome:
    """Run a command until it and all its descendants have ended; return the outcome.

    On a signal in ENDING, beyond a limit, or when ``lifeline`` closes, the command gets SIGTERM, and 30 s
    later SIGKILL. Processes that it leaves behind are killed. On Linux the command is also killed if this
    process is (``PR_SET_PDEATHSIG``).

    Args:
        command: words of the command.
        number: the job's number.
        resources: limits of memory and time.
        environment: environment of the command.
        log: file for its output.
        lifeline: read end of a pipe whose other end the runner holds open. It closes when the runner ends,
            however it ends. None without a runner, as on a cluster.
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
            return JobOutcome(number, CANNOT_RUN, what, seconds=0.0, peak_bytes=0)
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
    """End the job if it exceeds its time or memory; kill it when the grace period is over."""
    limits, now = job.resources, time.monotonic()
    if limits.time_s is not None and now - job.started > limits.time_s:
        job.end(f"took longer than --time ({limits.time_s:.0f} s)")
    if limits.memory_bytes is not None:
        held = memory_of(descendants())
        if held > limits.memory_bytes:
            job.end(f"used {held / 2**30:.2f} GiB, more than --mem")
    if now > job.kill_at:
        job.send(signal.SIGKILL)


def _kill_descendants(job: _Job) -> None:
    """Kill the processes that the command left behind; repeat, because they may start others meanwhile."""
    deadline = time.monotonic() + GRACE_S
    while (left := descendants()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        job.reap()


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, list[int]]]:
    """Yield a file descriptor that becomes readable with each signal, and the list of signals so far.

    ``select`` waits for the descriptor and the lifeline together, so a signal or the end of a child (SIGCHLD)
    wakes it at once instead of at the next look.
    """
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
