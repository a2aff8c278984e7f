"""``--feats_type extracted``: which commands run, and a whole run from audio to scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from data.corpus import write_set
from models.pretrained_encoders import save_tiny
from shell.recipe import Recipe

SETS = ("--train_set", "train", "--valid_set", "dev", "--test_sets", "dev", "--nj", "2", "--ngpu", "0")


def test_the_front_end_runs_in_stage_4_and_identification_takes_audio(recipe: Recipe):
    config = recipe.path / "whisper.yaml"
    config.write_text("frontend: transformers\n")
    for name in ("train", "dev"):
        (recipe.path / "dump/raw" / name).mkdir(parents=True)
    extracted = ("--feats_type", "extracted", "--feats_copies", "3", "--lid_config", str(config))
    calls = recipe.stages("lid.sh", "--stage", "4", *SETS, *extracted, "--lid_args", "--seed 7")
    for name, copies in (("train", 3), ("dev", 0)):
        plans = [call for call in calls if "extract_features.py plan" in call and f"raw/{name} " in call]
        assert len(plans) == 1
        assert f"--output_dir dump/extracted/{name} --copies {copies} " in plans[0]
        assert "--seed 7" in plans[0]
    train = next(call for call in calls if "train.py" in call)
    assert "--train_dir dump/extracted/train --valid_dir dump/extracted/dev " in train
    assert "--stats_dir exp/lid_stats_16k_extracted --output_dir exp/lid_whisper_extracted" in train
    assert all("--data_dir dump/raw/" in call for call in calls if "infer.py" in call or "score.py" in call)


def test_extraction_needs_a_configuration(recipe: Recipe):
    done = recipe.run("lid.sh", "--stage", "4", "--stop_stage", "4", *SETS, "--feats_type", "extracted")
    assert done.returncode == 2
    assert "--lid_config is missing" in done.stderr


@pytest.mark.slow
def test_a_whole_run_from_audio_to_scores(recipe: Recipe, tmp_path: Path):
    for name, utterances, seed in (("train", 24, 1), ("dev", 9, 2)):
        write_set(recipe.path / "data" / name, utterances, seed, shortest=17000, longest=30000)
    folder = save_tiny(tmp_path, "whisper")
    config = {
        "frontend": "transformers",
        "frontend_conf": {"path_or_url": str(folder), "frozen": True, "layers": [1, 3]},
        "encoder": "ecapa_tdnn",
        "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
        "projector_conf": {"output_size": 8},
        "preprocessor_conf": {"target_duration": 1.0, "volume_apply_prob": 1.0},
        "batch_bins": 160000,
        "num_iters_per_epoch": 4,
        "max_epoch": 2,
        "num_workers": 0,
    }
    (recipe.path / "tiny.yaml").write_text(yaml.safe_dump(config))
    options = ("--stage", "3", "--stop_stage", "7", *SETS, "--lid_config", "tiny.yaml")
    done = recipe.run(
        "lid.sh",
        *options,
        "--feats_type",
        "extracted",
        "--feats_copies",
        "1",
        timeout=600,
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stderr
    assert " GB of " in done.stderr
    out = recipe.path / "exp/lid_tiny_extracted/inference/valid.accuracy.best/dev"
    assert json.loads((out / "results.json").read_text())["utterances"] == 9
    folder.rename(tmp_path / "gone")
    again = recipe.run(
        "lid.sh", *options[2:], "--stage", "6", "--feats_type", "extracted", "--inference_batch_size", "1"
    )
    assert again.returncode == 0, again.stderr
    assert "current, skipped" in again.stderr
