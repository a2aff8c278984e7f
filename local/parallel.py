"""Run a function in parallel processes, with ordered results and progress."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_AT_ONCE = 16
PR_SET_PDEATHSIG = 1  # prctl(2)


def parallel(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    title: str,
    unit: str = "recording",
    at_once: int = MOST_AT_ONCE,
) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, in the order of ``tasks``, computed by ``jobs`` new processes.

    The processes are spawned, not forked: they inherit no state, so results depend only on the task.
    Each process takes up to ``at_once`` tasks at a time; use a small number if tasks take long.

    Raises:
        LidError: a process was killed, usually because memory ran out.
    """
    context = multiprocessing.get_context("spawn")
    with (
        Progress(title, len(tasks), unit) as progress,
        ProcessPoolExecutor(jobs, context, _follow, (os.getpid(),)) as pool,
    ):
        try:
            for result in pool.map(function, tasks, chunksize=max(1, min(at_once, len(tasks) // (4 * jobs)))):
                progress.advance()
                yield result
        except BrokenProcessPool:
            raise LidError(
                "a process was killed",
                where=title,
                mend="free some memory or lower --nj, then run this again",
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _follow(parent: int) -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def isolated(function: Callable[..., Result], *arguments: object) -> Result:
    """Return ``function(*arguments)`` computed in a forked child process that exits afterwards.

    Use this for C libraries that keep state between calls: the child starts with the state of this process
    and does not change it. The result must be picklable.

    Raises:
        RuntimeError: the child failed; its traceback is printed to standard error.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(function(*arguments), stream)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        raise RuntimeError(f"{function.__name__}{arguments} failed in its process with status {status}")
    result: Result = pickle.loads(data)
    return result
