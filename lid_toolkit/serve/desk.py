"""Requests wait here for a worker thread, so that the event loop never computes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

from lid_toolkit.serve.limits import RefusedError

Result = TypeVar("Result")

MEMORY = 0.2
"""Weight of the last job in the running mean of their durations."""


class Desk:
    """Admits a limited number of requests and gives their jobs to worker threads in order.

    All methods are called in the thread of the event loop.

    Args:
        workers: number of threads.
        waiting: number of requests that may wait for one.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self._workers, self._places = workers, workers + waiting
        self._taken = 0
        self._mean_s = 1.0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="identify")

    @property
    def taken(self) -> int:
        """Requests that were admitted and are not yet answered."""
        return self._taken

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place from before the upload is read until the answer: uploads need memory.

        Raises:
            RefusedError: all places are taken (429).
        """
        if self._taken >= self._places:
            wait_s = math.ceil(self._mean_s * self._taken / self._workers)
            raise RefusedError(
                429, "too many requests at a time: try again later", retry_after=max(1, wait_s)
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def compute(self, job: Callable[[], Result], until_client_leaves: Awaitable[None]) -> Result:
        """Run a job in a worker thread and return its result.

        Args:
            job: what to run.
            until_client_leaves: returns when nobody waits for the result any more. A job that has not started
                is then left out. A running one is waited for, because it keeps its thread and its memory.

        Raises:
            ClientDisconnect: the client left, and the job was left out.
        """
        future = self._pool.submit(_timed, job)
        done = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(until_client_leaves)
        try:
            either: set[asyncio.Future[Any]] = {done, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if future.cancel():
                raise ClientDisconnect
            result, seconds = await done
        finally:
            gone.cancel()
        self._mean_s += MEMORY * (seconds - self._mean_s)
        return result

    def close(self) -> None:
        """Wait for the running jobs and end the threads."""
        self._pool.shutdown()


def _timed(job: Callable[[], Result]) -> tuple[Result, float]:
    start = time.monotonic()
    return job(), time.monotonic() - start
