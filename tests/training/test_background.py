"""A checkpoint that is written while the training goes on is that of the moment it was asked for."""

from __future__ import annotations

import threading

import pytest
import torch
from training.experiment import write_experiment

from lid_toolkit.errors import LidError
from lid_toolkit.training import state as state_module
from lid_toolkit.training.background import Background, snapshot
from lid_toolkit.training.config import load_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.sources import Sources
from lid_toolkit.training.state import State, save_checkpoint
from lid_toolkit.training.train import gather_training, make_learner


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a training and a learner; checkpoints are written aside as with a GPU."""
    directory = write_experiment(tmp_path)
    config = load_config(directory / "train.yaml")
    sources = Sources(directory / "train", directory / "valid", directory / "stats", directory / "exp")
    (directory / "exp").mkdir()
    training = gather_training(config, sources, World(), 1e9, {})
    monkeypatch.setattr(state_module, "in_background", lambda _: True)
    return training, make_learner(training, directory / "stats")[0]


@pytest.fixture
def gate(monkeypatch):
    """Return an event for which every write waits."""
    event, write = threading.Event(), state_module.save

    def late(path, content):
        assert event.wait(30)
        write(path, content)

    monkeypatch.setattr(state_module, "save", late)
    return event


def read(training):
    return torch.load(training.checkpoint, weights_only=True)


def test_what_changes_after_the_call_is_not_written(made, gate):
    training, learner = made
    weight = learner.model.encoder.conv.weight
    before, state = weight.detach().clone(), State(updates=3, sums={"loss": 1.0})
    save_checkpoint(training, learner, state, wait=False)
    assert not training.checkpoint.exists()
    with torch.no_grad():
        weight.zero_()
    state.updates, state.sums["loss"] = 4, 2.0
    state.history.append({})
    gate.set()
    training.background.wait()
    content = read(training)
    assert torch.equal(content["model"]["encoder.conv.weight"], before)
    assert (content["state"]["updates"], content["state"]["sums"]) == (3, {"loss": 1.0})
    assert content["state"]["history"] == []


def test_the_last_checkpoint_replaces_one_that_is_still_being_written(made, gate):
    training, learner = made
    save_checkpoint(training, learner, State(updates=1), wait=False)
    threading.Timer(0.1, gate.set).start()
    save_checkpoint(training, learner, State(updates=2))
    assert read(training)["state"]["updates"] == 2


def test_an_error_of_a_write_is_told_by_the_next(made, monkeypatch):
    training, learner = made

    def full(path, _):
        raise LidError("cannot be written", where=path)

    monkeypatch.setattr(state_module, "save", full)
    save_checkpoint(training, learner, State(), wait=False)
    with pytest.raises(LidError, match="cannot be written"):
        save_checkpoint(training, learner, State())


def test_one_piece_of_work_at_a_time():
    background, done = Background(), []
    background.start(lambda: done.append(1))
    background.start(lambda: done.append(2))
    background.wait()
    background.wait()
    assert done == [1, 2]


def test_a_snapshot_shares_no_memory():
    content = {"a": [torch.zeros(2)], "b": {"c": torch.ones(1), "d": 3}}
    copied = snapshot(content)
    content["a"][0].fill_(5)
    content["b"]["c"].fill_(5)
    assert copied["a"][0].tolist() == [0, 0]
    assert copied["b"]["c"].tolist() == [1]
    assert copied["b"]["d"] == 3
