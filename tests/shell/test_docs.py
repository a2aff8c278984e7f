"""docs/recipe.md lists the options as run.sh and lid.sh declare them."""

from __future__ import annotations

import subprocess

from shell.recipe import ROOT


def test_table_of_options_is_not_stale():
    command = ["utils/options_table.sh", "run.sh", "lid.sh"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = (ROOT / "docs/recipe.md").read_text(encoding="utf-8")
    assert text.endswith(table), f"replace the end of docs/recipe.md by the output of: {' '.join(command)}"
