"""Which jobs of an array in a scheduler's queue are lost, with a stand-in for Slurm."""

from __future__ import annotations

import io
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.jobs import cluster_arrays, runner
from lid_toolkit.jobs.array import JobArray, make_array, parse_call
from lid_toolkit.jobs.cluster_arrays import ClusterArray, submit
from lid_toolkit.jobs.config import Config
from lid_toolkit.jobs.log import JobOutcome, report_failures
from lid_toolkit.jobs.schedulers import SCHEDULERS, QueueState, Scheduler
from lid_toolkit.jobs.spool import Spool

FAULT = JobOutcome(1, exit_code=2, verdict="", seconds=1.0, peak_bytes=0)


class Queue:
    """A queue that job 1 has left with a fault and job 3 without having started, while job 2 goes on.

    At the fifth look job 2 ends; with ``dies`` set without leaving an outcome.
    """

    def __init__(self, spool: Spool, dies: bool) -> None:
        self.spool, self.dies, self.looks = spool, dies, 0

    def states(self, _array_id: str) -> Mapping[int, QueueState]:
        self.looks += 1
        if self.looks < 5:
            return {2: QueueState("RUNNING", "runs")}
        if self.looks == 5 and not self.dies:
            self.spool.note_end(JobOutcome(2, exit_code=0, verdict="", seconds=9.0, peak_bytes=0))
        return {}


@pytest.fixture
def array(tmp_path: Path) -> JobArray:
    (tmp_path / "x.1.log").write_text("error: wav.scp:3: does not exist\n")
    return make_array(parse_call(["JOB=1:3", f"{tmp_path}/x.JOB.log", "true"]))


def run(array: JobArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool) -> list[JobOutcome]:
    (tmp_path / "spool").mkdir()
    spool = Spool(tmp_path / "spool")
    monkeypatch.setattr(cluster_arrays, "MISSING_S", 0.02)
    for name in ("POLL_S", "FIRST_LOOK_S", "LONGEST_LOOK_S"):
        monkeypatch.setattr(cluster_arrays, name, 0.01)

    def submit(*_arguments: object) -> str:
        spool.note_start(1)
        spool.note_end(FAULT)
        spool.note_start(2)
        return "7"

    monkeypatch.setattr(cluster_arrays, "submit", submit)
    monkeypatch.setattr(Scheduler, "states", Queue(spool, dies).states)
    monkeypatch.setattr(Scheduler, "cancel", lambda *_arguments: None)
    config = Config(tmp_path / "slurm.conf", ("sbatch",), {}, {}, ())
    return runner.run_array(array, ClusterArray(SCHEDULERS["slurm"], array, config), spool)


def test_job_that_the_stop_kept_from_starting_is_not_lost(array: JobArray, tmp_path: Path, monkeypatch):
    outcomes = run(array, tmp_path, monkeypatch, dies=False)
    assert [(outcome.number, outcome.exit_code) for outcome in outcomes] == [(1, 2), (2, 0)]
    stream = io.StringIO()
    assert report_failures("slurm", array, outcomes, stream) == 2
    assert stream.getvalue().startswith("error: job 1 of 3 failed: wav.scp:3: does not exist (log: ")
    assert "; 1 more not started;" in stream.getvalue()


def test_job_that_dies_after_the_stop_is_lost(array: JobArray, tmp_path: Path, monkeypatch):
    outcomes = run(array, tmp_path, monkeypatch, dies=True)
    assert [outcome.number for outcome in outcomes] == [1, 2]
    assert outcomes[1].reason == "ended without writing its outcome; Slurm no longer lists it"


def test_refusal_shows_the_arguments_as_a_shell_reads_them(tmp_path: Path, monkeypatch):
    commands = []

    def refuse(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "sbatch: error: invalid partition\n")

    monkeypatch.setattr(cluster_arrays, "ask", refuse)
    (tmp_path / "it's a spool").mkdir()
    array = make_array(parse_call(["-p", "a b", "JOB=1:3", f"{tmp_path}/x.JOB.log", "true"]))
    config = Config(tmp_path / "slurm.conf", ("sbatch",), {}, {}, ())
    with pytest.raises(LidError, match="sbatch: refused the jobs: sbatch: error: invalid partition") as error:
        submit(SCHEDULERS["slurm"], array, config, Spool(tmp_path / "it's a spool"))
    assert shlex.split((error.value.mend or "").removeprefix("its arguments: ")) == commands[0][1:-1]
