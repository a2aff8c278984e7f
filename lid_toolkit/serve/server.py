"""Run the web application until a signal ends it."""

from __future__ import annotations

import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from lid_toolkit.errors import LidError, reason_of
from lid_toolkit.serve.http import PromptProtocol

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
MOST_CONNECTIONS = 256


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: address or name; the name of several addresses means the first.
        port: 0 for any free one.

    Raises:
        LidError: the port is in use or not allowed, or the host is not this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=MOST_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        mend = "choose another --host or --port"
        raise LidError(f"cannot listen: {reason_of(error)}", where=f"{host}:{port}", mend=mend) from None


def address_of(listening: socket.socket) -> str:
    """Return the address of a listening socket's page."""
    host, port = listening.getsockname()[:2]
    name = "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def server_config(app: FastAPI) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    return uvicorn.Config(
        app,
        http=PromptProtocol,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        ws="none",
    )


def run_server(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that were admitted are answered first.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.
    """
    config = server_config(app)
    # Uvicorn ends well, and then sends itself the signal that ended it.
    earlier = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, earlier)
        listening.close()
    sys.stderr.write("stopped\n")
