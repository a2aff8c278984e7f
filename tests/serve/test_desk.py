"""Requests wait for a worker: how many, in which order, and what becomes of those whose client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import SimpleNamespace

import pytest
from starlette.requests import ClientDisconnect

from lid_toolkit.serve.desk import Desk
from lid_toolkit.serve.limits import RefusedError


async def never() -> None:
    await asyncio.Event().wait()


async def now() -> None:
    return


def test_places_are_limited_and_given_back():
    desk = Desk(workers=1, waiting=1)
    with desk.place():
        with desk.place():
            with pytest.raises(RefusedError) as caught, desk.place():
                pass
            assert (caught.value.status, caught.value.retry_after) == (429, 2)
            assert desk.taken == 2
        with desk.place():
            pass
    assert desk.taken == 0
    desk.close()


def test_the_advice_to_wait_follows_the_durations_of_jobs(monkeypatch):
    desk = Desk(workers=2, waiting=2)
    times = iter([0.0, 31.0])
    monkeypatch.setattr("lid_toolkit.serve.desk.time", SimpleNamespace(monotonic=lambda: next(times)))
    asyncio.run(desk.compute(int, never()))  # the mean is now 1 + 0.2 * (31 - 1) = 7 s
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(desk.place())
        with pytest.raises(RefusedError) as caught:
            stack.enter_context(desk.place())
    assert caught.value.retry_after == 14  # 4 jobs of 7 s on 2 workers
    desk.close()


def test_the_event_loop_goes_on_while_a_job_runs():
    desk, released = Desk(1, 1), threading.Event()

    async def both():
        job = asyncio.ensure_future(desk.compute(lambda: released.wait(10), never()))
        await asyncio.sleep(0)
        released.set()  # by the loop: a loop that waited for the job would never come here
        return await job

    assert asyncio.run(both()) is True
    desk.close()


def test_a_waiting_job_is_left_out_if_its_client_leaves():
    desk, released, run = Desk(1, 1), threading.Event(), []

    async def both():
        first = asyncio.ensure_future(desk.compute(lambda: released.wait(10), never()))
        await asyncio.sleep(0.01)
        with pytest.raises(ClientDisconnect):
            await desk.compute(lambda: run.append(1), now())
        released.set()
        await first

    asyncio.run(both())
    desk.close()
    assert run == []


def test_a_running_job_is_waited_for_if_its_client_leaves():
    desk, started, released = Desk(1, 0), threading.Event(), threading.Event()

    def job() -> str:
        started.set()
        return "done" if released.wait(10) else ""

    async def leave() -> None:
        await asyncio.to_thread(started.wait, 10)
        threading.Timer(0.05, released.set).start()

    assert asyncio.run(desk.compute(job, leave())) == "done"
    desk.close()


def test_errors_of_jobs_are_raised():
    desk = Desk(1, 0)

    def job() -> None:
        raise RefusedError(415, "no")

    with pytest.raises(RefusedError, match="415"):
        asyncio.run(desk.compute(job, never()))
    desk.close()
