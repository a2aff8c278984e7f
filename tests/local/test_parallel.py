"""Work in other processes: in order, without traces, and no process left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lid_toolkit.errors import LidError
from local.parallel import isolated, parallel

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_tasks(jobs):
    tasks = [f"{number:03}/x" for number in range(50)]
    assert list(parallel(os.path.dirname, tasks, jobs, "test")) == [task[:3] for task in tasks]


def test_an_error_of_a_task_is_raised_here():
    with pytest.raises(FileNotFoundError):
        list(parallel(os.stat, ["/", "/no/such/file"], 1, "test"))


def test_a_killed_process_is_told_in_one_line():
    with pytest.raises(LidError, match="a process was killed"):
        list(parallel(signal.raise_signal, [signal.SIGKILL], 1, "test"))


def test_isolated_work_leaves_no_trace():
    library = ctypes.CDLL(None)
    library.srand(7)
    first = isolated(library.rand)
    assert [isolated(library.rand) for _ in range(3)] == [first] * 3
    assert library.rand() == first


def test_a_failure_in_isolation_is_raised(capfd):
    with pytest.raises(RuntimeError, match="status 1"):
        isolated(int, "x")
    assert "ValueError" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_processes_end_with_a_killed_parent(tmp_path):
    """Each task takes 0.2 s and leaves a file; after the parent's death there are no new ones."""
    code = (
        "import os, time\nfrom local.parallel import parallel\n"
        "def work(n):\n    time.sleep(0.2)\n    open(str(n), 'w').close()\n"
        "if __name__ == '__main__':\n    list(parallel(work, range(100), 1, 'test'))\n"
    )
    script = tmp_path / "work.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 30
    while not (tmp_path / "0").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    time.sleep(0.1)
    done = set(tmp_path.iterdir())
    time.sleep(0.6)
    assert tmp_path / "0" in done
    assert set(tmp_path.iterdir()) == done
