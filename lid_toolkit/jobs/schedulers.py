"""The schedulers Slurm, Grid Engine and PBS: how each submits, lists and cancels an array.

Sources: sbatch(1), squeue(1), scancel(1) of Slurm; qsub(1), qstat(1), qdel(1) of Grid Engine; OpenPBS's
and Torque's commands of the same names.
"""

from __future__ import annotations

import getpass
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.jobs.array import JobArray

ANSWER_S = 30.0
# Slurm's states of jobs that have not ended; every other state is an end.
SLURM_WAITS = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
SLURM_RUNS = {
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
}
# Reasons for waiting that never go away. Without EnforcePartLimits Slurm accepts such jobs.
SLURM_NEVER = {"BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit", "launch failed requeued held"}
PBS_ENDED = set("CFX")
PBS_NAME_LENGTH = 15
SINGLE = 0
"""The number that the PBS listing gives to a single job, which is not an array."""


@dataclass(frozen=True)
class QueueState:
    """State of a job in the scheduler's queue.

    Attributes:
        word: the state, or the reason for waiting, in the scheduler's own terms.
        kind: ``waits``, ``runs``, ``ended``, or ``stuck`` for a job that will never start.
    """

    word: str
    kind: str


@dataclass(frozen=True)
class Scheduler:
    """How to talk to a scheduler.

    Attributes:
        name: name of its backend.
        title: its name in messages.
        number: shell expression for a job's number, on the machine that runs the job.
        nodes: whether one job can run on several machines.
        id_pattern: pattern of an array's id in the output of the submit command.
        own_words: options of the submit command for an array, and a directory for its outputs.
        list_command: the command that lists the jobs of an array, by its id.
        gone: pattern of the error message about an array that is no longer in the queue.
        read_list: parses the listing, given the array's id; the states by job number.
        cancel_command: the command that removes an array from the queue.
    """

    name: str
    title: str
    number: str
    nodes: bool
    id_pattern: str
    own_words: Callable[[JobArray, Path], list[str]]
    list_command: Callable[[str], list[str]]
    gone: str
    read_list: Callable[[str, str], Mapping[int, QueueState]]
    cancel_command: tuple[str, ...]

    def states(self, array_id: str) -> Mapping[int, QueueState] | str:
        """Return the states of an array's jobs in the queue, or why the queue does not answer."""
        try:
            answer = ask(self.list_command(array_id))
        except LidError as error:
            return str(error)
        if answer.returncode and not re.search(self.gone, answer.stderr, re.IGNORECASE):
            return answer.stderr.strip() or f"{self.list_command(array_id)[0]}: exit code {answer.returncode}"
        return self.read_list(answer.stdout, array_id)

    def cancel(self, array_id: str) -> None:
        """Remove an array from the queue, and end those of its jobs that run."""
        ask([*self.cancel_command, array_id])


def ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a scheduler's command, in its own session so that Ctrl-C on the terminal does not end it.

    Raises:
        LidError: the command does not exist, or does not answer within 30 s.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise LidError(f"cannot be run: {error.strerror}", where=command[0]) from error
    except subprocess.TimeoutExpired as error:
        raise LidError(f"no answer in {ANSWER_S:.0f} s", where=command[0]) from error


def array_range(array: JobArray, at_once: str) -> str:
    """Return ``1-8``, or ``1-8%4`` if at most four jobs may run at a time and ``at_once`` is ``%``."""
    most = array.resources.max_running
    return f"{array.first}-{array.last}" + (f"{at_once}{most}" if most and at_once else "")


def _slurm_words(array: JobArray, outputs: Path) -> list[str]:
    name = ["--job-name", array.name]
    return [*name, "--parsable", "--output", f"{outputs}/%a.out", "--array", array_range(array, "%")]


def read_squeue(listing: str, _array_id: str) -> dict[int, QueueState]:
    """Parse the output of ``squeue -r -o '%K|%T|%r'``: number, state, reason."""
    states = {}
    for line in listing.splitlines():
        number, state, reason = line.split("|", 2)
        if state in SLURM_WAITS:
            kind = "stuck" if reason in SLURM_NEVER else "waits"
            states[int(number)] = QueueState(reason, kind)
        else:
            states[int(number)] = QueueState(state, "runs" if state in SLURM_RUNS else "ended")
    return states


