"""How path.sh finds or makes the Python of a recipe; stand-ins for Python and pip show what it does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shell.recipe import PACKAGE_FILES, ROOT

# A Python that makes virtual environments out of copies of itself. HAS_PACKAGE: it has lid_toolkit;
# OLD, NO_VENV: what it says of itself; PIP_EXIT, PIP_TAKES: what becomes of an installation.
STAND_IN = f"""#!/usr/bin/env bash
case "$*" in
  "- "*) [[ -n "${{HAS_PACKAGE:-}}" ]] ;;
  *version_info*) [[ -z "${{OLD:-}}" ]] ;;
  *"import ensurepip"*) [[ -z "${{NO_VENV:-}}" ]] ;;
  *"import fcntl"*) exec {sys.executable} "$@" ;;
  -V | --version) echo "Python 3.${{OLD:-99}}.0" ;;
  "-m venv"*)
    venv=${{!#}}
    [[ $3 != --clear ]] || rm -rf "${{venv}}"
    mkdir -p "${{venv}}/bin" && cp "$0" "${{venv}}/bin/python" && echo home >"${{venv}}/pyvenv.cfg"
    ;;
  "-m pip"*)
    echo "$*" >>"${{CALLS}}"
    sleep "${{PIP_TAKES:-0}}"
    exit "${{PIP_EXIT:-0}}"
    ;;
esac
"""
TOOLS = ("bash", "cat", "cksum", "cp", "dirname", "mkdir", "mv", "rm", "sleep")


class Site:
    """A recipe directory with ``path.sh``, on a machine whose only Python is the stand-in."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.calls = root / "my récipe", root / "bin", root / "calls"
        self.root.mkdir()
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        for name in ("path.sh", *PACKAGE_FILES):
            shutil.copy(ROOT / name, self.root / name)
        self.python = self.bin / "python3"
        self.add_python(self.python)

    def add_python(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.bin / "bash"), "-c", '. "$0/path.sh" && echo "${python}"', str(self.root)],
            env={"PATH": str(self.bin), "CALLS": str(self.calls)} | environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def source(self, **environment: str) -> tuple[int, str, str]:
        """Source ``path.sh``; return its exit code, the Python it chose and what it said."""
        shell = self.start(**environment)
        chosen, said = shell.communicate(timeout=120)
        return shell.returncode, chosen.strip(), said

    def installations(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_first_use_makes_the_environment_and_the_next_is_silent(site: Site):
    code, chosen, said = site.source()
    assert (code, chosen) == (0, f"{site.root}/.venv/bin/python")
    assert (
        said
        == f"Creating the environment {site.root}/.venv (downloads about 3 GB once; takes a few minutes)\n"
    )
    assert "-c constraints.txt -e .[recipe]" in site.calls.read_text()
    assert site.source() == (0, chosen, "")
    assert site.installations() == 1


def test_set_up_cut_off_half_way_is_finished(site: Site):
    first = site.start(PIP_TAKES="60")
    while not site.installations():
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    code, chosen, said = site.source()
    assert (code, chosen) == (0, f"{site.root}/.venv/bin/python")
    assert said.startswith("Completing or updating the environment")
    assert site.source()[2] == ""


def test_failed_installation_is_one_line_and_is_tried_again(site: Site):
    code, chosen, said = site.source(PIP_EXIT="1")
    assert (code, chosen) == (2, "")
    assert said.splitlines()[-1].startswith(f"error: {site.root}/.venv: the installation failed")
    assert site.source()[0] == 0


def test_second_of_two_at_once_waits_and_does_not_install_again(site: Site):
    first = site.start(PIP_TAKES="1")
    while not site.installations():
        time.sleep(0.05)
    code, chosen, said = site.source()
    first.communicate()
    assert (first.returncode, code, chosen) == (0, 0, f"{site.root}/.venv/bin/python")
    assert said == f"Waiting for another process that is setting up {site.root}/.venv\n"
    assert site.installations() == 1


@pytest.mark.parametrize("changed", [*PACKAGE_FILES, ".venv/pyvenv.cfg"])
def test_changed_requirements_renew_the_environment(site: Site, changed: str):
    site.source()
    with open(site.root / changed, "a") as stream:
        stream.write("# changed\n")
    assert site.source()[2].startswith("Completing or updating the environment")


def test_tools_of_development_are_added_and_kept(site: Site):
    site.source()
    site.source(extras="recipe,dev")
    assert site.calls.read_text().splitlines()[-1].endswith("-e .[recipe,dev]")
    assert site.source()[2] == ""
    (site.root / "constraints.txt").write_text("")
    site.source()
    assert site.calls.read_text().splitlines()[-1].endswith("-e .[recipe,dev]")


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_with_the_package_is_used(site: Site, tmp_path: Path, variable: str):
    site.add_python(tmp_path / "active/bin/python")
    environment = {variable: str(tmp_path / "active")}
    assert site.source(HAS_PACKAGE="1", **environment) == (0, str(tmp_path / "active/bin/python"), "")
    assert site.source(**environment)[1] == f"{site.root}/.venv/bin/python"


def test_python_on_path_with_the_package_is_used(site: Site):
    assert site.source(HAS_PACKAGE="1") == (0, str(site.python), "")


def test_given_python_is_used_or_refused(site: Site, tmp_path: Path):
    given = tmp_path / "given python"
    site.add_python(given)
    assert site.source(python=str(given), HAS_PACKAGE="1") == (0, str(given), "")
    code, chosen, said = site.source(python=str(given))
    assert (code, chosen, len(said.splitlines())) == (2, "", 1)
    assert said.startswith(f"error: {given}: does not run, or lacks lid_toolkit")
    assert not (site.root / ".venv").exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OLD": "8"}, "error: Python 3.8.0: too old (install Python 3.10 or later"),
        ({"NO_VENV": "1"}, "error: python3: module venv is missing (install it"),
    ],
)
def test_unfit_python_is_one_line(site: Site, environment: dict[str, str], message: str):
    code, _, said = site.source(**environment)
    assert (code, len(said.splitlines())) == (2, 1)
    assert said.startswith(message)


def test_no_python_is_one_line(site: Site):
    site.python.unlink()
    code, _, said = site.source()
    assert (code, said) == (
        2,
        "error: PATH: no python3 (install Python 3.10 or later, or give --python)\n",
    )


def test_package_is_told_from_its_metadata(tmp_path: Path):
    """The real check, by the Python of the tests: every distribution that is required must be there."""
    functions = (ROOT / "path.sh").read_text().rpartition("env_activate ")[0]
    check = f'{functions} env_has_package "$0" "$1"'
    metadata = "Metadata-Version: 2.1\nName: lid_toolkit\nVersion: 0\nRequires-Dist: pytest>=8\n"
    for extra, wanted, code in (("recipe", "recipe", 1), ("dev", "recipe", 0), ("dev", "recipe,dev", 1)):
        info = tmp_path / extra / wanted / "lid_toolkit-0.dist-info"
        info.mkdir(parents=True)
        missing = (
            f"Provides-Extra: docs\nRequires-Dist: no-such-thing; extra == 'docs'\n"
            f"Provides-Extra: {extra}\nRequires-Dist: lid_toolkit[docs]; extra == '{extra}'\n"
        )
        (info / "METADATA").write_text(metadata + missing)
        environment = os.environ | {"PYTHONPATH": str(info.parent)}
        command = ["bash", "-c", check, sys.executable, wanted]
        assert subprocess.run(command, env=environment, cwd="/", check=False).returncode == code
