"""What is said about jobs: their logs, their progress while they run, and why they failed."""

from __future__ import annotations

import datetime
import os
import shlex
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from lid_toolkit.jobs.array import JobArray, rerun_line

USER_ERROR = 2
TAIL_BYTES = 8192
TAIL_LINES = 20
FIRST_WORD_AFTER_S = 10.0
LONGEST_SILENCE_S = 60.0
JOBS_TOLD = 4


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        number: which job.
        exit_code: of its command; minus the signal's number when a signal ended it.
        verdict: why it was ended, could not run or was lost; ``""`` when it ended by itself.
        seconds: from start to end.
        peak_bytes: largest resident set of any one of its processes.
    """

    number: int
    exit_code: int
    verdict: str
    seconds: float
    peak_bytes: int

    @property
    def failed(self) -> bool:
        """Whether the job did not do its work."""
        return self.exit_code != 0 or bool(self.verdict)

    @property
    def reason(self) -> str:
        """Why the job failed, in words."""
        if self.verdict:
            return self.verdict
        if self.exit_code < 0:
            return f"ended by signal {-self.exit_code}{_name_of(-self.exit_code)}"
        return f"exit code {self.exit_code}"


def write_head(array: JobArray, number: int) -> IO[bytes]:
    """Begin a job's log and return it, open for the job's own output."""
    lines = (
        f"Running on {socket.gethostname()}",
        f"Started at {_now()}",
        shlex.join(array.command_of(number)),
    )
    log = open(array.log_of(number), "wb", buffering=0)  # noqa: SIM115  # the caller's
    log.write("".join(f"# {line}\n" for line in lines).encode())
    return log


def write_foot(log: IO[bytes], outcome: Outcome, threads: int) -> None:
    """End a job's log with its resources and exit code, in Kaldi's words."""
    text = (
        (f"# {outcome.verdict}\n" if outcome.verdict else "")
        + f"# Accounting: time={outcome.seconds:.1f} threads={threads}"
        + f" memory={outcome.peak_bytes / 2**20:.0f}M\n"
        + f"# Ended (code {outcome.exit_code}) at {_now()}, elapsed time {outcome.seconds:.0f} seconds\n"
    )
    log.write(text.encode())


class Relay:
    """Tells what jobs say while they run.

    Of an array: at growing intervals how many jobs are done, why others wait, and the last line of the
    logs of those running. Of a single command: its whole log, as it is written.
    """

    def __init__(self, array: JobArray, stream: TextIO) -> None:
        self.array, self.stream = array, stream
        self._interval = FIRST_WORD_AFTER_S
        self._next = time.monotonic() + self._interval
        self._told = 0

    def tell(self, running: Sequence[int], ended: int, waiting: str = "") -> None:
        """Write what the jobs ``running`` last said, if it is time to.

        Args:
            running: jobs whose logs have news.
            ended: how many jobs have ended.
            waiting: why the other jobs wait, if that is known.
        """
        if not self.array.call.variable:
            self._follow()
        if time.monotonic() < self._next:
            return
        lines = [f"{self.array.name}: {ended} of {len(self.array)} jobs done{waiting and ', '}{waiting}"]
        for number in running[:JOBS_TOLD]:
            said = last_line(self.array.log_of(number))
            lines += [f"  job {number}: {said}"] if said else []
        if self.array.call.variable or not running:
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()
        self._interval = min(2 * self._interval, LONGEST_SILENCE_S)
        self._next = time.monotonic() + self._interval

    def _follow(self) -> None:
        """Write the new lines of the log, but for its head and foot and for errors, which are told last."""
        try:
            with open(self.array.log_of(self.array.first), "rb") as log:
                log.seek(self._told)
                news = log.read()
        except OSError:
            return
        lines = news[: news.rfind(b"\n") + 1]
        self._told += len(lines)
        for line in lines.decode(errors="replace").splitlines(keepends=True):
            if not line.startswith(("# ", "error: ")):
                self.stream.write(line)
        self.stream.flush()


def report_failures(backend: str, array: JobArray, outcomes: Sequence[Outcome], stream: TextIO) -> int:
    """Write which jobs failed and why, and how to run the first of them again; return the exit code.

    0 when none failed; 2 when every failed job ended with 2 (a fault of the user's, whose own one
    line is repeated); the command's own code when it is no array; else 1. Where the code is not 2, what
    has not been told of the tail of the first failed job's log goes first.
    """
    failed = [outcome for outcome in outcomes if outcome.failed]
    if not failed:
        return 0
    first, log = failed[0], array.log_of(failed[0].number)
    users = all(outcome.exit_code == USER_ERROR and not outcome.verdict for outcome in failed)
    faults = [line for line in tail(log) if line.startswith("error: ")]
    if users and faults:
        what = faults[-1].removeprefix("error: ")
    else:
        untold = [line for line in tail(log) if array.call.variable or line.startswith("error: ")]
        stream.write("".join(f"  | {line}\n" for line in untold))
        what = first.reason
    who, code = array.name, first.exit_code if first.exit_code > 0 else 1
    if array.call.variable:
        numbers, code = " ".join(str(outcome.number) for outcome in failed), 1
        who = f"job {numbers} of {len(array)}"
    skipped = len(array) - len(outcomes)
    stream.write(
        f"error: {who} failed: {what} (log: {log}"
        + (f"; {skipped} more not started" if skipped else "")
        + f"; run it again: {rerun_line(backend, array, first.number)})\n"
    )
    return USER_ERROR if users else code


def last_line(path: Path) -> str:
    """Return the last line of a log that is not about the job itself, or ``""``."""
    return ([line for line in tail(path) if line and not line.startswith("# ")] or [""])[-1]


def tail(path: Path) -> list[str]:
    """Return the last 20 lines of a file; none if it cannot be read."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return text.replace("\r", "\n").rstrip("\n").split("\n")[-TAIL_LINES:]


def _name_of(number: int) -> str:
    """Return the name of a signal behind a blank, or ``""``: most real-time signals have none."""
    return next((f" ({known.name})" for known in signal.Signals if known == number), "")


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
