"""The local backend, run as the stages run it: as a command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jobs.cluster import alive, wait_for


def jobs(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lid_toolkit.jobs", "local", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=120, check=False
    )


def test_every_job_runs_once_and_has_a_log(tmp_path: Path):
    done = jobs("JOB=1:5", tmp_path / "logs é/x.JOB.log", "sh", "-c", f"echo said JOB >> '{tmp_path}/JOB'")
    assert (done.returncode, done.stderr) == (0, "")
    for number in range(1, 6):
        assert (tmp_path / str(number)).read_text() == f"said {number}\n"
        log = (tmp_path / f"logs é/x.{number}.log").read_text()
        assert re.search(r"# Running on \S+\n# Started at \d{4}-.*\n# sh -c ", log)
        assert re.search(r"# Accounting: time=\d.* threads=1 memory=\d+M\n# Ended \(code 0\) at \d{4}-", log)


def test_no_more_jobs_at_once_than_asked_for(tmp_path: Path):
    # A job counts the running ones, and goes on once any job has counted two.
    script = f"""
        cd {tmp_path}; touch on.JOB
        until ls | grep -c ^on > count.JOB; [ -e two ]; do grep -qx 1 count.JOB || touch two; sleep 0.02; done
        cat count.JOB; rm on.JOB"""
    assert jobs("--max-jobs-run", 2, "JOB=1:6", tmp_path / "x.JOB.log", "sh", "-c", script).returncode == 0
    counts = [int((tmp_path / f"count.{n}").read_text()) for n in range(1, 7)]
    assert max(counts) == 2


def test_threads_reach_numerical_libraries(tmp_path: Path):
    jobs("--num-threads", 3, "JOB=1:1", tmp_path / "x.log", "sh", "-c", "echo threads=$OMP_NUM_THREADS=")
    assert "threads=3=" in (tmp_path / "x.log").read_text()


def test_failure_names_the_job_shows_its_log_and_how_to_run_it_again(tmp_path: Path):
    command = ("sh", "-c", "echo trouble in JOB; [ JOB != 2 ] || exit 7")
    done = jobs("--max-jobs-run", 1, "JOB=1:4", tmp_path / "x.JOB.log", *command)
    assert done.returncode == 1
    assert "  | trouble in 2\n" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: job 2 of 4 failed: exit code 7")
    assert "2 more not started" in last
    assert f"utils/jobs.sh local --max-jobs-run 1 JOB=2:2 {tmp_path}/x.JOB.log sh -c " in last


def test_users_fault_in_a_job_is_told_in_its_own_words(tmp_path: Path):
    done = jobs(
        "JOB=1:2",
        tmp_path / "x.JOB.log",
        "sh",
        "-c",
        "echo 'error: wav.scp:3: does not exist (mend it)'; exit 2",
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "wav.scp:3: does not exist (mend it)" in done.stderr


def test_command_that_does_not_exist_leaves_a_log(tmp_path: Path):
    done = jobs("JOB=1:1", tmp_path / "x.log", "no-such-command")
    assert done.returncode == 1
    assert "cannot run 'no-such-command': No such file or directory" in done.stderr.splitlines()[-1]
    assert "(code 127)" in (tmp_path / "x.log").read_text()


def test_log_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = jobs("JOB=1:1", tmp_path / "file/x.log", "true")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/file/x.log: cannot be written")


def test_job_over_its_memory_is_ended(tmp_path: Path):
    hungry = "import time; held = bytearray(300 * 2**20); time.sleep(30)"
    done = jobs("--mem", "150M", "JOB=1:1", tmp_path / "x.log", sys.executable, "-c", hungry)
    assert done.returncode == 1
    assert re.search(r"used 0\.\d+ GiB, more than --mem", done.stderr)


def test_job_over_its_time_is_ended(tmp_path: Path):
    started = time.monotonic()
    done = jobs("--time", "0:01", "JOB=1:1", tmp_path / "x.log", "sleep", 300)
    assert done.returncode == 1
    assert "took longer than --time (1 s)" in done.stderr
    assert time.monotonic() - started < 100


def test_gpus_are_shared_out_and_more_than_there_are_refused(tmp_path: Path):
    command = ("sh", "-c", "echo gpu=$CUDA_VISIBLE_DEVICES=; sleep 0.2")
    done = jobs(
        "--gpu",
        1,
        "--max-jobs-run",
        4,
        "JOB=1:4",
        tmp_path / "x.JOB.log",
        *command,
        CUDA_VISIBLE_DEVICES="5,7",
    )
    assert done.returncode == 0
    used = [re.search(r"^gpu=(.*)=$", (tmp_path / f"x.{n}.log").read_text(), re.M) for n in range(1, 5)]
    assert sorted(match[1] for match in used if match) == ["5", "5", "7", "7"]
    refused = jobs("--gpu", 3, "JOB=1:1", tmp_path / "x.log", "true", CUDA_VISIBLE_DEVICES="5,7")
    assert refused.returncode == 2
    assert "each job needs 3 GPUs, but this machine has 2" in refused.stderr


def test_nice_reaches_the_command(tmp_path: Path):
    before = os.nice(0)
    assert jobs("--nice", 7, "JOB=1:1", tmp_path / "x.log", "nice").returncode == 0
    assert f"\n{min(19, before + 7)}\n" in (tmp_path / "x.log").read_text()


def test_options_for_a_scheduler_are_refused(tmp_path: Path):
    done = jobs("-q", "all.q", "JOB=1:1", tmp_path / "x.log", "true")
    assert done.returncode == 2
    assert done.stderr == "error: jobs local: -q is an option for a scheduler (leave it out)\n"


def test_single_command_is_told_as_it_speaks_and_keeps_its_exit_code(tmp_path: Path):
    script = "echo epoch 1; echo epoch 2; exit 75"
    done = jobs("--name", "train", tmp_path / "x.log", "sh", "-c", script)
    assert done.returncode == 75
    assert done.stderr.startswith("epoch 1\nepoch 2\nerror: train failed: exit code 75 (log: ")


def test_rendezvous_of_a_single_machine(tmp_path: Path):
    script = "echo $PET_NNODES $PET_NODE_RANK $PET_NPROC_PER_NODE $PET_MASTER_ADDR:$PET_MASTER_PORT"
    done = jobs("--num-nodes", 1, tmp_path / "x.log", "sh", "-c", script)
    assert re.fullmatch(r"1 0 1 127\.0\.0\.1:\d+\n", done.stderr)
    refused = jobs("--num-nodes", 2, tmp_path / "x.log", "true")
    assert refused.returncode == 2
    assert "only slurm runs one job on several machines" in refused.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps hold of processes that hide")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running(tmp_path: Path, number: signal.Signals):
    """Whatever ends the runner ends its jobs and all below them, even a process in a session of its own."""
    hidden = f"setsid sh -c 'echo $$ > {tmp_path}/hidden.JOB; sleep 60; true' &"
    script = f"{hidden} sleep 60 & echo $! > {tmp_path}/child.JOB; echo $$ > {tmp_path}/job.JOB; wait"
    runner = start(tmp_path, "--max-jobs-run", "2", "JOB=1:3", "sh", "-c", script)
    files = [tmp_path / f"{name}.{n}" for name in ("job", "child", "hidden") for n in (1, 2)]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    assert all(alive(pid) for pid in pids)
    runner.send_signal(number)
    runner.communicate(timeout=120)
    assert runner.returncode == (-number if number == signal.SIGKILL else 128 + number)
    wait_for(lambda: not any(alive(pid) for pid in pids))
    assert not (tmp_path / "job.3").exists()


def test_job_may_take_its_time_to_end_and_a_killed_runners_jobs_are_waited_for(tmp_path: Path):
    """A training writes a checkpoint when it is asked to stop; its successor must not start before that."""
    slow = "trap 'sleep 2; echo saved > saved; exit 75' TERM; echo > on; while true; do sleep 0.1; done"
    runner = start(tmp_path, "JOB=1:1", "sh", "-c", f"cd {tmp_path}; {slow}")
    wait_for((tmp_path / "on").exists)
    runner.kill()
    runner.communicate(timeout=120)
    done = jobs("JOB=1:1", tmp_path / "y.JOB.log", "test", "-f", tmp_path / "saved")
    assert done.returncode == 0, done.stderr
    assert "waiting for the jobs of a killed run to end" in done.stderr
    assert not (tmp_path / ".jobs").exists()


def test_job_whose_watching_process_is_killed_is_lost(tmp_path: Path):
    script = f"cd {tmp_path}; echo $PPID $$ > on.new; mv on.new on; sleep 60; true"
    runner = start(tmp_path, "JOB=1:1", "sh", "-c", script)
    wait_for((tmp_path / "on").exists)
    watcher, job = map(int, (tmp_path / "on").read_text().split())
    os.kill(watcher, signal.SIGKILL)
    _, said = runner.communicate(timeout=120)
    assert "error: job 1 of 1 failed: lost on this machine, exit code -9" in said
    wait_for(lambda: not alive(job))


def test_job_lost_after_another_failed_does_not_hold_up_the_end(tmp_path: Path):
    fails, lost = "until [ -e on ]; do sleep 0.1; done; exit 3", "echo $PPID > on.new; mv on.new on; sleep 60"
    script = f"cd {tmp_path}; [ JOB = 1 ] && {{ {fails}; }}; {lost}; true"
    runner = start(tmp_path, "--max-jobs-run", "2", "JOB=1:2", "sh", "-c", script)
    wait_for(lambda: any(tmp_path.glob(".jobs/*/stop")))
    os.kill(int((tmp_path / "on").read_text()), signal.SIGKILL)
    try:
        _, said = runner.communicate(timeout=10)
    finally:
        runner.kill()
    assert runner.returncode == 1
    assert "error: job 1 2 of 2 failed: exit code 3" in said


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start an array with its logs in a directory; the options come first, the command after JOB=..."""
    at = next(i for i, word in enumerate(arguments) if word.startswith("JOB=")) + 1
    words = [*arguments[:at], str(directory / "x.JOB.log"), *arguments[at:]]
    command = [sys.executable, "-m", "lid_toolkit.jobs", "local", *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
