"""What happens to a process when its parent ends."""

from __future__ import annotations

import os
import signal

import pytest

from lid_toolkit import processes


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the kernel is asked for, and what this process sends itself."""
    done: list[tuple[str, int]] = []
    monkeypatch.setattr(processes, "_prctl", lambda option, value: done.append((f"prctl {option}", value)))
    monkeypatch.setattr(processes.os, "kill", lambda pid, number: done.append((f"kill {pid}", number)))
    return done


def test_parent_that_asks_takes_its_child_along(asked, monkeypatch):
    monkeypatch.setenv("LID_PARENT", str(os.getppid()))
    processes.stop_with_parent()
    assert asked == [("prctl 1", signal.SIGTERM)]
    assert "LID_PARENT" not in os.environ
    processes.stop_with_parent()
    assert len(asked) == 1


def test_parent_that_ended_meanwhile_is_noticed(asked, monkeypatch):
    monkeypatch.setenv("LID_PARENT", str(os.getppid() + 1))
    processes.stop_with_parent()
    assert asked[1:] == [(f"kill {os.getpid()}", signal.SIGTERM)]


@pytest.mark.parametrize("value", ["", "x"])
def test_parent_that_does_not_ask(asked, monkeypatch, value):
    monkeypatch.setenv("LID_PARENT", value)
    processes.stop_with_parent()
    assert asked == []
