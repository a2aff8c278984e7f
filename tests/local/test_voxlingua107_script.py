"""VoxLingua107 by the recipe's own script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from local_voxlingua107 import content, spoiled
from shell.recipe import lay_recipe

from lid_toolkit.datadir.tables.table import read_table


@pytest.fixture
def recipe(tmp_path):
    return lay_recipe(tmp_path / "recipe")


def script(recipe, *options, **environment):
    return recipe.run("local/data.sh", "--corpus", "voxlingua107", *options, **environment)


def test_a_missing_path_names_the_line_to_fill(recipe):
    done = script(recipe)
    lines = (recipe.path / "db.sh").read_text().splitlines()
    number = lines.index("VOXLINGUA107=") + 1
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: db.sh:{number}: VOXLINGUA107 is empty (set it to")
    assert done.stderr.count("\n") == 1


def test_the_whole_script_with_db_sh_alone(server, recipe):
    recipe.set_db(VOXLINGUA107="corpus", VOXLINGUA107_URL=server.url.rstrip("/"))
    server.drops["en.zip"] = [5000]
    bad, _ = spoiled(server.folder / "no.zip")
    server.instead["no.zip"] = [bad]
    done = recipe.run("local/data.sh")
    assert done.returncode == 0, done.stderr
    assert "Corpus: voxlingua107" in done.stderr
    assert len(read_table(recipe.path / "data/train_voxlingua107/utt2lang")) > 20
    assert (recipe.path / "corpus/en").is_dir()
    assert "MUSAN: no directory set in db.sh" in done.stderr
    again = recipe.run("local/data.sh", "--dry_run", "true")
    assert "current" in again.stderr


def test_a_fault_of_the_network_is_one_line_at_the_end(recipe):
    recipe.set_db(VOXLINGUA107="corpus", VOXLINGUA107_URL="http://127.0.0.1:9/")
    done = script(recipe)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: http://127.0.0.1:9/zip_urls.txt: cannot be reached"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_killed_at_any_time_and_run_again_gives_the_same(server, recipe):
    recipe.set_db(VOXLINGUA107="corpus", VOXLINGUA107_URL=server.url)
    command = ["bash", str(recipe.path / "local/data.sh"), "--nj", "1"]
    environment = os.environ | {"python": sys.executable}
    for wait in (1.0, 1.5, 2.0, 2.5):
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
            time.sleep(wait)
            running.kill()
    assert script(recipe).returncode == 0
    killed = content(recipe.path / "data")
    shutil.rmtree(recipe.path / "data")
    shutil.rmtree(recipe.path / "corpus")
    assert script(recipe).returncode == 0
    assert content(recipe.path / "data") == killed
    assert not list(recipe.path.rglob(".tmp-*"))
