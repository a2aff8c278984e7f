"""Stage 5 as a process: killed, run by two at once, run again, interrupted."""

from __future__ import annotations

import os
import random
import re
import signal
import time

import pytest
import torch
from commands import call
from training.experiment import arguments, children, finish, same, start, write_config, write_experiment

AVERAGED = "valid.accuracy.ave.pth"
OFTEN = ("--checkpoint_minutes", "0")


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def killed_after(process, checkpoint, changes):
    """Kill a training after some more checkpoints; return False if it ended before."""
    last = stamp(checkpoint)
    while process.poll() is None:
        if stamp(checkpoint) != last:
            last = stamp(checkpoint)
            changes -= 1
            if changes <= 0:
                time.sleep(random.uniform(0, 0.05))
                process.kill()
                process.communicate()
                return True
        time.sleep(0.002)
    return False


def trained(directory, out, *more):
    code, _, messages = finish(start("train.py", arguments(directory, out, *more)))
    assert code == 0, messages
    return messages


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="twice"), pytest.param(5, id="5-times", marks=pytest.mark.slow)]
)
def test_killed_at_any_moment_and_rerun_ends_with_the_same_weights(tmp_path, kills):
    changes = {"num_iters_per_epoch": 16, "max_epoch": 1} if kills < 5 else {"max_epoch": 6}
    directory = write_experiment(tmp_path, num_workers=1, **changes)
    trained(directory, "straight")
    checkpoint = directory / "exp" / "checkpoint.pth"
    for _ in range(kills):
        if not killed_after(
            start("train.py", arguments(directory, "exp", *OFTEN)), checkpoint, random.randint(1, 6)
        ):
            break
    trained(directory, "exp")
    assert same(directory / "exp" / AVERAGED, directory / "straight" / AVERAGED)
    assert not list((directory / "exp").rglob(".tmp-*"))


def test_a_second_training_is_told_and_a_finished_one_is_skipped(tmp_path):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=100)
    words = arguments(directory, "exp", *OFTEN)
    first = start("train.py", words)
    while not (directory / "exp" / "checkpoint.pth").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.send_signal(signal.SIGSTOP)
    code, _, messages = finish(start("train.py", words))
    assert code == 2
    assert messages.splitlines()[-1].startswith(
        f"error: {directory / 'exp'}: in use: training (process {first.pid}"
    )
    first.send_signal(signal.SIGCONT)
    assert finish(first)[0] == 0
    before = stamp(directory / "exp" / "checkpoint.pth")
    assert "current, skipped" in trained(directory, "exp", *OFTEN)
    assert stamp(directory / "exp" / "checkpoint.pth") == before

    code, _, messages = finish(start("train.py", arguments(directory, "exp", "--optim_conf.lr", "0.5")))
    assert code == 2
    assert "optim_conf" in messages.splitlines()[-1]


def wait_for_batch(process, directory, number):
    log = directory / "exp" / "train.log"
    while not log.exists() or f"batch {number}/" not in log.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("send", "number", "code", "last"),
    [
        (os.kill, signal.SIGINT, 130, "stopped"),
        (os.killpg, signal.SIGINT, 130, "stopped"),
        (os.killpg, signal.SIGTERM, 75, "stopped by SIGTERM; the same command continues"),
        (os.kill, signal.SIGUSR1, 75, "stopped by SIGUSR1; the same command continues"),
        (os.killpg, signal.SIGHUP, 75, "stopped by SIGHUP; the same command continues"),
    ],
)
def test_a_training_asked_to_stop_leaves_a_checkpoint_of_that_moment(tmp_path, send, number, code, last):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=2000, num_workers=1)
    process = start("train.py", arguments(directory, "exp", "--log_interval", "1"))
    wait_for_batch(process, directory, 3)
    send(process.pid, number)
    returned, _, messages = finish(process)
    assert returned == code
    assert messages.splitlines()[-1].endswith(last)
    assert "Traceback" not in messages
    done = re.findall(r"batch (\d+)/", messages)[-1]
    checkpoint = torch.load(directory / "exp" / "checkpoint.pth", weights_only=True)
    assert checkpoint["sampler"]["batches"] == int(done)
    assert not list((directory / "exp").rglob(".tmp-*"))


def test_a_signal_to_the_process_group_does_not_change_the_weights(tmp_path):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=60, num_workers=1)
    trained(directory, "straight")
    words = arguments(directory, "exp", "--log_interval", "1")
    process = start("train.py", words)
    wait_for_batch(process, directory, 3)
    os.killpg(process.pid, signal.SIGTERM)
    assert finish(process)[0] == 75
    assert "continuing from epoch 1" in finish(start("train.py", words))[2]
    assert same(directory / "exp" / AVERAGED, directory / "straight" / AVERAGED)


def test_with_nohup_a_closed_terminal_does_not_stop_a_training(tmp_path):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=60, num_workers=1)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("train.py", arguments(directory, "exp", "--log_interval", "1"))
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_batch(process, directory, 3)
    os.killpg(process.pid, signal.SIGHUP)
    code, _, messages = finish(process)
    assert code == 0, messages


def test_a_killed_worker_is_one_line(tmp_path):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=2000, num_workers=1)
    process = start("train.py", arguments(directory, "exp", "--log_interval", "1"))
    wait_for_batch(process, directory, 3)
    os.kill(children(process)[0], signal.SIGKILL)
    code, _, messages = finish(process)
    assert code == 2, messages
    assert messages.splitlines()[-1].startswith("error: num_workers: a data-loading worker was killed (")
    assert "Traceback" not in messages


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--max_epoc", "3"], "unknown key 'max_epoc' (did you mean 'max_epoch'?)"),
        (["--checkpoint_minutes", "-1"], "'-1' is not a number of at least 0"),
        (["--init_param=/none.pth::"], "/none.pth: does not exist"),
        (["--ngpu", "99"], "ngpu 99: this machine has "),
        (["--num_nodes", "2"], "2 machines, but PET_MASTER_ADDR or PET_NODE_RANK is missing"),
    ],
)
def test_faults_are_one_line(tmp_path, more, message):
    directory = write_experiment(tmp_path)
    done = call("train", *arguments(directory, "exp", *more))
    messages = done.stderr
    assert done.returncode == 2
    assert message in messages.splitlines()[-1]
    assert "Traceback" not in messages


@pytest.mark.parametrize("processes", [1, 2])
def test_what_changes_during_a_training_makes_it_stale(tmp_path, monkeypatch, processes):
    monkeypatch.setenv("PET_NPROC_PER_NODE", str(processes))
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=20)
    log = directory / "exp" / "train.log"
    process = start("train.py", arguments(directory, "exp", "--log_interval", "1"))
    while not log.exists() or " batch " not in log.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    (directory / "train" / "utt2dataset").write_text("made while it is trained\n")
    code, _, messages = finish(process)
    assert code == 0, messages
    assert "to do (train utt2dataset changed)" in trained(
        directory, "exp", "--log_interval", "1", "--dry_run", "true"
    )


def test_a_dry_run_makes_nothing(tmp_path):
    directory = write_experiment(tmp_path)
    write_config(directory)
    assert "to do (not done yet)" in trained(directory, "exp", "--dry_run", "true")
    assert not (directory / "exp").exists()
