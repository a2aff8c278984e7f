"""Backends ``slurm``, ``sge`` and ``pbs``: run the jobs as a job array of the scheduler."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.jobs.array import JobArray
from lid_toolkit.jobs.config import Config
from lid_toolkit.jobs.log import last_line
from lid_toolkit.jobs.schedulers import SINGLE, QueueState, Scheduler, array_range, ask
from lid_toolkit.jobs.spool import Spool

POLL_S = 0.25
FIRST_LOOK_S, LONGEST_LOOK_S = 3.0, 30.0
# On a network file system, a file may be visible on other machines only some seconds after it was written.
MISSING_S = 8.0
END_S = 45.0
NO_RULE_NEEDED = ("config", "max_jobs_run", "nice", "name")


class ClusterArray:
    """Submits an array, then watches the spool for outcomes and, less often, the scheduler's queue.

    An outcome is seen within half a second of a job's end, while ``sbatch --wait`` checks every 32 s. The
    queue is asked about jobs that end without writing an outcome: cancelled jobs, jobs that were killed for
    memory, and jobs on machines that crashed.
    """

    def __init__(self, scheduler: Scheduler, array: JobArray, config: Config) -> None:
        self.poll_s, self.waiting = POLL_S, ""
        self._scheduler, self._array, self._config = scheduler, array, config
        self._id = ""
        self._unfinished = set(array.numbers)
        self._missing: dict[int, float] = {}
        self._submitted = self._next_look = 0.0

    def step(self, spool: Spool) -> dict[int, str]:
        """Submit the array at the first call; return lost jobs with the reason."""
        if not self._id:
            self._id = submit(self._scheduler, self._array, self._config, spool)
            sys.stderr.write(f"{self._scheduler.title}: submitted {self._array.name} as job {self._id}\n")
            self._submitted = time.monotonic()
            self._next_look = self._submitted + FIRST_LOOK_S
        self._unfinished -= set(spool.outcomes)
        spool.ask_anew()
        now = time.monotonic()
        if now < self._next_look or not self._unfinished:
            return {}
        elapsed = 0.0 if self._missing else now - self._submitted
        self._next_look = now + min(max(FIRST_LOOK_S, elapsed / 10), LONGEST_LOOK_S)
        states = self._scheduler.states(self._id)
        if isinstance(states, str):
            self.waiting = f"the queue does not answer: {states}"
            return {}
        if SINGLE in states:
            states = {self._array.first: states[SINGLE]}
        self.waiting = _describe(states)
        return {number: why for number in self._unfinished if (why := self._fate(number, states, spool))}

    def end(self, spool: Spool) -> None:
        """Cancel the array if any of its jobs are left, and wait until they have ended."""
        if not self._id or not self._unfinished - set(spool.outcomes):
            return
        self._scheduler.cancel(self._id)
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            states = self._scheduler.states(self._id)
            if isinstance(states, str):
                ended = not spool.running()
            else:
                ended = all(state.kind == "ended" for state in states.values())
            if ended:
                return
            time.sleep(2 * POLL_S)
        sys.stderr.write(f"{self._scheduler.title}: {self._id} was cancelled, but is still in the queue\n")

    def _fate(self, number: int, states: Mapping[int, QueueState], spool: Spool) -> str:
        """Return why a job is lost; ``""`` if it may still end, or never started because another failed."""
        if spool.stopped and not spool.has_started(number):
            return ""
        state = states.get(number, QueueState("nothing", "ended"))
        if state.kind == "stuck":
            return f"{self._scheduler.title} cannot start it: {state.word}"
        if state.kind != "ended":
            self._missing.pop(number, None)
            return ""
        if time.monotonic() - self._missing.setdefault(number, time.monotonic()) < MISSING_S:
            return ""
        said = last_line(spool.output_of(number))
        known = "no longer lists it" if state.word == "nothing" else f"reports {state.word}"
        return f"ended without writing its outcome; {self._scheduler.title} {known}{said and ': '}{said}"


def submit(scheduler: Scheduler, array: JobArray, config: Config, spool: Spool) -> str:
    """Submit an array to the scheduler; return its id in the queue.

    Raises:
        LidError: the scheduler refuses it.
    """
    if (array.resources.nodes or 1) > 1:
        spool.save_array(across_machines(array))
    script = spool.path / "script.sh"
    with write_whole(script) as stream:
        stream.write(script_text(scheduler, array, spool.path))
    script.chmod(0o755)
    command = submit_command(scheduler, array, config, spool.path)
    answer = ask(command)
    array_id = re.search(scheduler.id_pattern, answer.stdout, re.MULTILINE)
    if answer.returncode or not array_id:
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines() or ["no answer"]
        raise LidError(
            f"refused the jobs: {said[-1]}",
            where=command[0],
            mend=f"its arguments: {shlex.join(command[1:-1])}",
        )
    with write_whole(spool.path / "queue_id") as stream:
        stream.write(f"{scheduler.name} {array_id[0]}")
    return array_id[0]


def submit_command(scheduler: Scheduler, array: JobArray, config: Config, spool: Path) -> list[str]:
    """Return the command line that submits an array."""
    values = {**config.defaults, **array.call.options}
    if array.resources.time_s is not None and ("time", values["time"]) not in config.rules:
        minutes, seconds = divmod(round(array.resources.time_s), 60)
        values["time"] = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if ("array", "*") in config.rules and len(array) > 1:
        values["array"] = array_range(array, "%")
    known = config.options
    values = {name: value for name, value in values.items() if name in known or name not in NO_RULE_NEEDED}
    words = config.words_for(values)
    own = scheduler.own_words(array, spool)
    return [*config.command, *words, *array.call.passed, *own, str(spool / "script.sh")]


def script_text(scheduler: Scheduler, array: JobArray, spool: Path) -> str:
    """Return the shell script that a scheduler runs for each job."""
    number = str(array.first) if len(array) == 1 else scheduler.number
    task = shlex.join([sys.executable, "-m", "lid_toolkit.jobs.task", str(spool)])
    return f"#!/bin/sh\ncd {shlex.quote(str(Path.cwd()))} || exit\nexec {task} {number}\n"


def across_machines(array: JobArray) -> JobArray:
    """Return the array with a command that Slurm's ``srun`` starts once on each of a job's machines."""
    nodes = str(array.resources.nodes)
    step = ["srun", "--nodes", nodes, "--ntasks", nodes, "--ntasks-per-node", "1", "--kill-on-bad-exit=1"]
    step += ["--cpus-per-task", str(array.resources.threads)]
    command = (*step, sys.executable, "-m", "lid_toolkit.jobs.node", *array.call.command)
    return replace(array, call=replace(array.call, command=command))


def _describe(states: Mapping[int, QueueState]) -> str:
    """Return how many jobs wait, and the reason that the queue gives for the first of them."""
    waiting = [state.word for _, state in sorted(states.items()) if state.kind in ("waits", "stuck")]
    return f"{len(waiting)} wait ({waiting[0]})" if waiting else ""
