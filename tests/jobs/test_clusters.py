"""Stages and arrays through a real Slurm and Grid Engine. ``tests/run.sh clusters`` runs these alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs.cluster import (
    Cluster,
    Stages,
    alive,
    is_free,
    lay_stages,
    parent_of,
    running_cluster,
    wait_for,
)

ANSWERS = "exp/lid/inference/valid.accuracy.best/test"
BACKENDS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("slurm", "sge")]
ONLY_SLURM = pytest.mark.parametrize("cluster", BACKENDS[:1], indirect=True)


@pytest.fixture(scope="module", params=BACKENDS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(request.param, tmp_path_factory.mktemp("cluster") / "c") as running:
        yield running


@pytest.fixture(scope="module")
def stages(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return lay_stages(tmp_path_factory.mktemp("stages") / "récipe 語", cluster)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the configurations of the backends."""
    (tmp_path / "conf").symlink_to(Path(__file__).resolve().parents[2] / "conf")
    return tmp_path


@pytest.fixture(scope="module")
def trained(stages: Stages) -> Stages:
    """The recipe after stages 3 to 5 through the cluster."""
    done = stages.run(3, 5)
    assert done.returncode == 0, done.stderr
    return stages


@pytest.fixture
def unidentified(trained: Stages) -> Stages:
    """The recipe with stage 6 to do."""
    (trained.path / ANSWERS / "test_lids").unlink(missing_ok=True)
    return trained


def test_failing_job_of_stage_3_is_named_and_only_it_runs_again(stages: Stages):
    logs = "failing/raw/train/logs"
    with stages.fault("fails", "format_audio.py", first_log=f"{logs}/format.1.log"):
        done = stages.run(3, 3, "--dumpdir", "failing")
    assert done.returncode == 1
    assert "  | this job is made to fail" in done.stderr
    assert f"error: job 2 of 2 failed: exit code 3 (log: {logs}/format.2.log" in done.stderr
    assert "job 1: 1 of 1 parts to do" in (stages.path / logs / "format.1.log").read_text()
    again = stages.run(3, 3, "--dumpdir", "failing")
    assert again.returncode == 0, again.stderr
    assert "job 1: 0 of 1 parts to do" in (stages.path / logs / "format.1.log").read_text()


def test_stages_3_to_6_run_through_the_cluster(unidentified: Stages):
    done = unidentified.run(6, 6)
    assert done.returncode == 0, done.stderr
    logs = ("dump/raw/train/logs/format.2.log", "exp/lid/logs/train.log", f"{ANSWERS}/logs/infer.2.log")
    for log in logs:
        assert "(code 0)" in (unidentified.path / log).read_text()
    assert len((unidentified.path / ANSWERS / "test_lids").read_text().splitlines()) == 70
    assert not list(unidentified.path.rglob(".jobs"))


def test_killed_job_of_stage_6_fails_the_stage_and_runs_again(unidentified: Stages, cluster: Cluster):
    """By kill -9 of the process that watches over it, so that nobody is left to tell."""
    with unidentified.fault("hangs", "infer.py"):
        run = unidentified.start(6, 6)
        job, child = unidentified.hanging()
        os.kill(parent_of(job), signal.SIGKILL)
        _, said = run.communicate(timeout=120)
    if alive(child):  # a cluster without control groups loses sight of it
        os.kill(child, signal.SIGKILL)
    assert run.returncode == 1
    title = {"slurm": "Slurm reports FAILED", "sge": "Grid Engine no longer lists it"}[cluster.backend]
    assert f"error: job 2 of 2 failed: ended without writing its outcome; {title}" in said
    again = unidentified.run(6, 6)
    assert again.returncode == 0, again.stderr


@ONLY_SLURM
def test_training_of_a_killed_script_ends_and_its_log_is_kept(trained: Stages, cluster: Cluster):
    """While it runs, a second run is refused."""
    # Few lines, because nobody reads the pipe that the first run writes to.
    long = ("--lid_exp", "exp/killed", "--lid_args", "--num_iters_per_epoch 100000 --log_interval 50")
    log = trained.path / "exp/killed/logs/train.log"
    first = trained.start(5, 5, *long)
    wait_for(lambda: "epoch 1, batch 50/" in read(log), 60)
    second = trained.run(5, 5, *long)
    job = cluster.call("squeue", "-h", "-o", "%A").strip()
    assert second.returncode == 2
    refused = (
        rf"error: exp/killed/logs/train.log: in use: .*, Slurm job {job} \(.* cancel it: scancel {job}\)"
    )
    assert len(re.findall(refused, second.stderr)) == second.stderr.count("error: ") == 1
    first.kill()
    wait_for(cluster.is_empty, 60)
    written = read(log)
    third = trained.start(5, 5, *long)
    wait_for(lambda: "continuing from epoch 1, batch " in read(log), 60)
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=60)
    assert written.count("# Started at") == 1
    assert log.with_name("train.log.1").read_text() == written


