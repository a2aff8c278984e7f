"""A runner whose messages nobody reads still ends its jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from lid_toolkit.jobs.array import JobArray, make_array, parse_call
from lid_toolkit.jobs.log import JobOutcome, ProgressReport
from lid_toolkit.jobs.runner import run_array
from lid_toolkit.jobs.spool import Spool

LINES = "".join(f"epoch {number}, loss é\n" for number in range(10000))


@pytest.fixture
def pipe() -> Iterator[tuple[int, IO[str]]]:
    """A full pipe: the end to read, and a stream that writes; a test that waits for a reader fails."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.write(writer, b"." * 2**20)  # as many as there is room for
    os.set_blocking(writer, True)

    def fail(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(5)
    stream = open(writer, "w", encoding="utf-8")  # noqa: SIM115  # closed when nobody can read any more
    yield reader, stream
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    os.close(reader)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.fixture
def array(tmp_path: Path) -> JobArray:
    (tmp_path / "train.log").write_text(LINES, encoding="utf-8")
    return make_array(parse_call([f"{tmp_path}/train.log", "true"]))


def test_a_log_that_is_read_late_is_shown_whole(array: JobArray, pipe: tuple[int, IO[str]]):
    reader, stream = pipe
    progress = ProgressReport(array, stream)
    assert not progress.show([1], ended=0)
    read = b""
    while not progress.show([1], ended=0):
        read += os.read(reader, 65536)
    os.set_blocking(reader, False)
    read += os.read(reader, 1 << 20)
    assert read.lstrip(b".").decode() == LINES


class Stopped:
    """A backend whose job runs until the runner gets a signal."""

    poll_s, waiting = 0.01, ""
    looks = 0
    ended = False

    def step(self, _spool: Spool) -> dict[int, str]:
        self.looks += 1
        if self.looks == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    def end(self, _spool: Spool) -> None:
        self.ended = True


def test_a_signal_ends_the_jobs_though_nobody_reads(
    array: JobArray, pipe: tuple[int, IO[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stderr", pipe[1])
    (tmp_path / "spool").mkdir()
    backend = Stopped()
    with pytest.raises(SystemExit) as stop:
        run_array(array, backend, Spool(tmp_path / "spool"))
    assert stop.value.code == 128 + signal.SIGTERM
    assert backend.ended


class ReadAtLast(Stopped):
    """A backend whose job has ended; its log is read a little later."""

    def __init__(self, reader: int) -> None:
        self.reader = reader

    def step(self, spool: Spool) -> dict[int, str]:
        self.looks += 1
        spool.outcomes[1] = JobOutcome(1, 0, "", 1.0, 0)
        if self.looks > 2:
            os.read(self.reader, 65536)
        return {}


def test_the_end_of_a_log_is_shown_before_the_runner_ends(
    array: JobArray, pipe: tuple[int, IO[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reader, stream = pipe
    monkeypatch.setattr(sys, "stderr", stream)
    (tmp_path / "spool").mkdir()
    run_array(array, ReadAtLast(reader), Spool(tmp_path / "spool"))
    os.set_blocking(reader, False)
    assert os.read(reader, 1 << 20).decode().endswith(LINES[-500:])
