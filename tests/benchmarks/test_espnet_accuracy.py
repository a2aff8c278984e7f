"""``benchmarks/espnet_accuracy.py`` with a stand-in for ESPnet, which answers every utterance alike."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from lid_toolkit.evaluation.answers import read_answers

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = str(ROOT / "benchmarks")
STAND_IN = """#!/bin/sh
module=$2
while [ $# -gt 1 ]; do
  [ "$1" != --output_dir ] || out=$2
  shift
done
mkdir -p "$out"
case $module in
  *train) touch "$out/valid.accuracy.best.pth" ;;
  *inference) printf 'a fin\\nb fin\\n' >"$out/their_name_lids" ;;
esac
"""


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import espnet_accuracy

    yield espnet_accuracy
    for name in ("espnet_accuracy", "espnet_training", "processes", "settings"):
        sys.modules.pop(name, None)


def test_every_batch_has_as_many_crops_as_ours(accuracy):
    """480,000 samples at 16 kHz are 30 s: ten crops of 3 s, in the last batch of an epoch, too."""
    conf = {
        "batch_type": "catpow",
        "batch_bins": 480000,
        "category_upsampling_factor": 0.25,
        "num_iters_per_epoch": 7,
        "max_epoch": 3,
        "scheduler_conf": {"max_steps": 99},
        "preprocessor_conf": {"target_duration": [2.0, 4.0], "voice_apply_prob": 0.5},
        "use_amp": "auto",
    }
    found = accuracy.settings(conf, None)
    assert found["min_batch_size"] == found["max_batch_size"] == 10
    assert found["upsampling_factor"] == 0.25
    assert found["scheduler_conf"]["max_steps"] == 21
    assert "use_amp" not in found
    assert "voice_apply_prob" not in found["preprocessor_conf"]


def test_the_answers_are_in_a_directory_that_lid_compare_reads(accuracy, tmp_path, capsys):
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    for name in ("train", "test"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "utt2lang").write_text("a fin\nb tur\n")
        (directory / "lang2utt").write_text("fin a\ntur b\n")
        (directory / "utt2num_samples").write_text("a 16000\nb 32000\n")
        (directory / "sampling_rate").write_text("16000\n")
    config = ROOT / "conf" / "voxlingua107_dev_ecapa.yaml"
    out = tmp_path / "out"
    accuracy.main(
        [
            *("--espnet_python", str(python), "--config", str(config), "--output_dir", str(out)),
            *(word for name in ("train", "test") for word in (f"--{name}_dir", str(tmp_path / name))),
            *("--valid_dir", str(tmp_path / "train"), "--stats_dir", str(tmp_path)),
        ]
    )
    assert "50.0" in capsys.readouterr().out
    answers = read_answers(tmp_path / "test", out / "inference" / "test")
    assert (answers.predicted == answers.true).tolist() == [True, False]
    assert (out / "lid_labels").read_text() == "a fin\nb fin\n"
    assert yaml.safe_load((out / "train.yaml").read_text())["max_batch_size"] == 10
