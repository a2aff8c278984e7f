"""Trainings whose embeddings hide a domain: files, continuation, and what makes them stale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training.experiment import epochs, run, run_stopped, same, untimed, weights, write_experiment

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import read_table, table_from_pairs, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.models.adversary import UNKNOWN
from lid_toolkit.training.adversarial import domains_of, occurring
from lid_toolkit.training.checkpoint import load_model
from lid_toolkit.training.config import load_config, parse_config
from lid_toolkit.training.sources import Sources, training_step

BEST = "valid.accuracy.best.pth"
HIDDEN = {"adversary": "utt2spk", "adversary_conf": {"weight": 0.2, "hidden_size": 8}, "max_epoch": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A training that hides four speakers, and its directory."""
    directory = write_experiment(tmp_path_factory.mktemp("hidden"), **HIDDEN)
    write_speakers(directory, 4)
    return directory, run(directory)


def write_speakers(directory, count: int) -> None:
    keys = [key for key, _ in read_table(directory / "train/utt2lang")]
    write_table(directory / "train/utt2spk", [(key, f"s{n % count}") for n, key in enumerate(keys)])


def test_the_model_file_is_like_any_other(finished):
    _, out = finished
    load_model(out / BEST)
    assert not [name for name in weights(out / BEST) if name.startswith("adversary")]
    assert weights(out / "checkpoint.pth")["adversary.out.weight"].shape == (4, 8)


def test_going_on_equals_not_having_stopped(finished):
    directory, straight = finished
    run_stopped(directory, "stopped", 5)
    assert same(directory / "stopped" / BEST, straight / BEST)
    assert untimed(epochs(directory / "stopped")) == untimed(epochs(straight))


def test_other_domains_make_a_training_stale_and_it_needs_the_table(finished):
    directory, _ = finished
    config = load_config(directory / "train.yaml")
    step = training_step(config, Sources(*(directory / name for name in ("train", "valid", "stats", "exp"))))
    with step.work("training", lock=None) as work:
        work.finish([])
    assert not step.reason()
    write_speakers(directory, 3)
    assert "train utt2spk" in step.reason()
    (directory / "train/utt2spk").unlink()
    with pytest.raises(LidError, match="utt2spk"):
        run(directory, "without")


def test_domains_of_a_batch_by_hand():
    refs = table_from_pairs((key, "x") for key in "abcd")
    labels_u, domains_u = np.array([0, 1, -1, 1], np.int32), np.array([2, 0, 1, 1], np.int32)
    data = Utterances(refs, labels_u, np.ones(4, np.int64), domains_u=domains_u)
    assert occurring(data, 2).tolist() == [[False, False, True], [True, True, False]]
    rows_b = torch.tensor([3, 2, 0, 1])
    batch = Minibatch(torch.zeros(4, 1), torch.ones(4), torch.tensor([1, -1, 0, 0]), rows_b, [])
    found = domains_of(data, batch, torch.device("cpu"))
    assert found.tolist() == [1, UNKNOWN, 2, UNKNOWN]  # the last one is silence with another label
    chosen = data.select(np.array([1, 0]))
    assert chosen.domains_u.tolist() == [0, 2]
    plain = Utterances(refs, labels_u, np.ones(4, np.int64))
    assert domains_of(plain, batch, torch.device("cpu")) is None


def test_wrong_settings_are_one_line():
    with pytest.raises(LidError, match=r"unknown key 'adversary_conf\.wieght'"):
        parse_config({"adversary": "utt2spk", "adversary_conf": {"wieght": 1}}, "x.yaml")
    with pytest.raises(LidError, match="adversary: "):
        parse_config({"adversary": "utt2sex"}, "x.yaml")
