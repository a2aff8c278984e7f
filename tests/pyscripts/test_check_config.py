"""Configurations that stage 5 would refuse, found before any work."""

from __future__ import annotations

import pytest
import yaml
from commands import call
from training.experiment import CONFIG


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
        ((), {"init_param": ["none.pth"]}, "init_param none.pth: does not exist"),
        (
            (),
            {"targets": "multi_hot"},
            "targets: loss aamsoftmax_sc_topk cannot be trained with targets: mul",
        ),
        (("--config", "none.yaml"), {}, "none.yaml: does not exist"),
        (
            (),
            {"preprocessor_conf": {"noise_scp": "dump/raw/n.scp"}},
            "dump/raw/n.scp: does not exist; also looked in data and dump/raw (make this list, or",
        ),
        (("--inference_model", "valid.accuracy.best.pth"), {}, ""),
        (("--inference_model", "valid.loss.best.pth"), {}, "training does not write valid.loss.best.pth"),
        (("--sounds_to_come", "data/n.scp\ndata/r.scp"), {"preprocessor_conf": {"rir_scp": "r.scp"}}, ""),
    ],
)
def test_faults_are_told(tmp_path, options, changes, message):
    config = tmp_path / "x.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, **changes}))
    done = call("check_config", "--config", config, *options)
    assert (done.returncode, len(done.stderr.splitlines())) == ((2, 1) if message else (0, 0))
    assert message in done.stderr


@pytest.mark.parametrize(
    ("options", "changes", "notes"),
    [
        ((), {}, 0),
        (("--espnet", "true"), {}, 4),
        ((), {"num_att_plot": 0}, 4),
        (("--num_att_plot", "0"), {}, 4),
    ],
)
def test_differences_from_espnet_are_printed(tmp_path, options, changes, notes):
    """Four of them apply: batch_bins, validation, other defaults and the penalty."""
    config = tmp_path / "x.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, **changes}))
    done = call("check_config", "--config", config, *options)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, notes)
