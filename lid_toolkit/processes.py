"""Signals to processes, and what happens to a process when its parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2), only on Linux
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT_BYTES = 1 << 25
PARENT = "LID_PARENT"
"""Environment variable: process id of the parent; when the parent ends, the command must stop."""
MEMBER_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables of torchrun in each of several training processes."""
SHARING = "LID_SHARING"
"""Environment variable: number of training processes that share the ``accum_grad`` batches of an update."""

# SIGINT: Ctrl-C. SIGTERM: `kill`, `timeout`, a scheduler's time limit. SIGUSR1: Slurm's warning before the
# time limit (`--signal=USR1@60`). SIGHUP: a closed terminal.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when the thread that started it ends, however it ends.

    Args:
        parent: process id of the parent. If the parent has already ended, this process kills itself. None:
            do not check.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def keep_freed_memory() -> None:
    """Have this process keep up to ``KEPT_BYTES`` of freed memory instead of returning it to the kernel.

    By default, glibc gets memory for large arrays from the kernel anew, which fills it with zeros: a third of
    the time of augmentation. It has no effect with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def stop_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent ends, if the parent asks for it.

    The parent asks by setting the environment variable ``LID_PARENT`` to its process id. Example: a script
    killed by SIGKILL cannot forward the signal, and without this its training would keep running. The
    variable is removed, because it does not apply to the children of this process. If the parent has already
    ended, this process gets SIGTERM immediately.
    """
    parent = os.environ.pop(PARENT, "")
    if not parent.isdecimal():
        return
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Block ``STOP_SIGNALS`` in this thread and in the processes that it starts in the ``with`` block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_only_for(parent: int) -> None:
    """Make this process ignore ``STOP_SIGNALS`` unless its parent sends them.

    A signal to a process group reaches a parent and its helpers at the same time, but the parent may need the
    helpers to finish its work before it stops. The parent then ends the helpers itself, if necessary with
    SIGTERM (``multiprocessing.Process.terminate``). Call this before the process starts other threads.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def watch() -> None:
        while signal.sigwaitinfo(STOP_SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def adopt_orphans() -> None:
    """Make this process the new parent of every descendant whose own parent ends (a subreaper)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def is_member() -> bool:
    """Return whether this process was started as one of several training processes."""
    return all(name in os.environ for name in MEMBER_VARIABLES)
