"""A copy of the recipe in a directory of its own, and ways to run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("run.sh", "lid.sh", "path.sh", "cmd.sh", "db.sh", "utils")
PACKAGE_FILES = ("pyproject.toml", "setup.py", "constraints.txt")
LINKED = ("lid_toolkit", "pyscripts", "local", "conf")

# Answers like a Python that has the package, writes down what it is asked to run, and runs nothing.
STAND_IN = """#!/usr/bin/env bash
if [[ $1 == - || $1 == -c ]]; then exit 0; fi
printf '%s\\n' "$*" >>"${CALLS}"
case "$*" in
  *".py plan "*"--dry_run true"*) echo 0 ;;
  *".py plan "*) echo 2 ;;
  *" --plan true"*) echo "${DUE:-1}" ;;
  *check_options.py*) echo 2 "${GPUS:-0}" ;;
  *"${FAIL_AT:-none}"*) exit 3 ;;
esac
"""


@dataclass(frozen=True)
class Recipe:
    """A recipe directory.

    Attributes:
        path: where its scripts are.
        stand_in: a Python that only writes down its calls.
    """

    path: Path
    stand_in: Path

    def run(
        self, script: str, *options: str, cwd: Path | None = None, timeout: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its scripts with the Python of the tests, unless ``--python`` is among the options."""
        settings = os.environ | {"python": sys.executable, "CALLS": str(self.path / "calls")} | environment
        return subprocess.run(
            ["bash", str(self.path / script), *options],
            cwd=cwd or self.path,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def set_db(self, **values: str) -> None:
        """Fill in lines of its ``db.sh``."""
        path = self.path / "db.sh"
        lines = path.read_text(encoding="utf-8").splitlines()
        names = [line.partition("=")[0] for line in lines]
        for name, value in values.items():
            lines[names.index(name)] = f"{name}={value}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def stages(self, script: str, *options: str, **environment: str) -> list[str]:
        """Run a script with the stand-in for Python and return the calls it got."""
        (self.path / "calls").unlink(missing_ok=True)
        done = self.run(script, "--python", str(self.stand_in), *options, **environment)
        assert done.returncode == 0, done.stderr
        return self.calls()

    def calls(self) -> list[str]:
        """Return what the stand-in was asked to run."""
        calls = self.path / "calls"
        return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


def lay_recipe(path: Path) -> Recipe:
    """Make the directory ``path`` and lay a recipe into it: its scripts copied, the rest linked."""
    path.mkdir(parents=True)
    for entry in COPIED + PACKAGE_FILES:
        source = ROOT / entry
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, path / entry)
    for entry in LINKED:
        (path / entry).symlink_to(ROOT / entry)
    stand_in = path / "stand-in"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    return Recipe(path, stand_in)
