"""The server: overload, slow and leaving clients, signals, and a load with broken uploads."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from serve.conftest import running, spoken
from serve_load import broken, measure

from lid_toolkit.commands.serve import main, name_of
from lid_toolkit.errors import LidError
from lid_toolkit.serve import http, upload
from lid_toolkit.serve.app import REFUSALS, make_app
from lid_toolkit.serve.limits import Limits
from lid_toolkit.serve.options import Options
from lid_toolkit.serve.server import LOOPBACK, address_of, listen


@contextlib.contextmanager
def serving(model) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run ``lid serve`` on a free port; give the process and the address."""
    command = [sys.executable, "-m", "lid_toolkit.commands", "serve", "--model", str(model), "--port", "0"]
    process = subprocess.Popen([*command, "--threads", "1"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"http://\S+", line) for line in process.stderr)))
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def post(url: str, audio: bytes, query: str = "") -> tuple[int, dict, str | None]:
    """Return status, content and Retry-After of an answer."""
    try:
        with urlopen(Request(f"{url}/identify{query}", data=audio), timeout=60) as answer:
            return answer.status, json.load(answer), None
    except HTTPError as error:
        return error.code, json.load(error), error.headers["Retry-After"]


def held(url: str) -> socket.socket:
    """Return a connection that has begun an upload, which takes a place, and does not end it."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    head = f"POST /identify?vad=none HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(AUDIO)}\r\n\r\n"
    connection.sendall(head.encode() + AUDIO[:100])
    return connection


def requests_of(url: str) -> int:
    with urlopen(f"{url}/healthz", timeout=60) as answer:
        return json.load(answer)["requests"]


def until_taken(url: str, count: int) -> None:
    """Wait until a number of places is taken."""
    end = time.monotonic() + 60
    while requests_of(url) != count:
        assert time.monotonic() < end
        time.sleep(0.02)


AUDIO = spoken()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(lid) -> Iterator[str]:
    with running(make_app(lid, lid.policy, "tiny", Limits(workers=1, waiting=1), LOOPBACK)) as url:
        yield url


def test_too_many_requests_are_told_when_to_come_back(server):
    first, second = held(server), held(server)
    until_taken(server, 2)
    status, content, retry_after = post(server, AUDIO * 20)
    assert (status, content) == (429, {"detail": "too many requests at a time: try again later"})
    assert int(retry_after or 0) >= 1
    first.sendall(AUDIO[100:])  # an upload that was admitted is answered
    assert first.recv(100).startswith(b"HTTP/1.1 200 OK")
    second.close()
    until_taken(server, 0)  # the place of a client that left is free again
    assert post(server, AUDIO)[0] == 200


def dribbled(host: str, port: int, length: int) -> bytes:
    """Send a byte now and then until the server answers; return the answer, or nothing if it was lost."""
    answer, begun = b"", time.monotonic()
    with socket.create_connection((host, port), timeout=0.02) as connection:
        head = f"POST /identify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        while not answer.endswith(b"}"):  # never a pause of the length of the deadline
            assert time.monotonic() - begun < 20
            try:
                received = connection.recv(1000)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    connection.sendall(b"0")
                continue
            except OSError:
                return b""
            if not received:
                return b""
            answer += received
    return answer


@pytest.mark.parametrize(
    ("length", "status", "sentence"),
    [
        (10_000, 408, "the upload took longer than 0.4 s: send a shorter recording"),
        (3 << 20, 413, "the upload is larger than 1 MiB: send a shorter recording"),  # refused at once
    ],
)
def test_an_upload_of_a_byte_now_and_then_has_a_deadline(lid, monkeypatch, length, status, sentence):
    monkeypatch.setattr(upload, "DISCARD_SECONDS", 0.4)
    limits = Limits(max_bytes=1 << 20, upload_seconds=0.4)
    with running(make_app(lid, lid.policy, "tiny", limits, LOOPBACK)) as url:
        host, port = url.removeprefix("http://").split(":")
        # TCP drops an answer that is not read yet when a byte reaches a closed connection. Then try again.
        answer = next(filter(None, (dribbled(host, int(port), length) for _ in range(5))))
        until_taken(url, 0)
        assert post(url, AUDIO)[0] == 200
    head, content = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(content) == {"detail": sentence}


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_headers_of_a_byte_now_and_then_have_a_deadline(lid, monkeypatch, earlier):
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.4)
    with running(make_app(lid, lid.policy, "tiny", Limits(), LOOPBACK)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            if earlier:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(10_000).startswith(b"HTTP/1.1 200 OK")
            begun = time.monotonic()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012  # by who is faster
                while True:
                    assert time.monotonic() - begun < 20
                    connection.sendall(b"G")
                    time.sleep(0.05)
        assert time.monotonic() - begun > 0.3
        assert post(url, AUDIO)[0] == 200


def test_an_upload_may_take_longer_than_its_headers(lid, monkeypatch):
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.2)
    with running(make_app(lid, lid.policy, "tiny", Limits(), LOOPBACK)) as url, held(url) as connection:
        time.sleep(0.5)
        connection.sendall(AUDIO[100:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_load_with_broken_uploads(server, lid):
    report = measure(server, lid, [spoken(0.6, seed) for seed in range(4)], requests=24, clients=6)
    assert report.wrong == []
    assert report.statuses[200] == 24 - sum(broken(number) for number in range(24))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_documentation_work(server, tmp_path):
    (tmp_path / "a.wav").write_bytes(AUDIO)
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(commands) == 4
    for command in commands:
        own = command.replace("http://localhost:8000", server).replace("fin,Turkish", "low,high")
        done = subprocess.run(["sh", "-c", own], cwd=tmp_path, capture_output=True, timeout=60, check=True)
        assert "detail" not in json.loads(done.stdout)
    for name in (*Options.model_fields, *map(str, REFUSALS)):
        assert re.search(rf"`{name}`|\| {name} \|", text), name


def test_sigterm_answers_what_was_admitted(model_file):
    with serving(model_file) as (process, url):
        connection = held(url)
        until_taken(url, 1)
        process.send_signal(signal.SIGTERM)
        threading.Timer(0.3, connection.sendall, [AUDIO[100:]]).start()
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        connection.close()
        assert process.wait(60) == 0
        with pytest.raises(OSError, match="refused"):
            urlopen(url, timeout=10)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "70000"], "'70000' is not a whole number from 0 to 65535"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid:8000: cannot listen"),
        (["--languages", "klingon", "--port", "0"], "klingon"),
        (["--max_mb", "0"], "'0' is not a whole number of at least 1"),
        (["--policy", "missing.yaml", "--port", "0"], "missing.yaml: does not exist"),
    ],
)
def test_wrong_options_are_told_before_serving(model_file, options, sentence):
    with pytest.raises(LidError, match=re.escape(sentence)):
        main(["--model", str(model_file), "--threads", "1", *options])


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(LidError, match=f"127.0.0.1:{port}: cannot listen: Address already in use"):
            listen("127.0.0.1", port)


def test_the_address_is_one_that_a_browser_can_open():
    with listen("127.0.0.1", 0) as v4:
        assert address_of(v4) == f"http://localhost:{v4.getsockname()[1]}"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("exp/a/best.pth", "a"),
        ("best.pth", "best.pth"),
        ("exp/a", "a"),
        ("b/a.zip", "a.zip"),
        ("user/repo", "repo"),
    ],
)
def test_the_page_has_a_name_for_the_model(model, name):
    assert name_of(model) == name


def test_missing_packages_are_named(model_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(LidError, match=r"lid serve: needs uvicorn \(pip install 'lid_toolkit\[serve\]'\)"):
        main(["--model", str(model_file)])