@ONLY_SLURM
def test_second_run_is_told_the_job_of_the_first(unidentified: Stages, cluster: Cluster):
    with unidentified.fault("hangs", "infer.py"):
        first = unidentified.start(6, 6)
        unidentified.hanging()
        second = unidentified.run(6, 6)
        job = cluster.call("squeue", "-h", "-o", "%F").split()[0]
        first.kill()
        wait_for(cluster.is_empty, 60)
        wait_for(lambda: is_free(unidentified.path / ANSWERS / ".running"), 60)  # its runner ends last
    assert second.returncode == 2
    assert f"{ANSWERS}: in use by another run, slurm job {job} (wait for it" in second.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_all_and_empties_the_queue(
    unidentified: Stages, cluster: Cluster, number: signal.Signals
):
    with unidentified.fault("hangs", "infer.py"):
        run = unidentified.start(6, 6)
        pids = unidentified.hanging()
        if number == signal.SIGINT:  # Ctrl-C reaches all that the terminal runs
            os.killpg(run.pid, number)
        else:
            run.send_signal(number)
        run.communicate(timeout=120)
    assert run.returncode == 128 + number
    assert not any(map(alive, pids))
    wait_for(cluster.is_empty, 60)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_array_ends_soon_after_its_last_job(cluster: Cluster, place: Path):
    done = cluster.jobs("--max-jobs-run", 2, "JOB=1:3", "logs/x.JOB.log", "sleep", 1, cwd=place)
    ended = time.time()
    assert done.returncode == 0
    assert re.fullmatch(r"(Slurm|Grid Engine): submitted x as job \d+\n", done.stderr)
    assert ended - max((place / f"logs/x.{n}.log").stat().st_mtime for n in (1, 2, 3)) < 10


def test_array_of_a_killed_runner_is_cancelled_by_the_next(cluster: Cluster, place: Path):
    settings = os.environ | cluster.environment
    command = [
        sys.executable,
        "-m",
        "lid_toolkit.jobs",
        cluster.backend,
        "JOB=1:2",
        "logs/x.JOB.log",
        "sh",
        "-c",
    ]
    runner = subprocess.Popen([*command, "echo $$ >JOB; sleep 600; true"], cwd=place, env=settings)
    wait_for(lambda: (place / "1").exists() and (place / "2").exists(), 40)
    runner.kill()
    runner.wait()
    pids = [int((place / name).read_text()) for name in "12"]
    assert all(map(alive, pids))
    done = cluster.jobs("JOB=1:1", "logs/y.JOB.log", "true", cwd=place)
    assert done.returncode == 0, done.stderr
    assert not any(map(alive, pids))


@ONLY_SLURM
def test_impossible_request_is_refused_at_once(cluster: Cluster, place: Path):
    done = cluster.jobs("--mem", "9000G", "JOB=1:3", "logs/x.JOB.log", "true", cwd=place)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: sbatch: refused the jobs: ")


@ONLY_SLURM
def test_command_across_two_machines_knows_the_others(cluster: Cluster, place: Path):
    said = "echo node $PET_NODE_RANK of $PET_NNODES on $SLURMD_NODENAME at $PET_MASTER_ADDR:$PET_MASTER_PORT"
    done = cluster.jobs("--num-nodes", 2, "logs/x.log", "sh", "-c", said, cwd=place)
    assert done.returncode == 0, done.stderr
    lines = sorted(re.findall(r"^node (\d) of 2 on (\w+) at (\S+:\d+)$", done.stderr, re.MULTILINE))
    assert [(rank, name) for rank, name, _ in lines] == [("0", "n1"), ("1", "n2")]
    assert lines[0][2] == lines[1][2]


@ONLY_SLURM
def test_job_cancelled_by_somebody_is_told_with_slurms_words(cluster: Cluster, place: Path):
    command = [sys.executable, "-m", "lid_toolkit.jobs", "slurm", "JOB=1:2", "logs/x.JOB.log", "sh", "-c"]
    settings = os.environ | cluster.environment
    script = "[ JOB = 1 ] || { touch on; sleep 600; true; }"
    runner = subprocess.Popen([*command, script], cwd=place, env=settings, stderr=subprocess.PIPE, text=True)
    wait_for((place / "on").exists, 30)
    running = cluster.call("squeue", "-h", "-o", "%i", "-n", "x").split()
    cluster.call("scancel", *[job for job in running if job.endswith("_2")])
    _, said = runner.communicate(timeout=120)
    assert runner.returncode == 1
    # the command and the guard of the job get the signal, in any order
    assert re.search(
        r"error: job 2 of 2 failed: (stopped by SIGTERM|ended by signal 15 \(SIGTERM\)); slurmstepd-n", said
    )
    assert "CANCELLED" in said
