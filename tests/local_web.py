"""A loopback web server that serves a folder, with HTTP ranges and the faults of real ones."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass
class Server:
    """What is served, and how.

    Attributes:
        folder: the files.
        url: its address, ending in ``/``.
        requests: what was asked for: method, name and range.
        drops: by name, after how many bytes each of the next answers breaks off.
        instead: by name, what the next answers hold in place of the file.
        busy: by name, how many of the next answers say 503.
        ranges: whether ranges are understood.
    """

    folder: Path
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    drops: dict[str, list[int]] = field(default_factory=dict)
    instead: dict[str, list[bytes]] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    ranges: bool = True

    def asked(self, method: str = "GET") -> list[str]:
        """Return the names asked for by a method."""
        return [name for how, name, _ in self.requests if how == method]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder while the context lasts."""
    server = Server(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *request: Handler(server, *request)) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}/"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers as its :class:`Server` says."""

    protocol_version = "HTTP/1.1"

    def __init__(self, server: Server, *request: Any) -> None:
        self.plan = server
        super().__init__(*request)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        plan, name = self.plan, self.path.rpartition("/")[2]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        plan.requests.append((self.command, name, asked[1] if asked else ""))
        path = plan.folder / name
        if not path.is_file():
            self.head(404)
        elif with_body and plan.busy.get(name, 0) > 0:
            plan.busy[name] -= 1
            self.head(503)
        else:
            replaced = plan.instead.get(name) if with_body else None
            content = replaced.pop(0) if replaced else path.read_bytes()
            self.send(name, content, int(asked[1]) if asked and plan.ranges else 0, with_body)

    def send(self, name: str, content: bytes, start: int, with_body: bool) -> None:
        """Answer with the content from a byte on, and break off where the plan says."""
        if start and start >= len(content):
            self.head(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.head(206 if start else 200, span, len(content) - start)
        if with_body:
            drops = self.plan.drops.get(name)
            end = start + drops.pop(0) if drops else len(content)
            self.wfile.write(content[start:end])
            self.close_connection = end < len(content)

    def head(self, status: int, headers: Mapping[str, str] = MappingProxyType({}), length: int = 0) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""
