"""What is said about jobs: their logs, their progress while they run, and why they failed."""

from __future__ import annotations

import datetime
import os
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from lid_toolkit.errors import LidError
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
        verdict: why it was ended or could not run; ``""`` when it ended by itself.
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
            return f"ended by signal {-self.exit_code}"
        return f"exit code {self.exit_code}"


def write_head(array: JobArray, number: int) -> IO[bytes]:
    """Begin a job's log and return it, open for the job's own output.

    Raises:
        LidError: the log cannot be written.
    """
    path = array.log_of(number)
    lines = (
        f"Running on {socket.gethostname()}",
        f"Started at {_now()}",
        shlex.join(array.command_of(number)),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        log = open(path, "ab", buffering=0)  # noqa: SIM115  # the caller's
        log.write("".join(f"# {line}\n" for line in lines).encode())
    except OSError as error:
        raise LidError(f"cannot be written: {error.strerror}", where=path) from error
    return log


def write_foot(array: JobArray, outcome: Outcome) -> None:
    """End a job's log with its resources and exit code, in Kaldi's words."""
    text = (
        (f"# {outcome.verdict}\n" if outcome.verdict else "")
        + f"# Accounting: time={outcome.seconds:.1f} threads={array.resources.threads}"
        + f" memory={outcome.peak_bytes / 2**20:.0f}M\n"
        + f"# Ended (code {outcome.exit_code}) at {_now()}, elapsed time {outcome.seconds:.0f} seconds\n"
    )
    with open(array.log_of(outcome.number), "ab") as log:
        log.write(text.encode())


class Relay:
    """Tells at growing intervals how many jobs are done, and the last line of the logs of those running."""

    def __init__(self, array: JobArray, stream: TextIO) -> None:
        self.array, self.stream = array, stream
        self._interval = FIRST_WORD_AFTER_S
        self._next = time.monotonic() + self._interval

    def tell(self, running: Sequence[int], ended: int) -> None:
        """Write what the jobs ``running`` last said, if it is time to."""
        if time.monotonic() < self._next:
            return
        lines = [f"jobs: {ended} of {len(self.array)} done"]
        for number in running[:JOBS_TOLD]:
            words = [line for line in _tail(self.array.log_of(number)) if not line.startswith("# ")][-1:]
            lines += [f"  job {number}: {line}" for line in words]
        self.stream.write("\n".join(lines) + "\n")
        self.stream.flush()
        self._interval = min(2 * self._interval, LONGEST_SILENCE_S)
        self._next = time.monotonic() + self._interval


def report_failures(backend: str, array: JobArray, outcomes: Sequence[Outcome], stream: TextIO) -> int:
    """Write which jobs failed and why, and how to run the first of them again; return the exit code.

    0 when none failed; 2 when every failed job ended with 2 (a fault of the user's, whose own one
    line is repeated); else 1, with the tail of the first failed job's log.
    """
    failed = [outcome for outcome in outcomes if outcome.failed]
    if not failed:
        return 0
    first, log = failed[0], array.log_of(failed[0].number)
    users = all(outcome.exit_code == USER_ERROR and not outcome.verdict for outcome in failed)
    faults = [line for line in _tail(log) if line.startswith("error: ")]
    if users and faults:
        what = faults[-1].removeprefix("error: ")
    else:
        stream.write("".join(f"  | {line}\n" for line in _tail(log)))
        what = first.reason
    numbers = " ".join(str(outcome.number) for outcome in failed)
    skipped = len(array) - len(outcomes)
    stream.write(
        f"error: job {numbers} of {len(array)} failed: {what} (log: {log}"
        + (f"; {skipped} more not started" if skipped else "")
        + f"; run it again: {rerun_line(backend, array, first.number)})\n"
    )
    return USER_ERROR if users else 1


def _tail(path: Path) -> list[str]:
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return text.replace("\r", "\n").rstrip("\n").split("\n")[-TAIL_LINES:]


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
