"""Three systems on the clips of ``voxlingua107_dev``: what ``run.sh`` is asked for, and what is compared."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from lid_toolkit.training.config import load_config

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path("local/voxlingua107_dev/three_systems.sh")
NOTE = """#!/usr/bin/env bash
printf '%q ' "$@" >>calls; echo >>calls
"""
"""Stands for ``run.sh``: it writes down its options."""


def test_three_systems_run_in_all_folds_and_are_compared(tmp_path: Path):
    (tmp_path / SCRIPT.parent).mkdir(parents=True)
    shutil.copy(ROOT / SCRIPT, tmp_path / SCRIPT)
    (tmp_path / "run.sh").write_text(NOTE)
    (tmp_path / "run.sh").chmod(0o755)
    command = ["bash", str(tmp_path / SCRIPT), "--nj", "4"]
    settings = os.environ | {"WHISPER": "my whisper"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=True)
    calls = [shlex.split(line) for line in (tmp_path / "calls").read_text().splitlines()]
    options = [dict(zip(words[::2], words[1::2], strict=True)) for words in calls]
    assert all((each["--corpus"], each["--folds"]) == ("voxlingua107_dev", "all") for each in options)
    assert all(each["--nj"] == "4" for each in options)
    names = [Path(each["--lid_config"]).stem for each in options]
    assert names == ["whisper_bare", "whisper_correction", "voxlingua107_dev_ecapa"]
    whisper = "--frontend_conf.path_or_url my\\ whisper"
    assert [each.get("--lid_args") for each in options] == [whisper, whisper, None]
    assert [each.get("--feats_copies") for each in options] == ["3", "3", None]
    kinds = [each.get("--feats_type", "raw") for each in options]
    pooled = [
        f"exp/voxlingua107_dev/all_folds/lid_{name}_{kind}/inference/valid.accuracy.best/all_voxlingua107_dev"
        for name, kind in zip(names, kinds, strict=True)
    ]
    asked = shlex.split(done.stdout.splitlines()[-1])
    assert asked[:3] == ["lid", "compare", "--data_dir"]
    assert asked[3:] == [
        "dump/voxlingua107_dev/raw/all_voxlingua107_dev",
        *("--systems", *pooled),
        *("--names", "whisper,corrected,scratch"),
    ]


def test_the_bare_model_shares_the_features_of_the_corrected_one():
    bare, corrected = (load_config(ROOT / f"conf/whisper_{name}.yaml") for name in ("bare", "correction"))
    for key in ("frontend", "frontend_conf", "use_amp", "amp_dtype", "preprocessor_conf"):
        assert getattr(bare, key) == getattr(corrected, key)
    assert bare.optim_conf["lr"] == 0
