"""docs/recipe.md lists the options as run.sh and lid.sh declare them."""

from __future__ import annotations

import os
import subprocess
import sys

from shell.recipe import ROOT


def test_table_of_options_is_not_stale():
    command = ["utils/options_table.sh", "run.sh", "lid.sh"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = (ROOT / "docs/recipe.md").read_text(encoding="utf-8")
    assert text.endswith(table), f"replace the end of docs/recipe.md by the output of: {' '.join(command)}"


def test_tables_of_training_keys_are_not_stale():
    command = [sys.executable, "utils/config_table.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tables = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert text.endswith(tables), (
        "replace the end of docs/training.md by the output of: utils/config_table.py"
    )
