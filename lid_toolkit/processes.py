"""Signals and parents of processes: what the kernel is asked to do when one of them ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2) of Linux; elsewhere nothing is asked

# Ctrl-C; `kill`, `timeout` and a scheduler's time limit; what Slurm sends before it if told to
# (`--signal=USR1@60`); a closed terminal.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def die_with_parent(parent: int | None = None) -> None:
    """Have this process killed as soon as the thread that started it ends, however it ends.

    Args:
        parent: process id of the parent, if this process goes on in Python: it ends at once where the
            parent has died already.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Block ``STOP_SIGNALS`` in this thread; a process started inside begins with them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_only_for(parent: int) -> None:
    """Make this process ignore ``STOP_SIGNALS`` unless its parent sends them.

    A signal to a process group reaches a parent and its helpers at once. The parent may still need the
    helpers for the work it finishes before it stops; it ends them itself, if need be by SIGTERM
    (``multiprocessing.Process.terminate``). Call it before the process starts other threads.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def watch() -> None:
        while signal.sigwaitinfo(STOP_SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parents end."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
