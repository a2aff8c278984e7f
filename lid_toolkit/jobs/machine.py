"""What this machine has and what jobs use of it: cores, GPUs and, from ``/proc``, memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def count_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def list_gpus() -> list[str]:
    """Return the GPUs this process may use, in the terms of ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, _ in enumerate(line for line in listing.splitlines() if line.startswith("GPU"))]


def session_memory() -> dict[int, int]:
    """Return the bytes of memory that the processes of each session hold, by session id.

    Memory shared between processes counts once (proportional set size). Empty where there is no
    ``/proc`` (see proc(5), files ``stat`` and ``smaps_rollup``).
    """
    held: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
            rollup = (process / "smaps_rollup").read_text()
        except (OSError, ValueError, IndexError):
            continue
        size_kb = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        held[session] = held.get(session, 0) + size_kb * 1024
    return held
