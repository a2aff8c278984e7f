"""Stages 6 to 8 of the recipe on a model that was imported.

The stages see an experiment of this toolkit whatever its source, so two kinds are tried here. What differs
between the kinds is tested in one process by ``tests/hub/test_import_model.py``.
"""

from __future__ import annotations

import json

import pytest
from commands import call
from importers.sources import write_source, write_spoken
from shell.recipe import Recipe

from lid_toolkit.datadir.tables.table import read_table


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_stages_6_to_8(kind, recipe: Recipe):
    source = write_source(kind, recipe.path / "theirs")
    done = call("lid_toolkit.commands.import_model", source, recipe.path / "exp/imported")
    assert done.returncode == 0, done.stderr
    write_spoken(recipe.path / "dump/raw/test", 12)
    options = ["--lid_exp", "exp/imported", "--test_sets", "test", "--nj", "1", "--ngpu", "0"]
    options += ["--perplexity", "2", "--max_iter", "250"]
    done = recipe.run("lid.sh", "--stage", "6", "--stop_stage", "8", *options, timeout=500)
    assert done.returncode == 0, done.stderr
    out = recipe.path / "exp/imported/inference/valid.accuracy.best/test"
    assert len(read_table(out / "test_lids")) == 12
    assert json.loads((out / "results.json").read_text())["utterances"] == 12
    assert {path.suffix for path in (out / "tsne_plots").iterdir()} >= {".png", ".html", ".csv"}
