"""Reference pages end with what the code itself declares: options, keys, components."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from shell.recipe import ROOT


def test_table_of_options_is_not_stale():
    command = ["utils/options_table.sh", "run.sh", "lid.sh"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = (ROOT / "docs/recipe.md").read_text(encoding="utf-8")
    assert text.endswith(table), f"replace the end of docs/recipe.md by the output of: {' '.join(command)}"


@pytest.mark.parametrize(
    ("script", "page"), [("config_table.py", "training.md"), ("models_table.py", "models.md")]
)
def test_tables_made_from_the_code_are_not_stale(script, page):
    command = [sys.executable, f"utils/{script}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tables = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text.endswith(tables), f"replace the end of docs/{page} by the output of: utils/{script}"
