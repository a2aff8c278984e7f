"""``--distill_from`` in stage 5: the teacher identifies the training set once; a student learns from it."""

from __future__ import annotations

import json

import pytest
from data.corpus import LANGUAGES, RATE
from inference.conftest import DESCRIPTION
from shell.recipe import Recipe
from training.experiment import write_experiment

from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import load_model, save_model

OPTIONS = ("--train_set", "train", "--valid_set", "valid", "--ngpu", "0", "--nj", "1")


def test_the_teacher_answers_before_the_training(recipe: Recipe):
    (recipe.path / "teacher.zip").touch()
    mini = ("--corpus", "mini", "--stage", "5", "--stop_stage", "5", "--ngpu", "0", "--skip_stages", "4")
    for made in ("dump/mini/raw/train_mini", "dump/mini/raw/dev_mini", "exp/mini/lid_stats_16k/train"):
        (recipe.path / made).mkdir(parents=True)
    calls = recipe.stages("run.sh", *mini, "--distill_from", "teacher.zip")
    answers = "exp/mini/teachers/teacher.zip/train_mini"
    infer = [call for call in calls if "infer.py" in call]
    assert [word for call in infer for word in ("plan", "job", "merge") if f"infer.py {word}" in call] == [
        *("plan", "job", "merge")
    ]
    wanted = f"--model teacher.zip --data_dir dump/mini/raw/train_mini --output_dir {answers} "
    assert all(f"{wanted}--extract_embd true" in call for call in infer)
    assert "train.py" in calls[-1]
    assert f"--distill_from teacher.zip --teacher_dir {answers}" in calls[-1]


def test_a_teacher_that_does_not_exist(recipe: Recipe):
    words = ("--lid_config", "x.yaml", "--distill_from", "none.zip")
    done = recipe.run("lid.sh", "--stage", "5", "--stop_stage", "5", *OPTIONS, *words)
    assert done.returncode == 2
    assert "--distill_from none.zip: does not exist" in done.stderr


@pytest.mark.slow
def test_stage_5_distils_an_experiment(recipe: Recipe):
    directory = write_experiment(recipe.path / "dump/raw", max_epoch=1)
    (directory / "stats").rename(recipe.path / "stats")
    (recipe.path / "exp").mkdir()
    (recipe.path / "stats").rename(recipe.path / "exp/lid_stats_16k")
    model = build_model(DESCRIPTION, len(LANGUAGES))
    teacher = recipe.path / "exp/lid_teacher"
    teacher.mkdir()
    save_model(teacher / "valid.accuracy.best.pth", model.state_dict(), DESCRIPTION, LANGUAGES, RATE)
    words = (*OPTIONS, "--stage", "5", "--stop_stage", "5", "--lid_config", str(directory / "train.yaml"))
    student = (*words, "--lid_tag", "student", "--distill_from", "exp/lid_teacher")
    done = recipe.run("lid.sh", *student, "--dry_run", "true", timeout=300)
    assert "waits for exp/teachers/exp_lid_teacher/train/scores.scp" in done.stderr
    done = recipe.run("lid.sh", *student, timeout=300)
    assert done.returncode == 0, done.stderr
    assert load_model(recipe.path / "exp/lid_student/valid.accuracy.best.pth").languages
    again = recipe.run("lid.sh", *student, timeout=300)
    assert "identify exp/teachers/exp_lid_teacher/train: current, skipped" in again.stderr
    assert "train exp/lid_student: current, skipped" in again.stderr
    record = json.loads((recipe.path / "exp/lid_student/.done/train.json").read_text())
    assert record["inputs"]["teacher scores.ark"]
