"""Fixtures of the server's tests: a model, and recordings of what sounds like speech."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator

import pytest
import soundfile
import uvicorn
from data.corpus import RATE, beeps, vowel
from fastapi import FastAPI
from fastapi.testclient import TestClient
from inference.conftest import model_file

from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.serve.app import make_app
from lid_toolkit.serve.limits import Limits
from lid_toolkit.serve.server import address_of, listen, server_config

__all__ = ["model_file"]

OWN = "http://localhost:8000"


def encoded(wave, format_: str = "WAV") -> bytes:
    """Return the bytes of an audio file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format=format_)
    return buffer.getvalue()


def spoken(seconds: float = 1.2, seed: int = 1) -> bytes:
    """Return a wav file with a sound that detectors take for speech."""
    wave = vowel(seconds)
    return encoded(wave + 0.1 * beeps(("low", "middle", "high")[seed % 3], len(wave), seed))


@pytest.fixture(scope="session")
def lid(model_file) -> LanguageIdentifier:
    return LanguageIdentifier.from_pretrained(model_file, "cpu")


@pytest.fixture
def client_of(lid) -> Iterator[Callable[..., TestClient]]:
    """Give a function that returns a client of a server with some limits."""

    def make(policy: DecisionPolicy | None = None, **limits: float) -> TestClient:
        app = make_app(lid, policy or lid.policy, "tiny <model>", Limits(**limits), ("localhost", "[::1]"))
        return TestClient(app, base_url=OWN, raise_server_exceptions=False)

    return make


@pytest.fixture
def client(client_of) -> TestClient:
    return client_of()


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Run an application in a thread; give its address."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield address_of(listening)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
