"""Two processes on the CPU: the same training as one, ended together, and clear about what ended them."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from models.pretrained_encoders import make, save_tiny
from torch.distributed.elastic.multiprocessing import ProcessFailure
from training.experiment import (
    ROOT,
    arguments,
    children,
    finish,
    run,
    start,
    weights,
    write_config,
    write_experiment,
)

from lid_toolkit.errors import LidError
from lid_toolkit.training import distributed, launch
from lid_toolkit.training.config import parse_config
from lid_toolkit.training.distributed import MEMBER_VARIABLES, World, joined, spread
from lid_toolkit.training.launch import Members, fail, member_environments, members
from lid_toolkit.training.sharding import shard

WITH_TWO_CORES = """
import sys
from lid_toolkit.cli import run
from lid_toolkit.commands.recipe.train import main
from lid_toolkit.training import launch
launch.count_cores = lambda: 2
run(main)
"""
SHORT = {"max_epoch": 1, "num_iters_per_epoch": 6}


@pytest.fixture
def pair(monkeypatch):
    """Make ``start`` train in two processes."""
    monkeypatch.setenv("PET_NPROC_PER_NODE", "2")


def measures(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def trained(directory, out, script="train.py", **changes):
    write_config(directory, **{**SHORT, **changes})
    code, _, messages = finish(start(script, arguments(directory, out)))
    assert code == 0, messages
    return measures(directory / out)


def alone(directory, out, **changes):
    """Train within the test, which is one process."""
    write_config(directory, **{**SHORT, **changes})
    return measures(run(directory, out))


def same_losses(one, other, rel=1e-5):
    for ours, theirs in zip(one, other, strict=True):
        for name in ("train_loss", "valid_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=rel)
        assert (ours["updates"], ours["train_accuracy"]) == (theirs["updates"], theirs["train_accuracy"])


def test_two_processes_share_the_batches_of_an_update_and_train_as_one(tmp_path, monkeypatch):
    directory = write_experiment(tmp_path)
    # Adam would make whole steps even of gradients that are only rounding, as of a bias before a softmax.
    changes = {"accum_grad": 4, "ema_decay": 0.5, "optim": "sgd", "optim_conf": {"lr": 0.02}}
    one = alone(directory, "one", **changes)
    script = tmp_path / "with_two_cores.py"
    script.write_text(WITH_TWO_CORES)
    monkeypatch.delenv("PET_NPROC_PER_NODE", raising=False)
    two = trained(directory, "two", script, **changes)
    same_losses(one, two)
    ours, theirs = (weights(directory / out / "1epoch.pth") for out in ("one", "two"))
    assert all(torch.allclose(value, theirs[name], atol=1e-5) for name, value in ours.items())
    assert "computing: 2 processes, each float32 on cpu" in (directory / "two" / "train.log").read_text()


@pytest.mark.slow
def test_sharing_the_weights_out_changes_nothing_and_goes_on(tmp_path, monkeypatch):
    directory = write_experiment(tmp_path)
    one = alone(directory, "one", accum_grad=2, max_epoch=2)
    monkeypatch.setenv("PET_NPROC_PER_NODE", "2")
    same_losses(one[:1], trained(directory, "two", sharded_ddp=True))
    # Adam makes whole steps of gradients that are hardly more than rounding: six updates spread it to 1e-5.
    same_losses(one, trained(directory, "two", sharded_ddp=True, max_epoch=2), rel=1e-4)


@pytest.mark.slow
def test_torchrun_by_hand_with_a_frozen_part(tmp_path):
    directory = write_experiment(tmp_path, **SHORT, freeze_param=["encoder.conv"])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [str(ROOT / "pyscripts" / "train.py"), *arguments(directory, "exp")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(measures(directory / "exp")) == 1


def wait_for(process, log, words):
    while not log.exists() or words not in log.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_ends_all_after_the_same_update_and_a_dead_process_ends_the_others(tmp_path, number):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=4000, num_workers=1)
    log, checkpoint = directory / "exp" / "train.log", directory / "exp" / "checkpoint.pth"
    words = arguments(directory, "exp", "--log_interval", "1")
    process = start("train.py", words)
    wait_for(process, log, "batch 4/")
    os.killpg(process.pid, number)
    for _ in range(3):  # lid.sh passes the signal on, which the group already has
        time.sleep(0.1)
        process.send_signal(number)
    code, _, messages = finish(process)
    assert code == 75, messages
    assert "Traceback" not in messages
    assert messages.splitlines()[-1].endswith(f"stopped by {number.name}; the same command continues")
    last = int(re.findall(r"batch (\d+)/", messages)[-1])
    content = torch.load(checkpoint, weights_only=True)
    assert content["sampler"]["batches"] == last

    process = start("train.py", words)
    wait_for(process, log, f"batch {last + 4}/")
    os.kill(children(process)[1], signal.SIGKILL)
    code, _, messages = finish(process)
    assert code == 2
    assert messages.splitlines()[-1].startswith("error: training: process ")
    assert "was killed by SIGKILL" in messages.splitlines()[-1]
    assert torch.load(checkpoint, weights_only=True)["sampler"]["batches"] >= last


@pytest.mark.slow
def test_two_processes_stop_within_an_epoch_and_one_does_the_rest(tmp_path, monkeypatch):
    directory = write_experiment(tmp_path, max_epoch=1, num_iters_per_epoch=60)
    words = arguments(directory, "exp", "--log_interval", "1")
    monkeypatch.setenv("PET_NPROC_PER_NODE", "2")
    process = start("train.py", words)
    wait_for(process, directory / "exp" / "train.log", "batch 4/")
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == 75
    place = torch.load(directory / "exp" / "checkpoint.pth", weights_only=True)["sampler"]
    assert place["epoch"] == 1
    assert 4 <= place["batches"] < 60

    monkeypatch.delenv("PET_NPROC_PER_NODE")
    code, _, messages = finish(start("train.py", words))
    assert code == 0, messages
    assert f"continuing from epoch 1, batch {place['batches']}" in messages
    (rest,), (whole,) = measures(directory / "exp"), measures(run(directory, "whole"))
    assert rest["audio_s"] == pytest.approx(whole["audio_s"])  # summed in another order
    assert rest["updates"] == place["batches"] // 2 + 60 - place["batches"]


def failed(place, code, timestamp=0):
    failure = ProcessFailure(local_rank=place, pid=0, exitcode=code, error_file="none")
    failure.timestamp = timestamp
    return failure


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_killed_process_is_the_cause_of_what_is_found_at_the_same_look(order):
    failures = [failed(0, 2), failed(1, -signal.SIGKILL), failed(2, -signal.SIGTERM)]
    with pytest.raises(LidError, match="process 1 was killed by SIGKILL"):
        fail([failures[place] for place in order])


def test_of_processes_that_exit_the_first_counts():
    with pytest.raises(SystemExit) as left:
        fail([failed(0, 3, timestamp=8), failed(1, 2, timestamp=7), failed(2, -signal.SIGTERM, timestamp=6)])
    assert left.value.code == 2


@pytest.mark.usefixtures("pair")
def test_a_fault_is_told_once(tmp_path):
    directory = write_experiment(tmp_path, **SHORT)
    (directory / "stats" / "lang2idx").write_text("high 0\nlow 5\n")
    code, _, messages = finish(start("train.py", arguments(directory, "exp")))
    assert code == 2
    assert "Traceback" not in messages
    assert "error: " in messages
    assert "lang2idx: indices are not 0, 1, 2" in messages


@pytest.fixture
def alone_in_a_group(monkeypatch):
    """Make the process a group of its own, in which DDP does all that it does among several."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in zip(MEMBER_VARIABLES, ("0", "0", "1", "127.0.0.1", str(port)), strict=True):
        monkeypatch.setenv(name, value)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Halves(torch.nn.Module):
    """Uses one of its halves at a time."""

    def __init__(self, announced):
        super().__init__()
        self.halves = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))
        self.skips_parameters = announced

    def forward(self, turn):
        return self.halves[turn](torch.ones(1, 2)).sum()


