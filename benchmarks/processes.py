"""Measure the time and memory of commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Figures(NamedTuple):
    """Figures of one process: wall time and CPU time in seconds, and peak resident memory in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float

    def __str__(self) -> str:
        return f"{self.seconds:8.1f} s, {self.cpu_seconds:6.1f} s of a core, {self.peak_mib:6.0f} MiB"


def python(script: str | Path, *arguments: object, interpreter: Path | None = None) -> Figures:
    """Run a Python script of the repository and return its figures. If it fails, the benchmark ends.

    ``interpreter`` is the Python of another toolkit, which then cannot import this one.
    """
    words = [interpreter or sys.executable, ROOT / script, *arguments]
    return command(words, PYTHONPATH="" if interpreter else str(ROOT))


def command(words: Sequence[object], **environment: str) -> Figures:
    """Run a command and return its figures, with its children. If it fails, the benchmark ends."""
    started = time.monotonic()
    process = subprocess.Popen(
        [*map(str, words)],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    errors = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(
            f"error: {' '.join(map(str, words))} ended with exit code {process.returncode}\n{errors}"
        )
    return Figures(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
