"""Logs of jobs, messages about their progress, and the report of failures."""

from __future__ import annotations

import datetime
import os
import select
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
FIRST_PROGRESS_S = 10.0
LONGEST_INTERVAL_S = 60.0
JOBS_SHOWN = 4
SHOWN_CHARACTERS = 200
PIECE_BYTES = 1024
"""A pipe that can be written to has room for 4096 bytes at least (on Linux)."""


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended.

    Attributes:
        number: the job's number.
        exit_code: exit code of its command; the negative signal number if a signal ended it.
        verdict: why it was ended, could not start or was lost; ``""`` if it ended by itself.
        seconds: from start to end.
        peak_bytes: largest resident set among its processes.
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


def keep_old(log: Path) -> None:
    """Rename a log, if it exists, to ``LOG.1``, or to the next number that is free.

    The log of the last run has the plain name; those of the runs before are numbered from the oldest.
    """
    if log.exists():
        number = 1
        while log.with_name(f"{log.name}.{number}").exists():
            number += 1
        log.rename(log.with_name(f"{log.name}.{number}"))


def write_head(array: JobArray, number: int) -> IO[bytes]:
    """Write the head of a job's log; return the log, open for the job's output.

    A log that is there already is kept: a scheduler may start a job again.
    """
    keep_old(array.log_of(number))
    lines = (
        f"Running on {socket.gethostname()}",
        f"Started at {_now()}",
        shlex.join(array.command_of(number)),
    )
    log = open(array.log_of(number), "wb", buffering=0)  # noqa: SIM115  # the caller closes it
    log.write("".join(f"# {line}\n" for line in lines).encode())
    return log


def write_foot(log: IO[bytes], outcome: JobOutcome, threads: int) -> None:
    """Write the foot of a job's log, its resources and exit code, in Kaldi's format."""
    text = (
        (f"# {outcome.verdict}\n" if outcome.verdict else "")
        + f"# Accounting: time={outcome.seconds:.1f} threads={threads}"
        + f" memory={outcome.peak_bytes / 2**20:.0f}M\n"
        + f"# Ended (code {outcome.exit_code}) at {_now()}, elapsed time {outcome.seconds:.0f} seconds\n"
    )
    log.write(text.encode())


class ProgressReport:
    """Shows the progress of running jobs.

    For an array, at growing intervals: how many jobs are done, why others wait, and the last log line of
    some running jobs. For a single command: its whole log, as it is written. It never waits for the reader of
    the stream, so that the runner can still start jobs, and end them on a signal.
    """

    def __init__(self, array: JobArray, stream: TextIO) -> None:
        self.array, self.stream = array, stream
        self._interval = FIRST_PROGRESS_S
        self._next = time.monotonic() + self._interval
        self._shown = 0

    def show(self, running: Sequence[int], ended: int, waiting: str = "") -> bool:
        """Write the progress, if the interval is over; return whether the log of a single command is shown.

        Args:
            running: numbers of the running jobs.
            ended: how many jobs have ended.
            waiting: why the other jobs wait, ``""`` if unknown.
        """
        followed = bool(self.array.call.variable) or self._follow()
        if time.monotonic() < self._next or not is_read(self.stream):
            return followed
        lines = [f"{self.array.name}: {ended} of {len(self.array)} jobs done{waiting and ', '}{waiting}"]
        for number in running[:JOBS_SHOWN]:
            last = last_line(self.array.log_of(number))
            lines += [f"  job {number}: {last[:SHOWN_CHARACTERS]}"] if last else []
        if self.array.call.variable or not running:
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()
        self._interval = min(2 * self._interval, LONGEST_INTERVAL_S)
        self._next = time.monotonic() + self._interval
        return followed

    def _follow(self) -> bool:
        """Write the new lines of the log, without head, foot and errors, which are reported at the end.

        Returns whether all of them are written: not if nobody reads the stream.
        """
        while news := self._news():
            if not is_read(self.stream):
                return False
            self._shown += len(news)
            for line in news.decode(errors="replace").splitlines(keepends=True):
                if not line.startswith(("# ", "error: ")):
                    self.stream.write(line)
            self.stream.flush()
        return True

    def _news(self) -> bytes:
        """Return the next whole lines of the log that are not shown, about ``PIECE_BYTES``."""
        try:
            with open(self.array.log_of(self.array.first), "rb") as log:
                if log.seek(0, os.SEEK_END) < self._shown:
                    self._shown = 0  # a scheduler has started the job again, with a new log
                log.seek(self._shown)
                lines = log.readlines(PIECE_BYTES)
        except OSError:
            return b""
        return b"".join(line for line in lines if line.endswith(b"\n"))


def is_read(stream: TextIO) -> bool:
    """Return whether some lines can be written without waiting: not to a full pipe that nobody reads."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):  # a stream without a file, which never waits
        return True


def report_failures(backend: str, array: JobArray, outcomes: Sequence[JobOutcome], stream: TextIO) -> int:
    """Write which jobs failed and why, and how to run the first of them again; return the exit code.

    The code is 0 if none failed, and 2 if every failed job ended with 2. That is the code of a user error,
    and the job's error line is repeated. Otherwise the code is that of a single command, or 1 for an array,
    and the end of the first failed job's log is shown, without lines that were shown before.
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
        unseen = [line for line in tail(log) if array.call.variable or line.startswith("error: ")]
        stream.write("".join(f"  | {line}\n" for line in unseen))
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
    """Return the last line of a log outside its head and foot, or ``""``."""
    return ([line for line in tail(path) if line and not line.startswith("# ")] or [""])[-1]


def tail(path: Path) -> list[str]:
    """Return the last 20 lines of a file; an empty list if it cannot be read."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return text.replace("\r", "\n").rstrip("\n").split("\n")[-TAIL_LINES:]


def _name_of(number: int) -> str:
    """Return `` (NAME)`` for a signal; ``""`` for real-time signals, since most have no name."""
    return next((f" ({known.name})" for known in signal.Signals if known == number), "")


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
