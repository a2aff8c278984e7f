"""An array of jobs in Kaldi's calling convention: ``[options] JOB=1:N LOG COMMAND...``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.errors import LidError, nearest

USAGE = "[--mem 4G] [--num-threads 2] [--gpu 1] [--time T] [--max-jobs-run 8] [JOB=1:N] LOG COMMAND..."
OPTIONS = ("mem", "num_threads", "gpu", "num_nodes", "time", "max_jobs_run", "nice", "name")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Resources:
    """What each job may use.

    Attributes:
        memory_bytes: a job that uses more is ended; None for no limit.
        threads: threads of numerical libraries.
        gpus: GPUs on each machine, not shared with other jobs.
        nodes: machines that run the command together; None for one machine without torchrun's variables.
        time_s: a job that takes longer is ended; None for no limit.
        max_running: jobs at a time; None leaves it to the backend.
        nice: priority as in nice(1), 0 to 19.
    """

    memory_bytes: int | None = None
    threads: int = 1
    gpus: int = 0
    nodes: int | None = None
    time_s: float | None = None
    max_running: int | None = None
    nice: int = 0


@dataclass(frozen=True)
class Call:
    """A parsed command line.

    Attributes:
        options: values of ``--name value`` by name, with underscores.
        passed: options with one hyphen, which are passed to the scheduler's submit command.
        variable: the name that is replaced by the job's number; ``""`` for a single command, not an array.
        first: number of the first job.
        last: number of the last job.
        log: path of the log, with the variable.
        command: words of the command, with the variable.
    """

    options: Mapping[str, str]
    passed: tuple[str, ...]
    variable: str
    first: int
    last: int
    log: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class JobArray:
    """The jobs of a call. In the log and the command of each, its number replaces the variable."""

    call: Call
    resources: Resources
    name: str

    @property
    def first(self) -> int:
        """Number of the first job."""
        return self.call.first

    @property
    def last(self) -> int:
        """Number of the last job."""
        return self.call.last

    @property
    def numbers(self) -> range:
        """Numbers of all jobs."""
        return range(self.first, self.last + 1)

    def __len__(self) -> int:
        return len(self.numbers)

    def log_of(self, number: int) -> Path:
        """Return the log file of a job."""
        return Path(self._fill(self.call.log, number))

    def command_of(self, number: int) -> list[str]:
        """Return the command line of a job."""
        return [self._fill(word, number) for word in self.call.command]

    def _fill(self, text: str, number: int) -> str:
        return text.replace(self.call.variable, str(number)) if self.call.variable else text


def parse_call(arguments: Sequence[str]) -> Call:
    """Parse Kaldi's calling convention; options may come before or after the range of jobs.

    Raises:
        LidError: an option has no value, the range is empty, or the log or command is missing.
    """
    options: dict[str, str] = {}
    passed: list[str] = []
    rest = _take_options(list(arguments), options, passed)
    array = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", rest[0]) if rest else None
    variable, first, last = "", 1, 1
    if array:
        variable, first, last = array[1], int(array[2]), int(array[3] or array[2])
        rest = _take_options(rest[1:], options, passed)
        if not 1 <= first <= last:
            raise LidError(f"no jobs: '{array[0]}'", where="jobs", mend="give JOB=1:N with N at least 1")
    if len(rest) < 2:
        raise LidError("the log or the command is missing", where="jobs", mend=f"usage: {USAGE}")
    log, *command = rest
    if last > first and variable not in log:
        raise LidError(
            f"all jobs have the same log '{log}'", where="jobs", mend=f"add {variable} to its name"
        )
    return Call(options, tuple(passed), variable, first, last, log, tuple(command))


def make_array(
    call: Call,
    defaults: Mapping[str, str] | None = None,
    known: Sequence[str] = OPTIONS,
    many_nodes: bool = False,
) -> JobArray:
    """Check a call's options and parse the resources among them.

    Args:
        call: the parsed command line.
        defaults: values of options that are not given.
        known: names of the options that the backend supports.
        many_nodes: whether the backend can run one job on several machines.

    Raises:
        LidError: an unknown option, an invalid value, or more than one machine without ``many_nodes``.
    """
    for name in call.options:
        if name not in known:
            option, options = _hyphened(name), [_hyphened(other) for other in known]
            raise LidError(f"unknown option {option}", where="jobs", mend=nearest(option, options))
    values = {**(defaults or {}), **call.options}
    name = values.get("name") or Path(call.log).name.split(".")[0] or "job"
    if not re.fullmatch(r"[\w.+-]+", name):
        name = re.sub(r"[^\w.+-]+", "_", name)
    resources = _resources(values)
    if (resources.nodes or 1) > 1 and not many_nodes:
        raise LidError("only slurm runs one job on several machines", where="jobs --num-nodes")
    return JobArray(call, resources, name)


def rerun_line(backend: str, array: JobArray, number: int) -> str:
    """Return the shell command that runs one job of the array again."""
    call = array.call
    options = [word for name, value in call.options.items() for word in (_hyphened(name), value)]
    job = [f"{call.variable}={number}:{number}"] if call.variable else []
    return shlex.join(["utils/jobs.sh", backend, *options, *call.passed, *job, call.log, *call.command])


def _hyphened(name: str) -> str:
    return "--" + name.replace("_", "-")


def _take_options(words: list[str], options: dict[str, str], passed: list[str]) -> list[str]:
    """Move the leading options of ``words`` to ``options`` and ``passed``; return the other words.

    As in Kaldi's queue.pl, the configuration says what ``--name value`` means, and ``-x value`` is passed to
    the submit command unchanged. ``-pe`` has two values. ``-V`` has none and is dropped, because jobs always
    get the environment.
    """
    while words and words[0].startswith("-"):
        option = words[0]
        values = {"-V": 0, "-pe": 2}.get(option, 1)
        if len(words) <= values:
            raise LidError(f"{option} needs a value", where="jobs", mend=f"usage: {USAGE}")
        if option.startswith("--"):
            options[option[2:].replace("-", "_")] = words[1]
        elif option != "-V":
            passed += words[: values + 1]
        words = words[values + 1 :]
    return words


def _resources(values: Mapping[str, str]) -> Resources:
    def whole(name: str, default: int, least: int) -> int:
        text = values.get(name, str(default))
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            raise LidError(
                f"'{text}' is not a whole number of at least {least}", where=f"jobs {_hyphened(name)}"
            )
        return int(text)

    return Resources(
        memory_bytes=parse_memory(values["mem"]) if values.get("mem", "0") != "0" else None,
        threads=whole("num_threads", 1, least=1),
        gpus=whole("gpu", 0, least=0),
        nodes=whole("num_nodes", 1, least=1) if "num_nodes" in values else None,
        time_s=parse_time(values["time"]) if "time" in values else None,
        max_running=whole("max_jobs_run", 1, least=1) if "max_jobs_run" in values else None,
        nice=min(19, whole("nice", 0, least=0)),
    )


def parse_memory(text: str) -> int:
    """Parse an amount of memory such as ``4G`` or ``500M``; return bytes. Units are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])B?", text.upper())
    if not match or not float(match[1]):
        raise LidError(f"'{text}' is not a valid size", where="jobs --mem", mend="for example 4G or 500M")
    return int(float(match[1]) * UNITS[match[2]])


def parse_time(text: str) -> float:
    """Parse a time as Slurm does, ``M``, ``M:S``, ``H:M:S`` or ``D-H[:M[:S]]``; return seconds."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise LidError(
            f"'{text}' is not a valid time",
            where="jobs --time",
            mend="for example 90 (minutes), 1:30:00 or 2-0",
        )
    days, *fields = (int(field or 0) for field in match.groups())
    if match[1] is not None or match[4] is not None:
        hours, minutes, seconds = fields
    else:
        hours, (minutes, seconds) = 0, fields[:2]
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
