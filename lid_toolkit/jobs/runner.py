"""Run an array on a backend: start its jobs, show their progress, and end them on a signal."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Protocol

from lid_toolkit.jobs.array import JobArray
from lid_toolkit.jobs.log import JobOutcome, ProgressReport, is_read, write_foot
from lid_toolkit.jobs.spool import Spool

LOST = 255
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Backend(Protocol):
    """Where jobs run.

    Attributes:
        poll_s: seconds between two calls of :meth:`step`.
        waiting: why jobs wait, for messages; ``""`` if unknown.
    """

    poll_s: float
    waiting: str

    def step(self, spool: Spool) -> Mapping[int, str]:
        """Start jobs if possible; return the jobs that are lost, with the reason.

        A lost job has ended without writing its outcome into the spool, or will never start.
        """

    def end(self, spool: Spool) -> None:
        """End all jobs that wait or run; return when they have ended, or after a time limit."""


def run_array(array: JobArray, backend: Backend, spool: Spool) -> list[JobOutcome]:
    """Run the jobs; return the outcomes of those that were started, by number.

    After a failure no further job is started, and running jobs continue to their end. SIGINT, SIGTERM,
    SIGHUP and SIGUSR1 end all jobs.

    Raises:
        LidError: the backend refuses the jobs.
        SystemExit: a signal ended the jobs; the code is 128 plus its number.
    """
    progress = ProgressReport(array, sys.stderr)
    stopped_by: list[int] = []
    with _signals_to(stopped_by.append):
        try:
            while not stopped_by:
                lost = backend.step(spool)
                running = spool.running()
                for number in set(lost) - set(spool.outcomes):
                    spool.outcomes[number] = _note_lost(array, number, lost[number])
                failed = any(outcome.failed for outcome in spool.outcomes.values())
                if failed and not spool.stopped:
                    spool.note_stop()
                running = [number for number in running if number not in lost]
                shown = progress.show(running, len(spool.outcomes), backend.waiting)
                if shown and (len(spool.outcomes) == len(array) or (failed and not running)):
                    break
                time.sleep(backend.poll_s)
        finally:
            spool.note_stop()
            backend.end(spool)
    if stopped_by:
        if is_read(sys.stderr):
            sys.stderr.write(f"stopped all jobs ({signal.Signals(stopped_by[0]).name})\n")
        raise SystemExit(128 + stopped_by[0])
    return [spool.outcomes[number] for number in sorted(spool.outcomes)]


def _note_lost(array: JobArray, number: int, why: str) -> JobOutcome:
    outcome = JobOutcome(number, LOST, why, seconds=0.0, peak_bytes=0)
    with contextlib.suppress(OSError), open(array.log_of(number), "ab") as log:
        write_foot(log, outcome, array.resources.threads)
    return outcome


@contextlib.contextmanager
def _signals_to(handle: Callable[[int], None]) -> Iterator[None]:
    """Call ``handle`` with the number of each signal in ENDING inside the ``with`` block."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        handle(number)

    before = {number: signal.signal(number, on_signal) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
