"""Signals that ask a training to stop. It stops between two updates, after writing a checkpoint."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from lid_toolkit.processes import STOP_SIGNALS

# EX_TEMPFAIL of sysexits.h: the work is not finished; the same command continues it.
REQUEUE = 75
# One request can arrive twice: from the terminal or the scheduler, and from the parent process.
SAME_REQUEST_S = 3.0


@dataclass
class StopRequest:
    """The stop signal that this process has received, if any.

    The handler only records the signal. If it raised an exception, that could happen inside a finaliser,
    where Python ignores exceptions, and the training would not stop.

    Attributes:
        signal: number of the signal; None if there was none.
        parent: id of a process; the training also stops when this parent has ended. None: it does not.
    """

    signal: int | None = None
    parent: int | None = None

    def votes(self) -> list[float]:
        """Return this process's vote for each of ``STOP_SIGNALS``: 1 for the signal it received, else 0.

        Several processes must stop after the same update, so they sum their votes and act on the sums. A
        process whose parent was killed votes for SIGTERM.
        """
        if self.parent is not None and os.getppid() != self.parent:
            self.signal = signal.SIGTERM
        return [float(number == self.signal) for number in STOP_SIGNALS]


def elected(votes: Sequence[float]) -> int | None:
    """Return a signal that at least one process voted for, or None."""
    return next((int(number) for number, count in zip(STOP_SIGNALS, votes, strict=True) if count), None)


def obey(number: int | None, before_leaving: Callable[[], None]) -> None:
    """If there is a signal, call ``before_leaving`` and end the training.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        SystemExit: after another signal, with the code :data:`REQUEUE`.
    """
    if number is None:
        return
    before_leaving()
    leave(number)


def leave(number: int) -> NoReturn:
    """End the training because of a signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    logging.info("stopped by %s; the same command continues", signal.Signals(number).name)
    raise SystemExit(REQUEUE)


def caught_signals() -> tuple[signal.Signals, ...]:
    """Return the signals to catch: all but SIGHUP where it is ignored, as after ``nohup``."""
    hangup_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in STOP_SIGNALS if not (hangup_ignored and number == signal.SIGHUP))


@contextmanager
def stop_request(with_parent: bool = False) -> Iterator[StopRequest]:
    """Record stop signals inside. The second time, a signal acts at once, as it would outside.

    Only the main thread may call this (:func:`signal.signal`).

    Args:
        with_parent: also stop when the parent process has ended.
    """
    request = StopRequest(parent=os.getppid() if with_parent else None)
    received: dict[int, float] = {}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number not in received or now - received[number] <= SAME_REQUEST_S:
            received.setdefault(number, now)
            request.signal = number
            return
        signal.signal(number, before[signal.Signals(number)])
        signal.raise_signal(number)

    before = {number: signal.getsignal(number) for number in caught_signals()}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
