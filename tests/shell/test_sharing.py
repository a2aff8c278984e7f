"""Stages 9 and 10 through the shell: their commands, a run on a tiny experiment, the page about them."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

from hub.hub_server import serving
from huggingface_hub import ModelCard
from package.packed import hub_settings, packed, run_alone, write_experiment, write_speech
from shell.recipe import ROOT, Recipe

MODEL = "exp/mini/lid_mini_ecapa_raw/valid.accuracy.best.pth"
ZIP = "exp/mini/lid_mini_ecapa_raw/lid_mini_ecapa_raw_valid.accuracy.best.zip"
MINI = ("--corpus", "mini", "--ngpu", "0")


def place_model(recipe: Recipe) -> None:
    (recipe.path / MODEL).parent.mkdir(parents=True)
    (recipe.path / MODEL).touch()


def test_commands(recipe: Recipe):
    place_model(recipe)
    _, pack, upload = recipe.stages(  # the first call checks the options
        "run.sh", *MINI, "--stage", "10", "--skip_upload_hf", "false", "--hf_repo", "a/b"
    )
    assert pack.startswith(f"pyscripts/pack.py --model {MODEL} --output {ZIP} ")
    assert (
        "--inference_dirs exp/mini/lid_mini_ecapa_raw/inference/valid.accuracy.best/test_mini --hf_repo a/b "
        in pack
    )
    command = "./lid.sh --train_set train_mini --valid_set dev_mini --lid_config conf/mini_ecapa.yaml"
    assert f"--datasets train_mini --command {command} --dry_run false" in pack
    assert upload == f"pyscripts/upload_hf.py --package {ZIP} --hf_repo a/b --hf_private true --dry_run false"


def test_an_exported_model_and_samples_are_passed_on(recipe: Recipe):
    place_model(recipe)
    (recipe.path / "my model.onnx").touch()
    sharing = ("--packed_onnx", "my model.onnx", "--hf_samples", "a.wav 'my b.wav'")
    (_, pack) = recipe.stages("run.sh", *MINI, *sharing, "--stage", "9", "--skip_packing", "false")
    assert " --onnx my model.onnx --samples a.wav my b.wav --datasets train_mini " in pack
    done = recipe.run(
        "run.sh", *MINI, "--packed_onnx", "none.onnx", "--stage", "9", "--skip_packing", "false"
    )
    assert done.returncode == 2
    assert "--packed_onnx none.onnx: does not exist (write it with lid export --format onnx)" in done.stderr


def test_the_training_command_has_what_is_not_usual(recipe: Recipe):
    options = ("--speed_perturb_factors", "0.9 1.1", "--lid_args", "--optim_conf.lr 1e-4", "--lid_exp", "e")
    (recipe.path / "e").mkdir()
    (recipe.path / "e/valid.accuracy.best.pth").touch()
    (_, pack) = recipe.stages("run.sh", *MINI, *options, "--stage", "9", "--skip_packing", "false")
    assert "--output e/e_valid.accuracy.best.zip " in pack
    assert r"--train_set train_mini --valid_set dev_mini --speed_perturb_factors 0.9\ 1.1 " in pack
    assert r"--lid_config conf/mini_ecapa.yaml --lid_args --optim_conf.lr\ 1e-4 " in pack


def test_a_tiny_experiment_is_packed_and_uploaded(recipe: Recipe, tmp_path: Path):
    experiment = write_experiment(tmp_path / "lid_tiny").parent
    config = tmp_path / "my configs" / "x.yaml"
    options = ("--lid_exp", str(experiment), "--test_sets", "test_x none", "--train_set", "train_x")
    with serving() as hub:
        done = recipe.run(
            *("lid.sh", *options, "--lid_config", str(config), "--stage", "10", "--skip_upload_hf", "false"),
            *("--hf_repo", "me/lid", "--hf_license", "mit"),
            **hub_settings(tmp_path / "hf", hub.url),
        )
        assert done.returncode == 0, done.stderr
        files = hub.repositories["me/lid"].files
    package = experiment / "lid_tiny_valid.accuracy.best.zip"
    with zipfile.ZipFile(package) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    card = files["README.md"].decode()
    assert "```sh\n./lid.sh --train_set train_x --lid_config x.yaml\n```" in card
    data = ModelCard(card).data
    assert (data.license, data.datasets) == ("mit", ["train_x"])
    assert [item.dataset_name for item in data.eval_results] == ["test_x", "test_x"]


def test_the_page_about_it_is_true(recipe: Recipe, tmp_path: Path):
    page = (ROOT / "docs/sharing.md").read_text(encoding="utf-8")
    place_model(recipe)
    commands = re.findall(r"^    \./(run\.sh .*)$", page, re.MULTILINE)
    programs = [[call.split()[0] for call in recipe.stages(*shlex.split(command))] for command in commands]
    check, pack, upload = (f"pyscripts/{name}.py" for name in ("check_options", "pack", "upload_hf"))
    assert programs == [
        [check, pack],
        [check, pack],
        [check, pack, upload],
    ]  # the zip is not there for the dry run to show

    package = packed(write_experiment(tmp_path / "lid_tiny"))
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example
    (tmp_path / "alone").mkdir()
    package.rename(tmp_path / "alone" / Path(ZIP).name)
    write_speech(tmp_path / "alone" / "speech.wav")
    done = run_alone(tmp_path / "alone", "-c", example[1])
    assert done.stdout.startswith("Prediction(status='ok', language="), done.stderr
