"""The recording in the body of a request: limited in size and time, and never on disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from lid_toolkit.serve.limits import Limits, RefusedError

FIELD = "file"
DISCARD_SECONDS = 5.0
"""Longest pause in a body that is discarded, and time to discard one that came too slowly."""


@dataclass(frozen=True)
class Upload:
    """An uploaded recording.

    Attributes:
        name: of its file; its suffix names formats without a header. "" if it has none.
        content: its bytes.
    """

    name: str
    content: bytes


class Body:
    """The body of a request, read once, and all of it before a deadline.

    Args:
        request: the request; nothing of its body has been read.
        limits: the largest number of bytes, and the longest time from now on.
    """

    def __init__(self, request: Request, limits: Limits) -> None:
        self._request, self._most = request, limits.max_bytes
        self._deadline = asyncio.get_running_loop().time() + limits.upload_seconds
        self._ended = False

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; below 0 after it."""
        return self._deadline - asyncio.get_running_loop().time()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in blocks.

        Raises:
            RefusedError: it is too large (413).
            ClientDisconnect: the client has left.
        """
        declared = self._request.headers.get("content-length", "")
        self._check(int(declared) if declared.isdecimal() else 0)
        size = 0
        while not self._ended:
            block = await self._next()
            size += len(block)
            self._check(size)
            yield block

    async def discard(self) -> None:
        """Read what is left of the body, up to a limit: many clients read no answer before they sent all."""
        if "expect" in self._request.headers:
            return  # the client waits for an answer before it sends the body
        now = asyncio.get_running_loop().time
        # A deadline for all of it: a client that sends a byte now and then must not hold a connection. Not a
        # wait_for around the others: before Python 3.12, a byte that arrives at the deadline cancels it.
        end, left = now() + max(self.seconds_left, DISCARD_SECONDS), self._most
        with contextlib.suppress(ClientDisconnect, asyncio.TimeoutError):
            while not self._ended and left > 0 and now() < end:
                left -= len(await asyncio.wait_for(self._next(), min(DISCARD_SECONDS, end - now())))

    async def until_client_leaves(self) -> None:
        """Return when the client has closed the connection. Only after the body was read."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    def _check(self, size: int) -> None:
        if size > self._most:
            raise RefusedError(
                413, f"the upload is larger than {self._most >> 20} MiB: send a shorter recording"
            )

    async def _next(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        block: bytes = message.get("body", b"")
        return block


class InMemoryParser(MultiPartParser):
    """Parses forms as Starlette does, but writes no file to disk."""

    spool_max_size = 0  # of a SpooledTemporaryFile: no limit to what stays in memory


async def read_upload(request: Request, body: Body, limits: Limits) -> Upload:
    """Return the recording that a request has as its body, or in the field ``file`` of a form.

    Raises:
        RefusedError: there is none (400), it is too large (413), or it does not arrive in time (408).
        ClientDisconnect: the client has left.
    """
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/")
    reading = _of_form(request, body) if is_form else _raw(body)
    try:
        upload = await asyncio.wait_for(reading, body.seconds_left)
    except asyncio.TimeoutError:
        what = f"the upload took longer than {limits.upload_seconds:g} s"
        raise RefusedError(408, f"{what}: send a shorter recording") from None
    if not upload.content:
        raise RefusedError(400, f"no audio: send it as the body, or in the field '{FIELD}' of a form")
    return upload


async def _raw(body: Body) -> Upload:
    content = bytearray()
    async for block in body.blocks():
        content += block
    return Upload("", bytes(content))


async def _of_form(request: Request, body: Body) -> Upload:
    parser = InMemoryParser(request.headers, body.blocks(), max_files=1, max_fields=8)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RefusedError(400, f"the form is broken: {error.message.rstrip('.')}") from None
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            return Upload("", b"")
        return Upload(file.filename or "", await file.read())
    finally:
        await form.close()
