"""The directory through which a runner and its jobs talk."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked
from lid_toolkit.jobs.array import make_array, parse_call
from lid_toolkit.jobs.log import JobOutcome
from lid_toolkit.jobs.spool import Spool, new_spool


def test_array_and_outcomes_come_back_as_they_were(tmp_path: Path):
    array = make_array(
        parse_call(["--mem", "4G", "-q", "é", "JOB=1:3", f"{tmp_path}/x.JOB.log", "echo", "a b"])
    )
    with new_spool(array) as spool:
        assert spool.load_array() == array
        outcomes = [JobOutcome(1, 0, "", 1.5, 2**20), JobOutcome(3, -9, "", 0.1, 0)]
        for outcome in outcomes:
            spool.note_start(outcome.number)
            spool.note_end(outcome)
        spool.note_start(2)
        assert spool.running() == [2]
        assert [spool.outcomes[1], spool.outcomes[3]] == outcomes
    assert not (tmp_path / ".jobs").exists()


def test_file_that_is_being_written_is_no_outcome(tmp_path: Path):
    """A whole file is written beside its final name first; that must not count as a job's."""
    (tmp_path / ".tmp-0a1b-5.done").write_text('{"number": 5')
    spool = Spool(tmp_path)
    assert spool.running() == []
    assert spool.outcomes == {}


@pytest.mark.parametrize(
    ("code", "verdict", "reason"),
    [
        (-15, "stopped by SIGTERM", "stopped by SIGTERM; slurmstepd: CANCELLED DUE TO TIME LIMIT"),
        (-15, "", "ended by signal 15 (SIGTERM); slurmstepd: CANCELLED DUE TO TIME LIMIT"),
        (2, "", "exit code 2"),
    ],
)
def test_word_of_the_scheduler_completes_the_reason(tmp_path: Path, code: int, verdict: str, reason: str):
    spool = Spool(tmp_path)
    spool.output_of(1).write_text("slurmstepd: CANCELLED DUE TO TIME LIMIT\n")
    spool.note_end(JobOutcome(1, code, verdict, 1.0, 0))
    spool.running()
    assert spool.outcomes[1].reason == reason


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """What a killed run left of its array in Slurm's queue."""
    path = tmp_path / "logs" / ".jobs" / "old.12345678"
    path.mkdir(parents=True)
    (path / "queue_id").write_text("slurm 77")
    Spool(path).note_start(1)
    (path / "1.started").write_text(f"{socket.gethostname()} {dead_process()}")
    return path


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_array_of_a_killed_run_is_cancelled_by_any_backend(tmp_path: Path, abandoned: Path):
    (tmp_path / "scancel").write_text(f"#!/bin/sh\necho $* >>'{tmp_path}/cancelled'\n")
    (tmp_path / "scancel").chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "lid_toolkit.jobs",
        "local",
        "JOB=1:1",
        f"{tmp_path}/logs/x.JOB.log",
        "true",
    ]
    settings = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(command, env=settings, timeout=120, check=True)
    assert (tmp_path / "cancelled").read_text() == "77\n"
    assert not abandoned.parent.exists()


def test_array_of_a_run_that_goes_on_is_left_alone(tmp_path: Path, abandoned: Path):
    array = make_array(parse_call([f"{tmp_path}/logs/x.log", "true"]))
    with locked(abandoned, "running"), new_spool(array):
        pass
    assert abandoned.exists()


def test_jobs_that_another_runner_runs_are_not_started_again(tmp_path: Path):
    """Neither the log of the job that runs nor its place in the queue may be lost."""
    array = make_array(parse_call([f"{tmp_path}/logs/train.log", "true"]))
    with new_spool(array) as spool:
        (tmp_path / "logs/train.log").write_text("epoch 7")
        told = rf"logs/train.log: in use: running train \(process {os.getpid()} on .*\)"
        with pytest.raises(LidError, match=told + r" \(wait for it, or end that process\)"), new_spool(array):
            pass
        (spool.path / "queue_id").write_text("slurm 77")
        told += r", Slurm job 77 \(wait for it, or cancel it: scancel 77\)"
        with pytest.raises(LidError, match=told), new_spool(array):
            pass
        assert (tmp_path / "logs/train.log").read_text() == "epoch 7"
    with new_spool(array):
        assert (tmp_path / "logs/train.log.1").read_text() == "epoch 7"
