"""Signals that ask a training to stop: obeyed between two updates, with a checkpoint written."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar

# EX_TEMPFAIL of sysexits.h: the work is not done, and the same command goes on with it.
REQUEUE = 75
# Ctrl-C; `kill` and a scheduler's end of time; what Slurm is told to send before it (`--signal=USR1@60`).
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

Item = TypeVar("Item")


@dataclass
class StopRequest:
    """The signal that has asked for the end, if one has.

    A signal handler that raised would do so anywhere: inside a finaliser Python swallows the exception,
    and the training would go on as if nobody had asked.

    Attributes:
        signal: its number; None as long as there was none.
    """

    signal: int | None = None

    def obey(self, before_leaving: Callable[[], None]) -> None:
        """Leave if a signal has asked for it, after a call of ``before_leaving``.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after another signal, with the code :data:`REQUEUE`.
        """
        if self.signal is None:
            return
        before_leaving()
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        logging.info("stopped by %s; the same command goes on", signal.Signals(self.signal).name)
        raise SystemExit(REQUEUE)

    def watched(self, items: Iterable[Item], before_leaving: Callable[[], None]) -> Iterator[Item]:
        """Yield the items, obeying before each."""
        for item in items:
            self.obey(before_leaving)
            yield item


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch the signals inside, the first time each comes; a second one acts at once, as without this.

    Only the main thread of a process may call it (:func:`signal.signal`).
    """
    request = StopRequest()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
