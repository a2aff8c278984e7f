"""Small Debian packages, and a stand-in for apt-get that serves them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

APT_GET = """#!/bin/sh
echo "$2" >>"$SERVED/calls"
cp "$SERVED/$2"_*.deb . 2>/dev/null || { echo "E: Unable to locate package $2" >&2; exit 100; }
"""


def build_deb(name: str, tree: Path, folder: Path) -> None:
    """Make a package of the files in ``tree``."""
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(control)
    command = ["dpkg-deb", "-Znone", "--build", tree, folder / f"{name}_1_all.deb"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def serve_debs(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for apt-get into PATH; return the folder it serves, with copies of the packages."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for deb in served.glob("*.deb"):
        shutil.copy(deb, folder)
    program = tmp_path / "bin/apt-get"
    program.parent.mkdir()
    program.write_text(APT_GET)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SERVED", str(folder))
    return folder
