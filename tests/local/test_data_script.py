"""The shell side of stage 1: options, faults in one line, other directories and locales, two runs at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.files import locked

SCRIPT = Path(__file__).resolve().parents[2] / "local" / "data.sh"


def run(*options, cwd="/", **environment):
    return subprocess.run(
        ["bash", SCRIPT, *map(str, options)],
        cwd=cwd,
        env=os.environ | {"python": sys.executable} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fault(*options, **environment):
    """Return the one line that an options' fault ends with."""
    done = run(*options, **environment)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_lists_the_options_and_defaults():
    done = run("--help")
    assert done.returncode == 0
    for option in ("--corpus", "--datadir", "--downloads", "--utts_per_lang", "--nj", "--dry_run"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--corpus", "minni"], "minni"),
        (["--corpse", "mini"], "did you mean '--corpus'?"),
        (
            ["--corpus", "prompts", "--utts_per_lang", "1 1 1"],
            "unknown option --utts_per_lang of corpus prompts",
        ),
        (["--corpus", "mini", "--stage", "2"], "unknown option --stage of corpus mini"),
        (["--corpus", "voxlingua107", "--stage", "7"], "give 1 or 2 or 3"),
        (["--corpus", "mini", "--utts_per_lang", "1 1"], "must be three numbers"),
        (["--corpus", "mini", "--utts_per_lang", "1 x 1"], "whole numbers"),
        (["--nj", "0"], "at least 1"),
    ],
)
def test_a_fault_is_one_line(options, line):
    assert line in fault(*options)


def test_mini_from_anywhere_in_any_locale_with_any_path(tmp_path):
    data, downloads = tmp_path / "dätä 語", tmp_path / "dl x"
    options = ("--corpus", "mini", "--datadir", data, "--downloads", downloads, "--utts_per_lang", "1 1 1")
    done = run(*options, cwd=tmp_path, LC_ALL="C", LANG="C")
    assert done.returncode == 0, done.stderr
    paths = list(read_table(data / "train_mini" / "wav.scp").values())
    assert len(paths) == 12
    assert all(path.startswith(f"{downloads}/mini/") and Path(path).is_file() for path in paths)
    again = run(*options, "--dry_run", "true")
    assert again.returncode == 0
    assert "current, skipped" in again.stderr


def test_a_second_run_at_once_is_told(tmp_path):
    with locked(tmp_path / "mini", "preparing mini"):
        line = fault("--corpus", "mini", "--datadir", tmp_path / "data", "--downloads", tmp_path)
    assert "in use: preparing mini" in line


def test_a_file_where_a_directory_should_be_is_named(tmp_path):
    (tmp_path / "data").write_text("a file")
    line = fault("--corpus", "mini", "--datadir", tmp_path / "data", "--downloads", tmp_path / "dl")
    assert line == f"error: {tmp_path / 'data'}: is a file, not a directory"


def test_no_apt_is_one_line(tmp_path):
    """A PATH with what the shell and Python need, and nothing of apt."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "cat", "xargs", "cksum"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    options = ("--corpus", "prompts", "--datadir", tmp_path / "data", "--downloads", tmp_path / "dl")
    line = fault(*options, PATH=str(programs))
    assert "apt-get is missing" in line
    assert ".deb" in line
