"""Backends ``local`` and ``ssh``: jobs as processes of this machine or of a list of others."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.jobs.array import JobArray, Resources
from lid_toolkit.jobs.config import Config
from lid_toolkit.jobs.log import last_line
from lid_toolkit.jobs.machine import count_cores, list_gpus
from lid_toolkit.jobs.spool import Spool
from lid_toolkit.jobs.warden import GRACE_S

POLL_S = 0.05
SSH_FAILED = 255  # ssh(1), exit status
# Settings that a shell on another machine lacks: which code runs, and how it reads text and waits.
SENT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "PYTHONUTF8", "HF_HOME", "OMP_WAIT_POLICY")


@dataclass
class Place:
    """A machine with room for jobs.

    Attributes:
        shell: words that run a command line there; none here.
        name: what messages call it.
        slots: how many more jobs it takes.
        gpus: those that no job has.
    """

    shell: tuple[str, ...]
    name: str
    slots: int
    gpus: list[str]

    def has_room(self, wanted: Resources) -> bool:
        """Return whether another job can start."""
        return self.slots > 0 and len(self.gpus) >= wanted.gpus

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the command that runs ``words`` there, in this directory."""
        if not self.shell:
            return list(words)
        settings = [f"{name}={os.environ[name]}" for name in SENT if name in os.environ]
        return [
            *self.shell,
            f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(['env', *settings, *words])}",
        ]


def this_machine(array: JobArray) -> list[Place]:
    """Return this machine, with as many slots as it has cores or as ``--max-jobs-run`` says.

    Raises:
        LidError: a job wants more GPUs than there are, or more than one machine.
    """
    wanted = array.resources
    gpus = list_gpus() if wanted.gpus else []
    if wanted.gpus > len(gpus):
        raise LidError(f"each job wants {wanted.gpus} GPUs, this machine has {len(gpus)}", where="jobs --gpu")
    _refuse_many_nodes(wanted)
    return [Place((), "this machine", wanted.max_running or max(1, count_cores() // wanted.threads), gpus)]


def machines_of(config: Config, array: JobArray) -> list[Place]:
    """Return the machines of a list that can take a job at all.

    Raises:
        LidError: none of them can.
    """
    wanted = array.resources
    _refuse_many_nodes(wanted)
    places = [
        Place(
            (*config.command, machine.host),
            machine.host,
            machine.cores // wanted.threads,
            [str(number) for number in range(machine.gpus)] if wanted.gpus else [],
        )
        for machine in config.machines
    ]
    places = [place for place in places if place.has_room(wanted)]
    if not places:
        raise LidError(
            f"no machine has {wanted.threads} cores and {wanted.gpus} GPUs for a job",
            where=config.path,
            mend="add: machine HOST CORES [GPUS]",
        )
    return places


def _refuse_many_nodes(wanted: Resources) -> None:
    if (wanted.nodes or 1) > 1:
        raise LidError("jobs across machines need Slurm", where="jobs --num-nodes", mend="cmd_backend=slurm")


@dataclass
class _Running:
    number: int
    place: Place
    gpus: list[str]
    process: subprocess.Popen[bytes]


class Pool:
    """Runs jobs as processes at some places, as many at the same time as there is room for.

    Each process holds a pipe to this one as its standard input, and ends its job when that closes:
    however this process ends, and over ssh too.
    """

    def __init__(self, array: JobArray, places: list[Place]) -> None:
        self.poll_s, self.waiting = POLL_S, ""
        self._wanted = array.resources
        self._most = array.resources.max_running or len(array)
        self._places = places
        self._queue = list(array.numbers)
        self._running: list[_Running] = []

    def step(self, spool: Spool) -> dict[int, str]:
        """Start as many jobs as there is room for; return those whose process ended without a word."""
        if any(place.shell for place in self._places):
            spool.ask_anew()
        lost = self._reap(spool)
        while self._queue and self._places and len(self._running) < self._most and not spool.stopped:
            place = next((place for place in self._places if place.has_room(self._wanted)), None)
            if place is None:
                break
            self._start(spool, self._queue.pop(0), place)
        if not self._places:
            lost |= dict.fromkeys(self._queue, "no machine can be reached")
        return lost

    def end(self, _spool: Spool) -> None:
        """End all jobs and their children, by SIGTERM and after a while by SIGKILL."""
        for job in self._running:
            _close_lifeline(job.process)
        deadline = time.monotonic() + GRACE_S + 5
        while any(job.process.poll() is None for job in self._running) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for job in self._running:
            _kill(job.process)
        self._running = []

    def _start(self, spool: Spool, number: int, place: Place) -> None:
        gpus = [place.gpus.pop(0) for _ in range(self._wanted.gpus)]
        place.slots -= 1
        task = [sys.executable, "-m", "lid_toolkit.jobs.task", str(spool.path), str(number), "--guarded"]
        with open(spool.output_of(number), "wb") as output:
            process = subprocess.Popen(
                place.command([*task, "--gpus", ",".join(gpus)] if gpus else task),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running.append(_Running(number, place, gpus, process))

    def _reap(self, spool: Spool) -> dict[int, str]:
        """Free the places of the jobs that have ended; return those that left no outcome."""
        ended = [job for job in self._running if job.process.poll() is not None]
        if not ended:
            return {}
        started = [*spool.running(), *spool.outcomes]
        lost = {}
        for job in ended:
            self._running.remove(job)
            _kill(job.process)
            job.place.gpus += job.gpus
            job.place.slots += 1
            if job.place.shell and job.process.returncode == SSH_FAILED and job.number not in started:
                self._leave(spool, job)
            # After a failure a job that has not started returns without a word: it is not lost.
            elif job.number not in spool.outcomes and (job.number in started or not spool.stopped):
                said = last_line(spool.output_of(job.number))
                lost[job.number] = (
                    f"lost on {job.place.name}, code {job.process.returncode}{said and ': '}{said}"
                )
        return lost

    def _leave(self, spool: Spool, job: _Running) -> None:
        """Give up a machine that cannot be reached, and queue its job again."""
        if job.place in self._places:
            said = last_line(spool.output_of(job.number))
            sys.stderr.write(f"{job.place.name}: left out: {said or 'ssh failed'}\n")
            self._places.remove(job.place)
        self._queue.insert(0, job.number)


def _close_lifeline(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of the session that it leads, and wait for it."""
    _close_lifeline(process)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
