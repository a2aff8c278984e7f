"""Curves that are pictures, metrics that read back, events for TensorBoard."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.curve_pictures import CURVES
from lid_toolkit.training import measures
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.console import describe_epoch
from lid_toolkit.training.loop import finish_epoch
from lid_toolkit.training.measures import check_wandb, report
from lid_toolkit.training.state import State
from lid_toolkit.training.validation import Scores

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 2.0 / epoch,
        "valid_loss": 3.0 / epoch,
        "train_accuracy": 0.5,
        "valid_accuracy": 0.25 * epoch,
        "valid_macro_accuracy": 0.2 * epoch,
        "valid_per_language": {"eng": 0.2 * epoch, "fra": 0.3},
        "lr": 1e-3,
        "seconds": 12.0,
    }
    for epoch in (1, 2, 3)
]


def test_metrics_pictures_and_events(tmp_path):
    report(TrainConfig(), HISTORY[:1], tmp_path)
    report(TrainConfig(), HISTORY, tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == HISTORY
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        f"{name}.{form}" for name in (*CURVES, "per_language") for form in ("png", "svg")
    }
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("valid/accuracy")] == [1, 3]
    assert events.Scalars("valid/accuracy")[-1].value == pytest.approx(0.75)


def test_an_epoch_written_again_after_a_kill_is_there_once(tmp_path, monkeypatch):
    # Files are read in the order of the second in their names; here all would have the same.
    seconds = itertools.count(1_000_000_000)
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=lambda: next(seconds)))
    config = TrainConfig(use_matplotlib=False)
    for history in (HISTORY[:1], HISTORY[:2], HISTORY[:2], HISTORY):
        report(config, history, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("valid_per_language/eng")] == [1, 2, 3]
    assert not (tmp_path / "images").exists()


def test_what_is_switched_off_is_not_written(tmp_path):
    report(TrainConfig(use_matplotlib=False, use_tensorboard=False), HISTORY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


class FakeWandb:
    """A fake of the package that records its calls."""

    def __init__(self):
        self.run, self.logged = None, []

    def init(self, **settings):
        self.run = settings

    def log(self, scalars, step):
        self.logged.append((step, scalars["valid/accuracy"]))


def test_measures_go_to_wandb_and_a_missing_package_is_one_line(tmp_path, monkeypatch):
    config = TrainConfig(use_matplotlib=False, use_tensorboard=False, use_wandb=True, wandb_project="lid")
    monkeypatch.setattr(measures.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LidError, match="use_wandb: the package wandb is missing"):
        check_wandb(config)
    fake = FakeWandb()
    monkeypatch.setattr(measures.importlib, "import_module", lambda _: fake)
    for count in (1, 2):
        report(config, HISTORY[:count], tmp_path / "exp")
    assert fake.logged == [(1, 0.25), (2, 0.5)]
    assert (fake.run["project"], fake.run["name"], fake.run["resume"]) == ("lid", "exp", "allow")
    assert fake.run["id"] == f"{tmp_path.name}-exp"


def test_the_log_line_says_what_matters():
    assert describe_epoch(HISTORY[1]) == (
        "epoch 2: train loss 1.000, accuracy 0.5000; valid loss 1.500, accuracy 0.5000, macro 0.4000; 12 s"
    )


def test_measures_of_an_epoch_are_those_of_the_epoch_alone():
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    state = State()
    for loss in (8.0, 2.0):
        state.add(utterances=4, loss=loss, correct=1, audio_s=10.0)
        finish_epoch(SimpleNamespace(optimizer=optimizer), state, Scores(1.0, 0.5, {"deu": 0.5}))
    measured = [(epoch["epoch"], epoch["train_loss"], epoch["audio_s"]) for epoch in state.history]
    assert measured == [(1, 2.0, 10.0), (2, 0.5, 10.0)]
