"""Trainings with a teacher: learnt without labels, continued and shared like others, and stale with it."""

from __future__ import annotations

import pytest
from commands import call
from data.answers import HEARD, true_answers, write_answers
from training.experiment import (
    CONFIG,
    arguments,
    epochs,
    finish,
    run,
    run_stopped,
    same,
    start,
    untimed,
    weights,
    write_config,
    write_experiment,
)

from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.training.checkpoint import load_model
from lid_toolkit.training.config import load_config, parse_config
from lid_toolkit.training.distilling import student_languages
from lid_toolkit.training.sources import Sources, training_step

BEST = "valid.accuracy.best.pth"
TAUGHT = {"distill_from": "TEACHER", "max_epoch": 3, "loss": "linear_softmax", "scheduler": None}


def write_taught(directory, labelled=False, **changes):
    """Write an experiment with a teacher that knows the languages of the training set."""
    write_experiment(directory, **{**TAUGHT, **changes})
    write_answers(directory / "teacher", true_answers(directory / "train"))
    if not labelled:
        rows = [(key, "und") for key, _ in read_table(directory / "train/utt2lang")]
        write_table(directory / "train/utt2lang", rows)
        (directory / "stats/lang2idx").write_text("")
    return directory


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A training without a single label, and its directory."""
    directory = write_taught(tmp_path_factory.mktemp("taught"))
    return directory, run(directory)


def test_a_student_learns_without_labels_and_its_file_is_like_any_other(finished):
    _, out = finished
    assert max(epoch["valid_accuracy"] for epoch in epochs(out)) > 0.85  # 1 in 3 by chance
    assert load_model(out / BEST).languages == tuple(sorted(HEARD))
    assert not [name for name in weights(out / BEST) if name.startswith("distillation")]
    assert "distillation.projection.weight" in weights(out / "checkpoint.pth")


def test_going_on_equals_not_having_stopped(finished):
    directory, straight = finished
    run_stopped(directory, "stopped", 11)
    assert same(directory / "stopped" / BEST, straight / BEST)
    assert untimed(epochs(directory / "stopped")) == untimed(epochs(straight))


def test_other_answers_make_a_training_stale_and_its_checkpoint_another(finished):
    directory, _ = finished
    config = load_config(directory / "train.yaml")
    parts = [directory / name for name in ("train", "valid", "stats", "exp", "teacher")]
    step = training_step(config, Sources(*parts))
    with step.work("training", lock=None) as work:
        work.finish([])
    assert not step.reason()
    answers = {path.name: path.read_bytes() for path in parts[-1].iterdir()}
    write_answers(parts[-1], true_answers(directory / "train"), seed=1)
    assert step.reason() == "teacher scores.ark changed"
    with pytest.raises(LidError, match=r"with other settings or data: teacher scores.ark"):
        run(directory)
    for name, content in answers.items():
        (parts[-1] / name).write_bytes(content)


def test_labels_and_a_held_out_share_train_too_and_only_labels_have_the_ordinary_loss(tmp_path):
    directory = write_taught(tmp_path, labelled=True, max_epoch=1, selection_set=0.3)
    (both,) = epochs(run(directory, "both"))
    (alone,) = epochs(run(directory, "alone", 1e9, "--distill_conf.label_weight", "0"))
    assert both["train_loss"] > alone["train_loss"] > 0
    assert load_model(directory / "both" / BEST).languages == ("high", "low", "middle")
    assert len(both["valid_per_language"]) == 3


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, monkeypatch):
    changes = {"max_epoch": 1, "num_iters_per_epoch": 6, "optim": "sgd", "optim_conf": {"lr": 0.02}}
    directory = write_taught(tmp_path, accum_grad=2, **changes)
    (one,) = epochs(run(directory, "one"))
    write_config(directory, **{**TAUGHT, **changes, "accum_grad": 1})
    monkeypatch.setenv("PET_NPROC_PER_NODE", "2")
    words = arguments(directory, "two", "--teacher_dir", str(directory / "teacher"))
    code, _, messages = finish(start("train.py", words))
    assert code == 0, messages
    (two,) = epochs(directory / "two")
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
    assert two["valid_loss"] == pytest.approx(one["valid_loss"], rel=1e-5)


def test_the_languages_may_be_listed(finished):
    directory, _ = finished

    def chosen(labels, *asked):
        config = parse_config({**CONFIG, **TAUGHT, "distill_conf": {"languages": list(asked)}}, "test")
        return student_languages(config, labels, directory / "teacher")

    assert chosen(()) == tuple(sorted(HEARD))
    assert chosen(("low", "middle")) == ("low", "middle")
    assert chosen(("low",), "middle", "low") == ("low", "middle")
    with pytest.raises(LidError, match=r"distill_conf.languages: lacks high, which the training set has"):
        chosen(("high", "low"), "low", "middle")


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"alpha": -1}, "distill_conf.alpha: Input should be greater than or equal to 0"),
        ({"temperature": 0}, "distill_conf.temperature: Input should be greater than 0"),
        ({"temprature": 2}, "unknown key 'distill_conf.temprature' .did you mean 'temperature'"),
        ({"alpha": 0, "beta": 0, "embedding_weight": 0}, "nothing is learnt from the teacher"),
        ({"languages": ["deu"]}, "languages must be at least two different labels"),
    ],
)
def test_wrong_settings(conf, message):
    with pytest.raises(LidError, match=message):
        parse_config({**CONFIG, "distill_conf": conf}, "test")


def test_what_does_not_fit_is_said_before_any_work(tmp_path):
    directory = write_taught(tmp_path)
    done = call("train.py", *arguments(directory, "exp"))
    assert done.returncode == 2
    assert "distill_from: the answers of TEACHER to the training set are missing" in done.stderr
    write_config(directory, **{**TAUGHT, "distill_from": None})
    with pytest.raises(LidError, match=r"teacher_dir: given, but the configuration has no distill_from"):
        run(directory)
    write_config(directory, **TAUGHT, targets="soft")
    with pytest.raises(LidError, match=r"targets: soft and a teacher"):
        run(directory)
    (directory / "teacher").rename(directory / "away")
    write_config(directory, **{**TAUGHT, "distill_from": None})
    with pytest.raises(LidError, match=r"0 languages in the training set, and no teacher"):
        run(directory)
    write_table(directory / "stats/lang2idx", [("high", "0"), ("low", "1"), ("middle", "2")])
    with pytest.raises(LidError, match=r"24 utterances are not labelled .'und'., and there is no teacher"):
        run(directory)
