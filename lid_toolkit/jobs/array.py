"""An array of jobs in Kaldi's calling convention: ``[options] JOB=1:N LOG COMMAND...``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.errors import LidError, nearest

USAGE = "[--mem 4G] [--num-threads 2] [--gpu 1] [--time T] [--max-jobs-run 8] [JOB=1:N] LOG COMMAND..."
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Resources:
    """What each job may use.

    Attributes:
        memory_bytes: a job that holds more is ended; None sets no limit.
        threads: threads of numerical libraries.
        gpus: GPUs of its own.
        time_s: a job that takes longer is ended; None sets no limit.
        max_running: jobs at the same time; None leaves it to the backend.
    """

    memory_bytes: int | None = None
    threads: int = 1
    gpus: int = 0
    time_s: float | None = None
    max_running: int | None = None


@dataclass(frozen=True)
class JobArray:
    """Jobs ``first`` to ``last`` of a command; ``variable`` in ``log`` and ``command`` is the job's number.

    ``variable`` is ``""`` for a single command that is no array.
    """

    variable: str
    first: int
    last: int
    log: str
    command: tuple[str, ...]
    resources: Resources

    def __len__(self) -> int:
        return self.last - self.first + 1

    def log_of(self, number: int) -> Path:
        """Return the log file of a job."""
        return Path(self._fill(self.log, number))

    def command_of(self, number: int) -> list[str]:
        """Return the command line of a job."""
        return [self._fill(word, number) for word in self.command]

    def _fill(self, text: str, number: int) -> str:
        return text.replace(self.variable, str(number)) if self.variable else text


def parse_array(arguments: Sequence[str]) -> JobArray:
    """Parse Kaldi's calling convention; hyphens and underscores in option names are the same.

    Raises:
        LidError: an unknown option, a wrong value, a range that is none, or no log or command.
    """
    options, rest = _split_options(list(arguments))
    array = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", rest[0]) if rest else None
    variable, first, last = "", 1, 1
    if array:
        variable, first, last = array[1], int(array[2]), int(array[3] or array[2])
        rest = rest[1:]
        if not 1 <= first <= last:
            raise LidError(f"'{array[0]}' names no jobs", where="jobs", mend="give JOB=1:N with N at least 1")
    if len(rest) < 2:
        raise LidError("no log or no command", where="jobs", mend=USAGE)
    log, *command = rest
    if last > first and variable not in log:
        raise LidError(
            f"log '{log}' is the same for all jobs", where="jobs", mend=f"put {variable} into its name"
        )
    return JobArray(variable, first, last, log, tuple(command), _resources(options))


def rerun_line(backend: str, array: JobArray, number: int) -> str:
    """Return the shell command that runs one job of the array again."""
    job = [f"{array.variable}={number}:{number}"] if array.variable else []
    return shlex.join(["utils/jobs.sh", backend, *job, array.log, *array.command])


def _split_options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    known = ("--mem", "--num-threads", "--gpu", "--time", "--max-jobs-run")
    options: dict[str, str] = {}
    while arguments and arguments[0].startswith("--"):
        name = arguments[0].replace("_", "-")
        if name not in known:
            raise LidError(f"unknown option {arguments[0]}", where="jobs", mend=nearest(name, known))
        if len(arguments) < 2:
            raise LidError(f"{name} needs a value", where="jobs", mend=USAGE)
        options[name] = arguments[1]
        arguments = arguments[2:]
    return options, arguments


def _resources(options: dict[str, str]) -> Resources:
    return Resources(
        memory_bytes=parse_memory(options["--mem"]) if "--mem" in options else None,
        threads=_whole("--num-threads", options, default=1, least=1),
        gpus=_whole("--gpu", options, default=0, least=0),
        time_s=parse_time(options["--time"]) if "--time" in options else None,
        max_running=_whole("--max-jobs-run", options, 0, least=1) if "--max-jobs-run" in options else None,
    )


def _whole(name: str, options: dict[str, str], default: int, least: int) -> int:
    text = options.get(name, str(default))
    if not re.fullmatch(r"\d+", text) or int(text) < least:
        raise LidError(f"'{text}' is not a whole number of at least {least}", where=f"jobs {name}")
    return int(text)


def parse_memory(text: str) -> int:
    """Parse ``4G``, ``500M`` or a number of bytes; units are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?", text.upper())
    if not match or not float(match[1]):
        raise LidError(f"'{text}' is no amount of memory", where="jobs --mem", mend="for example 4G or 500M")
    return int(float(match[1]) * UNITS[match[2]])


def parse_time(text: str) -> float:
    """Parse Slurm's forms of a duration and return seconds: ``M``, ``M:S``, ``H:M:S``, ``D-H[:M[:S]]``."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise LidError(
            f"'{text}' is no duration", where="jobs --time", mend="for example 90 (minutes), 1:30:00 or 2-0"
        )
    days, *fields = (int(field or 0) for field in match.groups())
    if match[1] is not None or match[4] is not None:
        hours, minutes, seconds = fields
    else:
        hours, (minutes, seconds) = 0, fields[:2]
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
