"""Backends ``local`` and ``ssh``: run the jobs as processes on this machine or on a list of machines."""

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

from lid_toolkit.cores import count_cores
from lid_toolkit.errors import LidError
from lid_toolkit.jobs.array import JobArray, Resources
from lid_toolkit.jobs.config import Config
from lid_toolkit.jobs.log import last_line
from lid_toolkit.jobs.machine import list_gpus
from lid_toolkit.jobs.spool import Spool
from lid_toolkit.jobs.warden import GRACE_S

POLL_S = 0.05
SSH_FAILED = 255  # ssh(1), exit status
# Variables to set on other machines, where a shell does not have them: the code to run, the text encoding,
# the cache of models, and how threads wait.
SENT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "PYTHONUTF8", "HF_HOME", "OMP_WAIT_POLICY")


@dataclass
class Host:
    """A machine that runs jobs.

    Attributes:
        shell: words of the command that runs a command line there; empty for this machine.
        name: its name in messages.
        slots: how many more jobs it can run now.
        gpus: the GPUs that no job uses now.
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


def this_machine(array: JobArray) -> list[Host]:
    """Return this machine, with a slot for each ``threads`` cores, or ``max_running`` slots if that is given.

    Raises:
        LidError: a job needs more GPUs than there are.
    """
    wanted = array.resources
    gpus = list_gpus() if wanted.gpus else []
    if wanted.gpus > len(gpus):
        raise LidError(
            f"each job needs {wanted.gpus} GPUs, but this machine has {len(gpus)}", where="jobs --gpu"
        )
    return [Host((), "this machine", wanted.max_running or max(1, count_cores() // wanted.threads), gpus)]


def machines_of(config: Config, array: JobArray) -> list[Host]:
    """Return the configured machines that have enough cores and GPUs for a job.

    Raises:
        LidError: there is no such machine.
    """
    wanted = array.resources
    hosts = [
        Host(
            (*config.command, machine.host),
            machine.host,
            machine.cores // wanted.threads,
            [str(number) for number in range(machine.gpus)] if wanted.gpus else [],
        )
        for machine in config.machines
    ]
    hosts = [host for host in hosts if host.has_room(wanted)]
    if not hosts:
        raise LidError(
            f"no machine has the {wanted.threads} cores and {wanted.gpus} GPUs that each job needs",
            where=config.path,
            mend="add: machine HOST CORES [GPUS]",
        )
    return hosts


@dataclass
class _Running:
    number: int
    host: Host
    gpus: list[str]
    process: subprocess.Popen[bytes]


class Pool:
    """Runs jobs as processes on its hosts, as many at a time as there are slots.

    The standard input of each process is a pipe from this one. The process ends its job when the pipe closes.
    That happens however this process ends, even by SIGKILL, and it also works through ssh.
    """

    def __init__(self, array: JobArray, hosts: list[Host]) -> None:
        self.poll_s, self.waiting = POLL_S, ""
        self._wanted = array.resources
        self._most = array.resources.max_running or len(array)
        self._hosts = hosts
        self._queue = list(array.numbers)
        self._running: list[_Running] = []

    def step(self, spool: Spool) -> dict[int, str]:
        """Start as many jobs as there are slots for; return lost jobs with the reason."""
        if any(host.shell for host in self._hosts):
            spool.ask_anew()
        lost = self._reap(spool)
        while self._queue and self._hosts and len(self._running) < self._most and not spool.stopped:
            host = next((host for host in self._hosts if host.has_room(self._wanted)), None)
            if host is None:
                break
            self._start(spool, self._queue.pop(0), host)
        if not self._hosts:
            lost |= dict.fromkeys(self._queue, "no machine can be reached")
        return lost

    def end(self, _spool: Spool) -> None:
        """End all jobs and their children, by SIGTERM and after a grace period by SIGKILL."""
        for job in self._running:
            _close_lifeline(job.process)
        deadline = time.monotonic() + GRACE_S + 5
        while any(job.process.poll() is None for job in self._running) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for job in self._running:
            _kill(job.process)
        self._running = []

    def _start(self, spool: Spool, number: int, host: Host) -> None:
        gpus = [host.gpus.pop(0) for _ in range(self._wanted.gpus)]
        host.slots -= 1
        task = [sys.executable, "-m", "lid_toolkit.jobs.task", str(spool.path), str(number), "--guarded"]
        with open(spool.output_of(number), "wb") as output:
            process = subprocess.Popen(
                host.command([*task, "--gpus", ",".join(gpus)] if gpus else task),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running.append(_Running(number, host, gpus, process))

    def _reap(self, spool: Spool) -> dict[int, str]:
        """Free the slots and GPUs of jobs that have ended; return lost jobs with the reason."""
        ended = [job for job in self._running if job.process.poll() is not None]
        if not ended:
            return {}
        started = [*spool.running(), *spool.outcomes]
        lost = {}
        for job in ended:
            self._running.remove(job)
            _kill(job.process)
            job.host.gpus += job.gpus
            job.host.slots += 1
            if job.host.shell and job.process.returncode == SSH_FAILED and job.number not in started:
                self._leave(spool, job)
            # After a failure, a job that has not started returns at once without an outcome. It is not lost.
            elif job.number not in spool.outcomes and (job.number in started or not spool.stopped):
                said = last_line(spool.output_of(job.number))
                lost[job.number] = (
                    f"lost on {job.host.name}, exit code {job.process.returncode}{said and ': '}{said}"
                )
        return lost

    def _leave(self, spool: Spool, job: _Running) -> None:
        """Remove a host that cannot be reached, and put its job back into the queue."""
        if job.host in self._hosts:
            said = last_line(spool.output_of(job.number))
            sys.stderr.write(f"{job.host.name}: not used: {said or 'ssh failed'}\n")
            self._hosts.remove(job.host)
        self._queue.insert(0, job.number)


def _close_lifeline(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all others in its session, and wait for it."""
    _close_lifeline(process)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
