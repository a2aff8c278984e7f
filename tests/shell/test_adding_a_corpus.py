"""A corpus is one directory: the example of docs/adding_a_corpus.md works with no other edit."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from shell.recipe import ROOT, Recipe, lay_recipe

from lid_toolkit.datadir.tables.table import read_table

FILES = ("corpus.sh", "prepare.py", "mine_ecapa.yaml")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe whose ``local`` may be changed, with the example's recordings."""
    recipe = lay_recipe(tmp_path / "récipe dir")
    (recipe.path / "local").unlink()
    shutil.copytree(ROOT / "local", recipe.path / "local")
    for name in ("train", "dev", "test"):
        for language in ("deu", "eng"):
            folder = recipe.path / "downloads/mine" / name / language
            folder.mkdir(parents=True)
            for number in range(3):
                noise = np.random.default_rng(number).normal(0, 0.1, 20000)
                soundfile.write(folder / f"{number}.wav", noise, 16000)
    return recipe


def lay_example(recipe: Recipe) -> None:
    """Write the example's files, taken from the documentation."""
    page = (ROOT / "docs/adding_a_corpus.md").read_text(encoding="utf-8")
    folder = recipe.path / "local/mine"
    folder.mkdir()
    for name in FILES:
        block = re.search(rf"## `local/mine/{name}`\n\n```\w+\n(.*?)```", page, re.DOTALL)
        assert block is not None, name
        (folder / name).write_text(block[1], encoding="utf-8")


def test_the_documented_example_prepares_data(recipe: Recipe):
    lay_example(recipe)
    options = ("--corpus", "mine", "--stop_stage", "1", "--local_data_opts", "--max_utts 2")
    done = recipe.run("run.sh", *options)
    assert done.returncode == 0, done.stderr
    expected = {f"{language}-{number}": language for language in ("deu", "eng") for number in range(2)}
    assert dict(read_table(recipe.path / "data/train_mine/utt2lang")) == expected
    again = recipe.run("run.sh", *options)
    assert "prepare mine: current, skipped" in again.stderr


def test_later_stages_use_its_sets_and_configuration(recipe: Recipe):
    lay_example(recipe)
    calls = recipe.stages("run.sh", "--corpus", "mine", "--nj", "2", "--ngpu", "0")
    train = next(call for call in calls if "train.py" in call)
    assert "--config local/mine/mine_ecapa.yaml " in train
    assert "--train_dir dump/mine/raw/train_mine --valid_dir dump/mine/raw/dev_mine" in train
    assert "--output_dir exp/mine/lid_mine_ecapa_raw " in train


def test_the_documented_configuration_is_valid(recipe: Recipe):
    lay_example(recipe)
    done = recipe.run("run.sh", "--corpus", "mine", "--dry_run", "true", "--ngpu", "0")
    assert done.returncode == 0, done.stderr


def test_help_lists_it_and_its_options(recipe: Recipe):
    lay_example(recipe)
    assert "\n  mine             my recordings in two languages\n" in recipe.run("run.sh", "--help").stdout
    shown = recipe.run("local/data.sh", "--corpus", "mine", "--help").stdout
    assert re.search(r"\n  --max_utts .*\[int\+\] \(default: 1000\)\n", shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lid_options=(", "line 1: unexpected EOF while looking for matching `)'"),
        ("lid_options=()\nfoo", "line 2: foo: command not found"),
        ("lid_options=(${NOWHERE})", "line 1: NOWHERE: unbound variable"),
        ("lid_options=()\nfalse", "exited with an error"),
    ],
)
def test_a_broken_corpus_is_one_line(recipe: Recipe, text: str, message: str):
    (recipe.path / "local/mine").mkdir()
    (recipe.path / "local/mine/corpus.sh").write_text(text)
    done = recipe.run("run.sh", "--corpus", "mine")
    assert done.returncode == 2
    assert done.stderr == f"error: local/mine/corpus.sh: {message} (see docs/adding_a_corpus.md)\n"


def test_a_broken_corpus_does_not_disturb_another(recipe: Recipe):
    (recipe.path / "local/mine").mkdir()
    (recipe.path / "local/mine/corpus.sh").write_text("lid_options=(")
    assert len(recipe.stages("run.sh", "--corpus", "mini", "--stop_stage", "1")) == 2


def test_an_option_of_the_script_cannot_be_declared_again(recipe: Recipe):
    (recipe.path / "local/mine").mkdir()
    (recipe.path / "local/mine/corpus.sh").write_text("lid_options=()\n## Mine\nnj=1 # int: jobs\n")
    done = recipe.run("local/data.sh", "--corpus", "mine")
    assert done.stderr.startswith("error: local/mine/corpus.sh: option --nj is declared twice")


@pytest.mark.parametrize("name", ["My Corpus", "auto"])
def test_a_name_that_cannot_be_used_is_one_line(recipe: Recipe, name: str):
    (recipe.path / "local" / name).mkdir()
    (recipe.path / "local" / name / "corpus.sh").touch()
    done = recipe.run("run.sh", "--help")
    assert done.returncode == 2
    assert f"'{name}' is not a valid corpus name" in done.stderr


@pytest.mark.parametrize("script", ["run.sh", "local/data.sh"])
def test_a_corpus_outside_the_tree_is_one_line(recipe: Recipe, script: str):
    lay_example(recipe)
    (recipe.path / "local/mine").rename(recipe.path.parent / "elsewhere")
    done = recipe.run(script, "--corpus", str(recipe.path.parent / "elsewhere"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "is not valid (give auto or mini or " in done.stderr


def test_a_corpus_without_preparation_is_one_line(recipe: Recipe):
    lay_example(recipe)
    (recipe.path / "local/mine/prepare.py").unlink()
    done = recipe.run("local/data.sh", "--corpus", "mine")
    assert done.stderr == "error: local/mine/prepare.py: missing (see docs/adding_a_corpus.md)\n"
