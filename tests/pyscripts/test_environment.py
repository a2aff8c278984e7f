"""Scripts that are run without ``. ./path.sh``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYSCRIPTS = Path(__file__).resolve().parents[2] / "pyscripts"
BARE = (sys.executable, "-I", "-S")  # a Python without packages


def test_scripts_can_be_executed_and_modules_cannot():
    wrong = [
        path.name
        for path in PYSCRIPTS.glob("*.py")
        if os.access(path, os.X_OK) != ('__name__ == "__main__"' in path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe without an environment, but with a script in it."""
    shutil.copytree(PYSCRIPTS, tmp_path / "pyscripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "lid_toolkit").symlink_to(PYSCRIPTS.parent / "lid_toolkit")
    return tmp_path


def call(recipe: Path, *python: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv = ['pyscripts/score.py', '--x', 'y']; "
    code += "sys.path.insert(0, 'pyscripts'); import stages"
    return subprocess.run(
        [*python, "-c", code], cwd=recipe, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_an_environment_one_line_says_what_to_do(recipe: Path):
    done = call(recipe, *BARE)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: pyscripts/score.py: {sys.executable} lacks numpy (first run: . ./path.sh)\n"
    )


def test_the_recipes_environment_is_found(recipe: Path):
    (recipe / ".venv/bin").mkdir(parents=True)
    (recipe / ".venv/.ready").touch()
    (recipe / ".venv/bin/python").write_text('#!/bin/sh\necho "$@"\n')
    (recipe / ".venv/bin/python").chmod(0o755)
    assert call(recipe, *BARE).stdout == "pyscripts/score.py --x y\n"


def test_python_with_the_requirements_needs_no_path(recipe: Path):
    done = call(recipe, "env", "-u", "PYTHONPATH", sys.executable)
    assert (done.returncode, done.stderr) == (0, "")
