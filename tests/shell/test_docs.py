"""Reference pages end with what the code itself declares: options, keys, components."""

from __future__ import annotations

import os
import subprocess
import sys

import yaml
from shell.recipe import ROOT

from lid_toolkit.models.registry import COMPONENTS


def test_table_of_options_is_not_stale():
    command = ["utils/options_table.sh", "run.sh", "lid.sh"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = (ROOT / "docs/recipe.md").read_text(encoding="utf-8")
    assert text.endswith(table), f"replace the end of docs/recipe.md by the output of: {' '.join(command)}"


def test_table_of_training_keys_is_not_stale():
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert text.endswith(printed("config_table.py")), "replace the end of docs/training.md by its output"


def test_table_about_espnet_is_not_stale():
    text = (ROOT / "docs/espnet.md").read_text(encoding="utf-8")
    assert text.endswith(printed("espnet_table.py")), "replace the end of docs/espnet.md by its output"


def test_differences_from_espnet_are_of_its_options_and_keys():
    differences, names = (
        yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        for path in ("utils/espnet_differences.yaml", "tests/fixtures/espnet/names.yaml")
    )
    for kind in ("options", "keys"):
        assert differences[kind].keys() <= names[kind].keys()


def test_components_are_listed_with_their_arguments():
    text = printed("models_table.py")
    for kind, names in COMPONENTS.items():
        for name in names:
            assert f"#### `{kind}: {name}`\n" in text
    assert "| `n_fft` | `512` | Length of the Fourier transform in samples. |" in text
    assert "<!-- components -->" in (ROOT / "docs/models.md").read_text(encoding="utf-8")


def printed(script: str) -> str:
    """Return what a script of ``utils`` prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, f"utils/{script}"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