def run_twice(model, unused_parameters=False):
    with joined("0"):
        wrapped = spread(model, World(size=2), False, unused_parameters)
        for turn in (0, 1):
            wrapped(turn).backward()
        return [half.weight.grad is not None for half in model.halves]


@pytest.mark.usefixtures("alone_in_a_group")
@pytest.mark.parametrize(("announced", "configured"), [(True, False), (False, True)])
def test_parameters_that_a_batch_leaves_alone_are_looked_for(announced, configured):
    assert run_twice(Halves(announced), configured) == [True, True]


@pytest.mark.usefixtures("alone_in_a_group")
def test_a_parameter_without_a_gradient_is_told_in_one_line():
    with pytest.raises(LidError, match=r"no gradient.*unused_parameters: true"):
        run_twice(Halves(announced=False))


def test_ddp_leaves_the_lengths_on_the_cpu(monkeypatch):
    """With device_ids it would move them to the GPU."""
    given = {}
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda _, **named: given.update(named))
    spread(Halves(announced=False), World(torch.device("cuda", 1), 1, 2), False, False)
    assert "device_ids" not in given


class Stack(torch.nn.Module):
    """A small layer, and a large one in a list."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(8, 256)
        large = torch.nn.TransformerEncoderLayer(256, 4, 2048, dropout=0.0, batch_first=True)
        self.layers = torch.nn.ModuleList([large])

    def forward(self, x_btd):
        return self.layers[0](self.first(x_btd))


@pytest.mark.usefixtures("alone_in_a_group")
def test_large_layers_are_gathered_in_bfloat16_and_kept_in_float32():
    torch.manual_seed(0)
    model = Stack()
    alone, x_btd, seen = copy.deepcopy(model), torch.randn(2, 5, 8), []
    with joined("0"):
        shard(model, "cpu", 1, torch.bfloat16)
        layer = model.layers[0]
        layer.register_forward_pre_hook(lambda part, _: seen.append(part.linear1.weight.dtype))
        results = []
        for module in (alone, model):
            with torch.autocast("cpu", torch.bfloat16):
                results.append(module(x_btd))
            results[-1].float().square().mean().backward()
        assert seen == [torch.bfloat16]
        assert torch.allclose(*results, atol=0.02)
        gradient = layer.linear1.weight.grad.full_tensor()
        assert gradient.dtype == layer.linear1.weight.dtype == model.first.weight.dtype == torch.float32
        assert torch.allclose(gradient, alone.layers[0].linear1.weight.grad, atol=1e-5)


@pytest.mark.usefixtures("alone_in_a_group")
def test_no_layer_is_dropped_where_all_processes_gather_it(tmp_path):
    """They draw different ones: each would wait for a layer that the others left out."""
    folder = save_tiny(tmp_path, "whisper")
    with joined("0"):
        for token, stack in ((False, "upstream"), (True, "upstream.decoder")):
            frontend = make(folder, layerdrop=0.99, language_token=token).train()
            shard(frontend, "cpu", 1)
            run = []
            for layer in frontend.get_submodule(stack).layers:
                layer.register_forward_hook(lambda *_, run=run: run.append(1))
            frontend(torch.randn(1, 4000), torch.tensor([4000]))
            assert len(run) == len(frontend.get_submodule(stack).layers)


def test_who_is_who_on_several_machines(monkeypatch):
    monkeypatch.setenv("PET_MASTER_ADDR", "node0")
    monkeypatch.setenv("PET_NODE_RANK", "1")
    monkeypatch.delenv("PET_MASTER_PORT", raising=False)
    found = member_environments(Members(here=2), nodes=3)
    assert [member["RANK"] for member in found] == ["2", "3"]
    assert [member["LOCAL_RANK"] for member in found] == ["0", "1"]
    assert {(m["WORLD_SIZE"], m["MASTER_ADDR"], m["MASTER_PORT"]) for m in found} == {("6", "node0", "29500")}
    assert {member["LID_PARENT"] for member in found} == {str(os.getpid())}  # killed, it takes them along


@pytest.mark.parametrize(
    ("cores", "variables", "nodes", "config", "expected"),
    [
        (4, {}, 1, {}, Members(1)),
        (4, {}, 1, {"accum_grad": 4}, Members(4, sharing=True)),
        (4, {}, 1, {"accum_grad": 6}, Members(3, sharing=True)),  # 4 processes could not have equal shares
        (1, {}, 1, {"accum_grad": 6}, Members(1)),
        (4, {}, 2, {"accum_grad": 4}, Members(1)),  # the machines may have different numbers of cores
        (4, {"PET_NPROC_PER_NODE": "2"}, 1, {"accum_grad": 4}, Members(2)),
        (4, {}, 1, {"accum_grad": 4, "frontend": "s3prl"}, Members(1)),
    ],
)
def test_processes_on_the_cores_of_a_machine(monkeypatch, cores, variables, nodes, config, expected):
    monkeypatch.setattr(launch, "count_cores", lambda: cores)
    monkeypatch.delenv("PET_NPROC_PER_NODE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert members("0", nodes, parse_config(config, "here")) == expected


@pytest.mark.parametrize("variables", [{}, {"PET_MASTER_ADDR": "node0", "PET_NODE_RANK": "2"}])
def test_several_machines_that_do_not_know_each_other(monkeypatch, variables):
    for name in ("PET_MASTER_ADDR", "PET_NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LidError, match="2 machines, but PET_MASTER_ADDR or PET_NODE_RANK is missing"):
        member_environments(Members(here=1), nodes=2)
