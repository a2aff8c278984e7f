"""Processes that work for another one: readers of training data, and those that read ahead. No torch."""

from __future__ import annotations

import multiprocessing

from threadpoolctl import threadpool_limits

from lid_toolkit.processes import die_with_parent, keep_freed_memory, stop_only_for


def become_worker(_worker: int = 0) -> None:
    """Compute on one thread, leave signals to the parent, and end with it.

    PyTorch limits its own threads in a worker, but not those of NumPy's linear algebra. Its workers check
    now and then whether their parent lives, but wait forever for a lock that a killed parent held.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        stop_only_for(parent.pid)
        die_with_parent(parent.pid)
    threadpool_limits(1)
    keep_freed_memory()
