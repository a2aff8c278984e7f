"""GPUs of this machine, and the processes and memory of its jobs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path


def list_gpus() -> list[str]:
    """Return the GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, _ in enumerate(line for line in listing.splitlines() if line.startswith("GPU"))]


def runs(pid: int) -> bool:
    """Return whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def descendants() -> list[int]:
    """Return the processes below this one: its children, theirs, and so on."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _parents() -> Iterable[tuple[int, int]]:
    """Yield ``(process, parent)`` from proc(5), or from ps(1) where there is no ``/proc``."""
    processes = list(Path("/proc").glob("[0-9]*/stat"))
    for path in processes:
        try:
            yield int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    if not processes:
        with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
            rows = [tuple(map(int, line.split())) for line in ps.stdout or ()]
        yield from ((pid, parent) for pid, parent in rows if pid != ps.pid)


def memory_of(processes: Iterable[int]) -> int:
    """Return the bytes of memory that processes use together; 0 on systems without ``/proc``.

    The proportional set size is summed (``smaps_rollup`` in proc(5)), so that memory which processes share
    counts once. Data-loading workers share most of their memory with the training process.
    """
    held_kb = 0
    for pid in processes:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        held_kb += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return held_kb * 1024
