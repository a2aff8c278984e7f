"""A private cluster for tests, and a small recipe whose stages run through it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from data.corpus import write_set
from shell.recipe import ROOT, Recipe, lay_recipe
from training.experiment import CONFIG

SCRIPTS = Path(__file__).resolve().parents[1] / "clusters"
NO_CLUSTER = 77  # as the scripts say it
# A Python that fails or hangs in the second job of a stage's script while a file asks for it. It fails once
# the first job has ended: a scheduler may start that one later, and after a failure would not at all.
FAULTY = """#!/bin/sh
case "$*" in
  *"pyscripts/$(cat '{dir}/fails' 2>/dev/null) job"*"--job 2"*)
    timeout 60 sh -c 'until grep -qs "(code 0)" "$0"; do sleep 0.1; done' "$(cat '{dir}/first_log')"
    echo "this job is made to fail"
    exit 3
    ;;
  *"pyscripts/$(cat '{dir}/hangs' 2>/dev/null) job"*"--job 2"*)
    sleep 600 &
    echo $$ $! >'{dir}/hanging.new' && mv '{dir}/hanging.new' '{dir}/hanging'
    wait ;;
esac
exec '{python}' "$@"
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        backend: slurm or sge.
        environment: what its commands need.
    """

    backend: str
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """Run one of its commands and return what it prints."""
        settings = os.environ | self.environment
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False).stdout

    def jobs(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run an array of jobs."""
        settings = os.environ | self.environment | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "lid_toolkit.jobs", self.backend, *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=100, check=False
        )

    def is_empty(self) -> bool:
        """Return whether nothing waits or runs."""
        return not self.call(*(["squeue", "-h"] if self.backend == "slurm" else ["qstat"])).strip()


@contextmanager
def running_cluster(backend: str, directory: Path) -> Iterator[Cluster]:
    """Start a cluster, stop it at the end; skip the test, with the reason, where there can be none."""
    script = str(SCRIPTS / f"{backend}.sh")
    with open(directory.parent / "start.log", "w+") as log:
        started = subprocess.run(
            ["bash", script, "start", str(directory)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
        log.seek(0)
        said = log.read()
    try:
        if started.returncode == NO_CLUSTER:
            pytest.skip(f"no {backend} here: {said.splitlines()[-1]}")
        assert started.returncode == 0, said
        yield Cluster(backend, dict(line.split("=", 1) for line in started.stdout.splitlines()))
    finally:
        subprocess.run(["bash", script, "stop", str(directory)], check=False)


@dataclass(frozen=True)
class Stages:
    """A recipe with three small sets of beeps.

    Attributes:
        recipe: where it is.
        environment: with the cluster's backend chosen.
    """

    recipe: Recipe
    environment: dict[str, str]

    def options(self, first: int, last: int) -> tuple[str, ...]:
        """Return options for some stages."""
        return (
            *("--stage", str(first), "--stop_stage", str(last), "--nj", "2", "--ngpu", "0"),
            *("--train_set", "train", "--valid_set", "valid", "--test_sets", "test", "--tsne_set", "test"),
            *("--lid_config", "train.yaml", "--lid_exp", "exp/lid", "--min_wav_duration", "0.1"),
            *("--python", str(self.path / "faulty-python")),
        )

    @property
    def path(self) -> Path:
        """The recipe's directory."""
        return self.recipe.path

    def run(self, first: int, last: int, *more: str) -> subprocess.CompletedProcess[str]:
        """Run some stages to their end."""
        return self.recipe.run("lid.sh", *self.options(first, last), *more, timeout=300, **self.environment)

    def start(self, first: int, last: int, *more: str) -> subprocess.Popen[str]:
        """Start some stages as a terminal does: in a process group that gets its Ctrl-C."""
        return subprocess.Popen(
            ["bash", str(self.path / "lid.sh"), *self.options(first, last), *more],
            cwd=self.path,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def fault(self, kind: str, script: str, first_log: str = "") -> Iterator[None]:
        """Have the second job of a script fail, once the first has ended by its log, or hang."""
        (self.path / "first_log").write_text(first_log)
        (self.path / kind).write_text(script)
        try:
            yield
        finally:
            (self.path / kind).unlink()
            (self.path / "hanging").unlink(missing_ok=True)

    def hanging(self) -> list[int]:
        """Wait for the job that hangs, and return its process and a child of that."""
        wait_for(lambda: (self.path / "hanging").exists(), 60)
        return [int(pid) for pid in (self.path / "hanging").read_text().split()]


def lay_stages(directory: Path, cluster: Cluster) -> Stages:
    """Lay a recipe with its data, for a cluster."""
    recipe = lay_recipe(directory)
    # two jobs of stage 3 for the training set, one for each other
    for seed, (name, utterances) in enumerate((("train", 60), ("valid", 6), ("test", 70))):
        write_set(recipe.path / "data" / name, utterances, seed)
    config = CONFIG | {"max_epoch": 1, "num_iters_per_epoch": 2}
    (recipe.path / "train.yaml").write_text(yaml.safe_dump(config))
    faulty = recipe.path / "faulty-python"
    faulty.write_text(FAULTY.format(dir=recipe.path, python=sys.executable))
    faulty.chmod(0o755)
    return Stages(recipe, cluster.environment | {"cmd_backend": cluster.backend})


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds; fail if it does not within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def is_free(lock: Path) -> bool:
    """Return whether no process holds a lock."""
    with open(lock, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """Return the process that started one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
