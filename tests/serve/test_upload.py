"""Bodies of requests that come slowly."""

from __future__ import annotations

import asyncio
import time

import pytest
from fastapi import Request

from lid_toolkit.serve import upload
from lid_toolkit.serve.limits import Limits
from lid_toolkit.serve.upload import Body


def test_discarding_ends_although_a_byte_arrives_at_the_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload, "DISCARD_SECONDS", 0.2)
    received = 0

    async def receive() -> dict[str, object]:
        nonlocal received
        received += 1
        assert received < 10
        if received == 2:  # this byte and the deadline come in the same turn of the loop
            asyncio.get_running_loop().call_soon(time.sleep, 0.15)
        await asyncio.sleep(0.1 if received == 1 else 0.01)
        return {"type": "http.request", "body": b"0", "more_body": True}

    async def discard() -> None:
        request = Request({"type": "http", "headers": []}, receive)
        await Body(request, Limits(upload_seconds=0.0)).discard()

    asyncio.run(discard())
    assert received == 2
