"""Signals that ask a training to stop: obeyed between two updates, with a checkpoint written."""

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

# EX_TEMPFAIL of sysexits.h: the work is not done, and the same command goes on with it.
REQUEUE = 75
# One request can arrive twice: from the terminal or the scheduler, and from what started this process.
SAME_REQUEST_S = 3.0


@dataclass
class StopRequest:
    """The signal that has asked for the end, if one has.

    A signal handler that raised would do so anywhere: inside a finaliser Python swallows the exception,
    and the training would go on as if nobody had asked.

    Attributes:
        signal: its number; None as long as there was none.
        parent: process without which this one is not to go on; None if it is to.
    """

    signal: int | None = None
    parent: int | None = None

    def votes(self) -> list[float]:
        """Return this process's vote for each of ``STOP_SIGNALS``: 1 for the one it got, else 0.

        Several processes must stop after the same update, so they sum their votes and obey the sums. One
        whose parent was killed votes for SIGTERM: nobody watches over it any more.
        """
        if self.parent is not None and os.getppid() != self.parent:
            self.signal = signal.SIGTERM
        return [float(number == self.signal) for number in STOP_SIGNALS]


def elected(votes: Sequence[float]) -> int | None:
    """Return the signal that any process voted for."""
    return next((int(number) for number, count in zip(STOP_SIGNALS, votes, strict=True) if count), None)


def obey(number: int | None, before_leaving: Callable[[], None]) -> None:
    """Leave if there is a signal, after a call of ``before_leaving``.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        SystemExit: after another signal, with the code :data:`REQUEUE`.
    """
    if number is None:
        return
    before_leaving()
    leave(number)


def leave(number: int) -> NoReturn:
    """Leave as a signal asks."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    logging.info("stopped by %s; the same command goes on", signal.Signals(number).name)
    raise SystemExit(REQUEUE)


def caught_signals() -> tuple[signal.Signals, ...]:
    """Return the signals to catch: all but SIGHUP where it is ignored, as after ``nohup``."""
    hangup_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in STOP_SIGNALS if not (hangup_ignored and number == signal.SIGHUP))


@contextmanager
def stop_request(with_parent: bool = False) -> Iterator[StopRequest]:
    """Catch the signals inside, the first time each comes; a later one acts at once, as without this.

    Only the main thread of a process may call it (:func:`signal.signal`).

    Args:
        with_parent: stop too when the process that started this one has ended.
    """
    request = StopRequest(parent=os.getppid() if with_parent else None)
    came: dict[int, float] = {}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number not in came or now - came[number] <= SAME_REQUEST_S:
            came.setdefault(number, now)
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
