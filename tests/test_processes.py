"""What happens to a process when its parent ends."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys

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


FAULTS = """
import resource
import numpy
from lid_toolkit.processes import keep_freed_memory

def use():
    arrays = [numpy.ones(1 << 18) for _ in range(3)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
use()
before = faults()
for _ in range(20):
    use()
print(faults() - before)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="only glibc can be told to keep memory")
def test_kept_memory_is_not_filled_with_zeros_again():
    """Each of the 60 arrays has 512 pages."""
    words = [sys.executable, "-c", FAULTS]
    faults = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert faults < 60
