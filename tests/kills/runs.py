"""A run of the recipe in the background, its processes, and faults that are done to it."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SMALLER = (
    "--encoder_conf.model_scale 4 --encoder_conf.ndim 16 --encoder_conf.output_size 48 "
    "--projector_conf.output_size 16 --preprocessor_conf.target_duration 1.0 --num_iters_per_epoch 60 "
    "--max_epoch 2 --scheduler_conf.max_steps 120 --batch_bins 64000 --log_interval 1"
)
COMMAND = (
    *("bash", "run.sh", "--corpus", "mini", "--local_data_opts", '--utts_per_lang "2 2 2"'),
    *("--nj", "2", "--ngpu", "0", "--lid_tag", "small", "--lid_args", SMALLER, "--checkpoint_minutes", "0"),
    *("--speed_perturb_factors", "0.9 1.0", "--max_iter", "250"),
    *("--inference_model", "valid.accuracy.ave_2best.pth"),
)
MARK = "KILL_RUNS"
ENDS_WITHIN_S = 150.0
LONGEST_RUN_S = 1200.0
APPEARS_WITHIN_S = 30.0
POLL_S = 0.02
# The moments of a run are its stages, 0 before the first, and this one: an update of the training.
UPDATE = 5.5

Signals = dict[str, signal.Signals]
GROUP: Signals = {
    "SIGTERM to the process group": signal.SIGTERM,
    "SIGHUP to the process group": signal.SIGHUP,
    "SIGINT to the process group": signal.SIGINT,
    "SIGKILL to the process group": signal.SIGKILL,
}
SCRIPT = "SIGKILL to `lid.sh` alone"
PARTS = {
    "SIGKILL to one job": "job",
    "SIGKILL to the guard of one job": "guard",
    "SIGKILL to the runner of all jobs": "runner",
    "SIGKILL to one reading process": "reading",
    "SIGKILL to one training process": "training",
}
KINDS = (*GROUP, SCRIPT, *PARTS)


@dataclass(frozen=True)
class Member:
    """A process of a run.

    Attributes:
        pid: its number.
        parent: the number of its parent.
        words: its command line.
        rank: whether it is one of several training processes, or a child of one.
    """

    pid: int
    parent: int
    words: str
    rank: bool


class Run:
    """A run of the recipe in the background, from a stage on.

    Args:
        recipe: the recipe's directory.
        stage: the first stage.
        processes: number of training processes.
    """

    def __init__(self, recipe: Path, stage: int, processes: int) -> None:
        self.log = recipe / "run.out"
        self.mark = f"{MARK}={recipe}"
        self.processes = processes
        settings = os.environ | {"python": sys.executable, MARK: str(recipe), "OMP_NUM_THREADS": "1"}
        if processes > 1:
            settings["PET_NPROC_PER_NODE"] = str(processes)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--stage", str(stage)],
                cwd=recipe,
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def stage(self) -> int:
        """The last stage that has begun; 0 before the first."""
        return max(map(int, re.findall(r" Stage (\d+): ", self.log.read_text())), default=0)

    @property
    def updating(self) -> bool:
        """Whether an update of the training has been reported, and the training goes on."""
        text = self.log.read_text()
        return self.stage == 5 and " batch " in text and " trained: " not in text

    @property
    def moment(self) -> float:
        """The moment that it has reached."""
        return UPDATE if self.updating else self.stage

    @property
    def place(self) -> str:
        """The stage that it has reached, with "u" after the first update of the training."""
        return f"{self.stage}{'u' * self.updating}"

    @property
    def ended(self) -> bool:
        """Whether its first process has ended."""
        return self.process.poll() is not None

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; return False if the run ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.ended or time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def reach(self, moment: float) -> None:
        """Wait until it has reached a moment, or ended."""
        self.wait_until(lambda: self.moment >= moment, LONGEST_RUN_S)

    def members(self) -> list[Member]:
        """Return its processes: all that have its mark in their environment."""
        return [member for member in processes_with(self.mark) if member.pid != os.getpid()]

    def end(self) -> list[str]:
        """Wait until all its processes have ended; kill those that do not end, and return what they were."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (left := self.members()) and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(POLL_S)
        for member in left:
            os.kill(member.pid, signal.SIGKILL)
        self.process.wait()
        return [member.words for member in left]

    def strike(self, kind: str, rng: random.Random) -> bool:
        """Do what a kind of fault says; return False if there was nothing to do it to."""
        if kind in PARTS:
            return self._kill_one(PARTS[kind], rng)
        if self.ended:
            return False
        if kind == SCRIPT:
            self.process.kill()
        else:
            os.killpg(self.process.pid, GROUP[kind])
        return True

    def _kill_one(self, part: str, rng: random.Random) -> bool:
        """Kill one of the processes that do a part; wait for one, but not beyond this stage."""
        found: list[int] = []
        stage = self.stage

        def look() -> bool:
            members = self.members()
            found[:] = [member.pid for member in members if part_of(member, members, self.processes) == part]
            return bool(found) or self.stage > stage

        if not self.wait_until(look, APPEARS_WITHIN_S) or not found:
            return False
        try:
            os.kill(rng.choice(found), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def processes_with(mark: str) -> Iterator[Member]:
    """Yield the processes that have the line ``mark`` in their environment."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().decode(errors="replace").split("\0")
            if mark not in variables:
                continue
            words = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            ranked = any(variable.startswith("RANK=") for variable in variables)
            yield Member(int(path.name), int(parent), words, ranked)


def part_of(member: Member, members: list[Member], processes: int) -> str:
    """Return what a process does, one of the values of ``PARTS``; ``""`` if none of them."""
    parent = {other.pid: other for other in members}.get(member.parent)
    if "train.py" in member.words:
        first = parent is None or "train.py" not in parent.words
        if processes > 1:
            # the first one only starts the others and watches them
            ranks_parent = parent is not None and not parent.rank
            return "" if first else "training" if ranks_parent else "reading"
        return "training" if first else "reading"
    if "lid_toolkit.jobs.task" in member.words:
        return "guard"
    if "-m lid_toolkit.jobs local" in member.words:  # the words of its jobs follow
        return "runner"
    return "job" if re.search(r"\.py job ", member.words) and "utils/jobs.sh" not in member.words else ""
