"""Run an array through a backend: watch its jobs, tell what they say, and end them when asked to."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Protocol

from lid_toolkit.jobs.array import JobArray
from lid_toolkit.jobs.log import Outcome, Relay, write_foot
from lid_toolkit.jobs.spool import Spool

LOST = 255
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Backend(Protocol):
    """Where jobs run.

    Attributes:
        poll_s: seconds between looks at the jobs.
        waiting: why jobs wait, in words; ``""`` if there is nothing to say.
    """

    poll_s: float
    waiting: str

    def step(self, spool: Spool) -> Mapping[int, str]:
        """Start what is to be started, and return jobs that are lost with the reason.

        A lost job has ended, or will never start, without a word in the spool.
        """

    def end(self, spool: Spool) -> None:
        """End the jobs that wait or run; return when they have ended, or after a while."""


def run_array(array: JobArray, backend: Backend, spool: Spool) -> list[Outcome]:
    """Run the jobs; return the outcomes of those that were started, by number.

    After a failure no further job is started; those under way go on to their end. When this process
    gets SIGINT, SIGTERM or SIGHUP all jobs end.

    Raises:
        LidError: the backend cannot take the jobs.
        SystemExit: a signal ended the jobs; 128 plus its number.
    """
    relay = Relay(array, sys.stderr)
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
                relay.tell(running, len(spool.outcomes), backend.waiting)
                if len(spool.outcomes) == len(array) or (failed and not running):
                    break
                time.sleep(backend.poll_s)
        finally:
            spool.note_stop()
            backend.end(spool)
    if stopped_by:
        sys.stderr.write(f"stopped all jobs ({signal.Signals(stopped_by[0]).name})\n")
        raise SystemExit(128 + stopped_by[0])
    return [spool.outcomes[number] for number in sorted(spool.outcomes)]


def _note_lost(array: JobArray, number: int, why: str) -> Outcome:
    outcome = Outcome(number, LOST, why, seconds=0.0, peak_bytes=0)
    with contextlib.suppress(OSError), open(array.log_of(number), "ab") as log:
        write_foot(log, outcome, array.resources.threads)
    return outcome


@contextlib.contextmanager
def _signals_to(handle: Callable[[int], None]) -> Iterator[None]:
    """Hand SIGINT, SIGTERM and SIGHUP to ``handle`` while inside."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        handle(number)

    before = {number: signal.signal(number, on_signal) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
