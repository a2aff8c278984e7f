"""The number of cores that a process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath


def count_cores() -> int:
    """Return the number of cores this process may use, by its affinity and its cgroup's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, int(min(cores, quota)))


def cgroup_quota(membership: Path, root: Path) -> float:
    """Return how many cores' worth of time a process may take by its cgroup; infinity without a limit.

    A container or a scheduler sets ``cpu.max`` ("QUOTA PERIOD", cgroups(7) version 2) of the process's
    cgroup or of one above it; the smallest applies.

    Args:
        membership: ``/proc/self/cgroup``, which names the cgroup in a line ``0::PATH``.
        root: where the cgroups are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    quota = math.inf
    for path in (PurePosixPath(line[3:]) for line in lines if line.startswith("0::")):
        for group in (path, *path.parents):
            try:
                limit, period = (root / group.relative_to("/") / "cpu.max").read_text().split()
            except (OSError, ValueError):
                continue
            if limit != "max":
                quota = min(quota, int(limit) / int(period))
    return quota