def _sge_words(array: JobArray, outputs: Path) -> list[str]:
    words = ["-N", _alphabetic(array.name), "-terse", "-cwd", "-V", "-S", "/bin/sh", "-notify", "-r", "n"]
    words += ["-j", "y", "-o", f"{outputs}/$TASK_ID.out", "-t", array_range(array, "")]
    most = array.resources.max_running
    return words + (["-tc", str(most)] if most else [])


def read_sge_qstat(listing: str, array_id: str) -> dict[int, QueueState]:
    """Parse the output of ``qstat -xml``. Waiting tasks are listed as ranges, such as ``4-10:2,13``."""
    states: dict[int, QueueState] = {}
    for job in ElementTree.fromstring(listing or "<job_info/>").iter("job_list"):
        if job.findtext("JB_job_number") != array_id:
            continue
        word = job.findtext("state") or ""
        kind = "stuck" if "E" in word else "waits" if "w" in word else "runs"
        for part in (job.findtext("tasks") or "").split(","):
            bounds = re.fullmatch(r"(\d+)(?:-(\d+):(\d+))?", part)
            if bounds:
                first, last, step = int(bounds[1]), int(bounds[2] or bounds[1]), int(bounds[3] or 1)
                states |= dict.fromkeys(range(first, last + 1, step), QueueState(word, kind))
    return states


def _pbs_words(array: JobArray, outputs: Path) -> list[str]:
    name = _alphabetic(array.name)[:PBS_NAME_LENGTH]
    return ["-N", name, "-V", "-S", "/bin/sh", "-j", "oe", "-o", f"{outputs}/pbs.out"]


def read_pbs_qstat(listing: str, _array_id: str) -> dict[int, QueueState]:
    """Parse the output of ``qstat -t``: id, name, user, time, state, queue. A single job is ``SINGLE``."""
    states = {}
    for line in listing.splitlines():
        row = re.fullmatch(r"\d+(?:\[(\d+)\])?(?:\.\S*)?\s.*\s([A-Z])\s+\S+\s*", line)
        if row:
            kind = "ended" if row[2] in PBS_ENDED else "waits" if row[2] in "QHWT" else "runs"
            states[int(row[1] or SINGLE)] = QueueState(row[2], kind)
    return states


def _alphabetic(name: str) -> str:
    return name if name[0].isalpha() else f"j{name}"


_ALL = (
    Scheduler(
        name="slurm",
        title="Slurm",
        number='"${SLURM_ARRAY_TASK_ID}"',
        nodes=True,
        id_pattern=r"^\d+",
        own_words=_slurm_words,
        list_command=lambda array_id: ["squeue", "-h", "-r", "-t", "all", "-o", "%K|%T|%r", "-j", array_id],
        gone="invalid job id",
        read_list=read_squeue,
        cancel_command=("scancel",),
    ),
    Scheduler(
        name="sge",
        title="Grid Engine",
        number='"${SGE_TASK_ID}"',
        nodes=False,
        id_pattern=r"^\d+",
        own_words=_sge_words,
        list_command=lambda _: ["qstat", "-xml", "-u", getpass.getuser()],
        gone="do not exist",
        read_list=read_sge_qstat,
        cancel_command=("qdel",),
    ),
    Scheduler(
        name="pbs",
        title="PBS",
        # OpenPBS, Torque, and Slurm's qsub for users of PBS
        number='"${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${SLURM_ARRAY_TASK_ID}}}"',
        nodes=False,
        id_pattern=r"^\d+(\[\])?(\.\S+)?",
        own_words=_pbs_words,
        list_command=lambda array_id: ["qstat", "-t", array_id],
        gone="unknown job|has finished",
        read_list=read_pbs_qstat,
        cancel_command=("qdel",),
    ),
)
SCHEDULERS = {scheduler.name: scheduler for scheduler in _ALL}
