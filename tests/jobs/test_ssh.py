"""Backend ssh, with a stand-in for ssh that runs the command here and writes down where it was to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jobs.cluster import alive, wait_for

from lid_toolkit.jobs.pool import Host

# As ssh: a new shell with a bare environment, in the home directory, ended when standard input is not.
STAND_IN = """#!/bin/sh
[ "$1" = -o ] && shift 2
case "$1" in gone*) echo "ssh: connect to host $1: No route to host"; exit 255 ;; esac
echo "$1" >>'{dir}/hosts'
cd / && exec env -i HOME=/ PATH=/usr/bin:/bin sh -c "$2"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the stand-in."""
    place = tmp_path / "it's 語"
    place.mkdir()
    (place / "ssh").write_text(STAND_IN.format(dir=tmp_path))
    (place / "ssh").chmod(0o755)
    return place


def write_machines(place: Path, *machines: str) -> None:
    lines = ["command ./ssh -o BatchMode=yes", *(f"machine {machine}" for machine in machines)]
    (place / "ssh.conf").write_text("\n".join(lines) + "\n")


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lid_toolkit.jobs", "ssh", "--config", "ssh.conf", *arguments]
    root = str(Path(__file__).resolve().parents[2])
    settings = os.environ | {"PYTHONPATH": root}
    return subprocess.Popen(command, cwd=place, env=settings, stderr=subprocess.PIPE, text=True)


def run(place: Path, *arguments: str) -> tuple[int, str]:
    runner = start(place, *arguments)
    _, said = runner.communicate(timeout=120)
    return runner.returncode, said


def hosts(place: Path) -> list[str]:
    return sorted((place.parent / "hosts").read_text().split())


def test_jobs_go_to_the_machines_and_run_in_this_directory(place: Path):
    write_machines(place, "a 2", "b 1")
    assert run(place, "JOB=1:3", "x.JOB.log", "sh", "-c", "pwd >JOB.out; sleep 1") == (0, "")
    assert hosts(place) == ["a", "a", "b"]
    for number in (1, 2, 3):
        assert (place / f"{number}.out").read_text() == f"{place}\n"
        assert "(code 0)" in (place / f"x.{number}.log").read_text()


def test_words_and_settings_arrive_as_they_are(place: Path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HOME", "models' cache; $HOME")
    words = ["it's a b", "$HOME", "*", "", "a;b"]
    command = Host(("sh", "-c"), "a", 1, []).command(
        ["sh", "-c", 'printf "%s|" "$HF_HOME" "$@"', "sh", *words]
    )
    said = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout
    assert said == "".join(f"{word}|" for word in ["models' cache; $HOME", *words])


def test_gpus_and_threads_choose_the_machine(place: Path):
    write_machines(place, "small 1", "cpus 8", "gpus 8 2")
    code, said = run(
        place,
        "--gpu",
        "1",
        "--num-threads",
        "2",
        "JOB=1:4",
        "x.JOB.log",
        "sh",
        "-c",
        "echo on=$CUDA_VISIBLE_DEVICES",
    )
    assert (code, said) == (0, "")
    assert hosts(place) == ["gpus"] * 4
    used = {
        line
        for n in range(1, 5)
        for line in (place / f"x.{n}.log").read_text().splitlines()
        if "on=" in line[:3]
    }
    assert used <= {"on=0", "on=1"}
    code, said = run(place, "--gpu", "3", "x.log", "true")
    assert code == 2
    assert said.startswith("error: ssh.conf: no machine has the 1 cores and 3 GPUs that each job needs")


def test_machine_that_cannot_be_reached_is_left_out(place: Path):
    write_machines(place, "gone 2", "a 1")
    code, said = run(place, "JOB=1:3", "x.JOB.log", "true")
    assert code == 0, said
    assert said.count("gone: not used: ssh: connect to host gone: No route to host\n") == 1
    assert hosts(place) == ["a", "a", "a"]


def test_no_machine_can_be_reached(place: Path):
    write_machines(place, "gone 2")
    code, said = run(place, "JOB=1:3", "x.JOB.log", "true")
    assert code == 1
    assert "failed: no machine can be reached" in said.splitlines()[-1]


def test_failing_job_is_named(place: Path):
    write_machines(place, "a 2")
    code, said = run(place, "JOB=1:1", "x.JOB.log", "sh", "-c", "exit 25JOB")
    assert code == 1
    assert "run it again: utils/jobs.sh ssh --config ssh.conf JOB=1:1 x.JOB.log sh -c 'exit 25JOB'" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_end_of_the_runner_ends_jobs_on_the_machines(place: Path, number: signal.Signals):
    write_machines(place, "a 1")
    runner = start(place, "JOB=1:1", "x.JOB.log", "sh", "-c", "echo $$ >on.new; mv on.new on; sleep 60; true")
    wait_for((place / "on").exists)
    job = int((place / "on").read_text())
    assert alive(job)
    runner.send_signal(number)
    runner.communicate(timeout=120)
    wait_for(lambda: not alive(job))
