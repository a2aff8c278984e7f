"""Three systems on the clips of ``voxlingua107_dev``: which commands run, and what is compared."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from shell.recipe import Recipe, lay_recipe

from lid_toolkit.training.config import load_config

SCRIPT = "local/voxlingua107_dev/three_systems.sh"
CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return lay_recipe(tmp_path / "recipe")


def test_three_systems_run_in_five_folds_and_are_compared(recipe: Recipe):
    done = recipe.run(SCRIPT, "--python", str(recipe.stand_in), "--nj", "1", WHISPER="my whisper")
    assert done.returncode == 0, done.stderr
    calls = recipe.calls()
    trained = [call.partition("--config ")[2].split()[0] for call in calls if "pyscripts/train.py" in call]
    names = ("whisper_bare", "whisper_correction", "voxlingua107_dev_ecapa")
    assert trained == [f"conf/{name}.yaml" for name in names for _ in range(5)]
    whisper = [call for call in calls if "train.py" in call and "whisper" in call]
    assert all("--frontend_conf.path_or_url my whisper" in call for call in whisper)
    command, verb, *words = shlex.split(done.stdout.splitlines()[-1])
    assert (command, verb, words[0], words[2]) == ("lid", "compare", "--data_dir", "--systems")
    joined = [call.partition("--output_dir ")[2].split()[0] for call in calls if "pool.py" in call]
    assert words[3:] == joined
    assert all(f"--data_dir {words[1]} " in call for call in calls if "pool.py" in call)


def test_the_bare_model_shares_the_features_of_the_corrected_one():
    bare, corrected = (load_config(CONF / f"whisper_{name}.yaml") for name in ("bare", "correction"))
    for key in ("frontend", "frontend_conf", "use_amp", "amp_dtype", "preprocessor_conf"):
        assert getattr(bare, key) == getattr(corrected, key)
    assert bare.optim_conf["lr"] == 0
