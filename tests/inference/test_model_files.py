"""Which files the answers of a model depend on, and stage 6 with models that are no model files."""

from __future__ import annotations

import shutil

import torch

from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.inference.identification import Identification, plan
from lid_toolkit.inference.job import run_job
from lid_toolkit.inference.merge import merge
from lid_toolkit.inference.model_files import model_files


def test_a_file_an_experiment_and_a_folder(tmp_path):
    file = tmp_path / "model.zip"
    assert model_files(file) == {"model": file}
    experiment = tmp_path / "exp"
    experiment.mkdir()
    for name in ("config.json", "model.safetensors"):
        (experiment / name).touch()
    (experiment / "images").mkdir()
    assert model_files(experiment) == {
        f"model {name}": experiment / name for name in ("config.json", "model.safetensors")
    }
    (experiment / "valid.accuracy.best.pth").touch()
    assert model_files(experiment) == {"model": experiment / "valid.accuracy.best.pth"}


def test_an_experiment_answers_as_its_best_model(model_file, speech, tmp_path):
    experiment = tmp_path / "exp"
    experiment.mkdir()
    best = shutil.copy(model_file, experiment)
    answers = []
    for model in (model_file, experiment):
        work = Identification(model, speech, tmp_path / f"out{len(answers)}" / "some_set")
        assert plan(work, 1) == 1
        run_job(work, 1, 8, torch.device("cpu"), 0)
        merge(work)
        answers.append(list(read_table(work.output_dir / "some_set_lids")))
        assert not work.step.reason()
    assert answers[0] == answers[1]
    torch.save({**torch.load(best, weights_only=True), "rate": 16000, "more": 1}, best)
    assert work.step.reason() == "model changed"
