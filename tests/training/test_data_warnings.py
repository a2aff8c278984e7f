"""Data that are probably a mistake are named before a training."""

from __future__ import annotations

import shutil

import pytest
from training.experiment import write_config, write_experiment

from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.training.config import load_config
from lid_toolkit.training.data_warnings import data_warnings
from lid_toolkit.training.distributed import World
from lid_toolkit.training.sources import Sources
from lid_toolkit.training.train import gather_training


def warnings_of(directory):
    sources = Sources(directory / "train", directory / "valid", directory / "stats", directory / "exp")
    return data_warnings(gather_training(load_config(directory / "train.yaml"), sources, World(), 1.0, {}))


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr("lid_toolkit.training.data_warnings.FEW_UTTERANCES", 9)
    return write_experiment(tmp_path)


def use_as_valid(directory, rows):
    """Let the validation set be some of the training set's utterances."""
    shutil.rmtree(directory / "valid")
    shutil.copytree(directory / "train", directory / "valid")
    shapes = list(read_table(directory / "stats/train/speech_shape"))
    write_table(directory / "stats/valid/speech_shape", [shapes[row] for row in rows])
    for name in ("wav.scp", "utt2lang", "utt2num_samples"):
        table = list(read_table(directory / "train" / name))
        write_table(directory / "valid" / name, [table[row] for row in rows])


def test_two_separate_sets_need_no_warning(directory):
    assert warnings_of(directory) == []


def test_the_training_set_as_validation_set(directory):
    use_as_valid(directory, range(24))
    (text,) = warnings_of(directory)
    assert text.startswith("24 of 24 validation utterances are also in the training set")


def test_a_validation_set_of_two_utterances(directory):
    use_as_valid(directory, [0, 1])
    common, few, absent = warnings_of(directory)
    assert common.startswith("2 of 2 validation utterances")
    assert "has only 2 utterances: one more error changes the accuracy by 50 %" in few
    assert absent == "the validation set has no utterances of middle"


def test_batches_of_less_than_a_second(directory):
    write_config(directory, batch_bins=15_999)
    (text,) = warnings_of(directory)
    assert text.startswith("batch_bins 15999 is less than one second of audio (16000 samples)")
    write_config(directory, batch_bins=16_000)
    assert warnings_of(directory) == []
