"""Configurations that stage 5 would refuse, found before any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training.experiment import CONFIG

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (("--fs", "16000"), {}, ""),
        (
            ("--fs", "8000"),
            {},
            "configured for 16000 Hz, but --fs is 8000 (set preprocessor_conf.sample_rate",
        ),
        ((), {"preprocessor_conf": {"sample_rate": 8000}}, "the front end expects 16000 Hz"),
        ((), {"freeze_param": ["nothing"]}, "no parameter's name starts with 'nothing'"),
        ((), {"init_param": ["none.pth"]}, "init_param none.pth: the file does not exist"),
        (("--config", "none.yaml"), {}, "none.yaml: the file does not exist"),
    ],
)
def test_faults_are_told(tmp_path, options, changes, message):
    config = tmp_path / "x.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, **changes}))
    command = [sys.executable, ROOT / "pyscripts/check_config.py", "--config", config, *options]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == ((2, 1) if message else (0, 0))
    assert message in done.stderr
