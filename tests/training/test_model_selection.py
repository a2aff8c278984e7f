"""Which epochs are the best, by one criterion or several."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training.experiment import write_experiment

from lid_toolkit.errors import LidError
from lid_toolkit.training.checkpoint import load
from lid_toolkit.training.config import load_config, parse_config
from lid_toolkit.training.distributed import World
from lid_toolkit.training.model_selection import (
    average_best,
    check_model_name,
    drop_others,
    keep_best,
    kept_epochs,
    out_of_patience,
    rank,
)
from lid_toolkit.training.sources import Sources
from lid_toolkit.training.train import gather_training, make_learner

ACCURACY, LOSS = ("valid", "accuracy", "max"), ("valid", "loss", "min")


def measured(accuracies, losses=None, trained=None):
    losses, trained = losses or [1.0] * len(accuracies), trained or [1.0] * len(accuracies)
    rows = zip(accuracies, losses, trained, strict=True)
    return [
        {"epoch": n, "valid_accuracy": a, "valid_macro_accuracy": 0.0, "valid_loss": v, "train_loss": t}
        for n, (a, v, t) in enumerate(rows, start=1)
    ]


def test_ranks():
    assert rank(ACCURACY, measured([0.5, 0.9, 0.7])) == [2, 3, 1]
    assert rank(ACCURACY, measured([0.5, 0.5])) == [2, 1]
    assert rank(ACCURACY, measured([0.5, 0.5], [0.1, 0.2])) == [1, 2]
    assert rank(LOSS, measured([0.1, 0.9], [0.5, np.nan])) == [1, 2]
    assert rank(("train", "loss", "min"), measured([0, 0], trained=[2.0, 1.0])) == [2, 1]
    assert rank(("valid", "accuracy", "min"), measured([0.5, 0.9])) == [1, 2]


def test_espnets_list_and_the_short_form():
    listed = [["valid", "accuracy", "max"], ["valid", "loss", "min"]]
    config = parse_config({"best_model_criterion": listed, "keep_nbest_models": [1, 2]}, "x")
    assert config.best_model_criterion == (ACCURACY, LOSS)
    history = measured([0.9, 0.8, 0.7, 0.1], [4.0, 3.0, 2.0, 1.0])
    assert kept_epochs(config, history) == {1, 2, 3, 4}
    assert parse_config({"best_model_criterion": "loss"}, "x").best_model_criterion == (LOSS,)


@pytest.mark.parametrize("value", ["acc", [], [["valid", "accuracy"]], [["train", "macro_accuracy", "max"]]])
def test_faulty_criteria(value):
    with pytest.raises(LidError, match="x: best_model_criterion"):
        parse_config({"best_model_criterion": value}, "x")


WRITTEN = (
    *("valid.accuracy.best.pth", "valid.loss.best.pth", "valid.loss.ave.pth", "4epoch.pth"),
    *("valid.accuracy.ave_2best.pth", "valid.accuracy.ave_3best.pth"),
)
NOT_WRITTEN = (
    *("train.loss.best.pth", "valid.acc.best.pth", "valid.accuracy.ave_4best.pth", "valid.accuracy.best"),
    *("5epoch.pth", "0epoch.pth", "imported.pth", "best.pth"),
)


def test_whether_a_training_writes_a_model_is_known_before_it():
    raw = {"best_model_criterion": [ACCURACY, LOSS], "keep_nbest_models": [1, 3], "max_epoch": 4}
    config = parse_config(raw, "x")
    for name in WRITTEN:
        check_model_name(name, config)
    for name in NOT_WRITTEN:
        message = (
            f"^inference_model: training does not write {name}: it keeps the best 3 of 4 epochs by valid"
        )
        with pytest.raises(LidError, match=message):
            check_model_name(name, config)


def test_patience():
    config = parse_config({"patience": 2}, "x")
    assert not out_of_patience(config, [])
    assert not out_of_patience(config, measured([0.5, 0.9, 0.7, 0.8]))
    assert out_of_patience(config, measured([0.5, 0.9, 0.7, 0.8, 0.6]))
    by_loss = parse_config({"patience": 2, "early_stopping_criterion": ["valid", "loss", "min"]}, "x")
    assert not out_of_patience(by_loss, measured([0.5, 0.9, 0.7, 0.8, 0.6], [4, 3, 2, 1, 1.5]))


def begin(tmp_path, words):
    directory = write_experiment(tmp_path)
    config = load_config(directory / "train.yaml", words)
    sources = Sources(directory / "train", directory / "valid", directory / "stats", directory / "exp")
    training = gather_training(config, sources, World(), 1e9, {})
    learner, _ = make_learner(training, directory / "stats")
    return directory, config, training, learner


def test_an_epoch_is_dropped_only_after_the_checkpoint_that_knows_a_better_one(tmp_path):
    """A training that is killed before it, and then scores otherwise, needs the old best's weights."""
    directory, config, training, learner = begin(tmp_path, ["--keep_nbest_models", "1"])
    out = directory / "exp"
    keep_best(training, learner, measured([0.5]), out)
    keep_best(training, learner, measured([0.5, 0.6]), out)  # killed here, before its checkpoint
    keep_best(training, learner, measured([0.5, 0.4]), out)  # done anew, it is no longer the best
    drop_others(config, measured([0.5, 0.4]), out)
    assert [path.name for path in out.glob("*epoch.pth")] == ["1epoch.pth"]
    assert average_best(config, measured([0.5, 0.4]), out)[-1].resolve().name == "1epoch.pth"


def test_files_of_two_criteria_and_two_averages(tmp_path):
    criteria = "[[valid, accuracy, max], [valid, loss, min]]"
    words = ["--best_model_criterion", criteria, "--keep_nbest_models", "[1, 2]"]
    directory, config, training, learner = begin(tmp_path, words)
    history = measured([0.9, 0.8, 0.7, 0.6], [4.0, 3.0, 2.0, 1.0])
    bias = learner.model.projector.fc.bias
    for epoch in range(1, 5):
        with torch.no_grad():
            bias.fill_(epoch)
        keep_best(training, learner, history[:epoch], directory / "exp")
        drop_others(config, history[:epoch], directory / "exp")
    names = {path.name for path in (directory / "exp").glob("*epoch.pth")}
    assert names == {"1epoch.pth", "2epoch.pth", "3epoch.pth", "4epoch.pth"}
    (directory / "exp" / "valid.accuracy.best.pth").unlink()  # as tools that copy no links leave it
    written = average_best(config, history, directory / "exp")
    assert [path.name for path in written] == [
        *("valid.accuracy.ave_1best.pth", "valid.accuracy.ave_2best.pth", "valid.accuracy.best.pth"),
        *("valid.loss.ave_1best.pth", "valid.loss.ave_2best.pth", "valid.loss.best.pth"),
    ]
    means = {"valid.accuracy.ave_2best": 1.5, "valid.accuracy.best": 1, "valid.loss.ave": 3.5}
    for name, mean in means.items():
        assert load(directory / "exp" / f"{name}.pth")["model"]["projector.fc.bias"].unique().tolist() == [
            mean
        ]
    (directory / "exp" / "2epoch.pth").unlink()
    with pytest.raises(LidError, match=r"2epoch.pth: the weights of one of the best epochs are missing"):
        average_best(config, history, directory / "exp")
