"""The commands of stages 7 and 8: options, exit codes, one-line errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call
from evaluation.written_set import WrittenSet

PYSCRIPTS = Path(__file__).parents[2] / "pyscripts"


def run(script: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PYSCRIPTS.parent), "LC_ALL": "C"}
    command = [sys.executable, str(PYSCRIPTS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def test_both_stages_run_from_another_directory(small_set: WrittenSet, tmp_path: Path):
    for script in ("score.py", "plot_tsne.py"):
        done = run(script, *small_set.arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (small_set.inference_dir / "report.html").exists()
    assert (small_set.inference_dir / "tsne_plots" / "tsne.html").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "fault"),
    [
        ("score", ["--fs", "16000"], "unknown option --fs"),
        ("score", ["--dryrun", "true"], "unknown option --dryrun (did you mean '--dry_run'?)"),
        ("plot_tsne", ["--perplexity", "0"], "'0' is not a number of at least 1"),
        ("plot_tsne", ["--perplexity", "nan"], "'nan' is not a number of at least 1"),
        ("plot_tsne", ["--max_iter", "100"], "'100' is not a whole number of at least 250"),
    ],
)
def test_wrong_options_end_with_one_line(
    small_set: WrittenSet, script: str, arguments: list[str], fault: str
):
    done = call(script, *small_set.arguments, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
    assert fault in done.stderr


def test_a_missing_set_ends_with_one_line_and_makes_nothing(tmp_path: Path):
    done = call("score", "--data_dir", str(tmp_path / "no"), "--inference_dir", str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "none").exists()
