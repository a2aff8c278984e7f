"""A small run of the whole recipe on synthetic speech: killed, continued, scored, and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from shell.recipe import Recipe, lay_recipe

from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.tables.table import read_table

SMALLER = (
    "--encoder_conf.ndim 64 --encoder_conf.output_size 192 --projector_conf.output_size 32 "
    "--num_iters_per_epoch 60 --max_epoch 5 --scheduler_conf.max_steps 300 --batch_bins 480000"
)
OPTIONS = ("--local_data_opts", '--utts_per_lang "40 4 8"', "--lid_tag", "small", "--lid_args", SMALLER)
LANGUAGES = 12


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe whose run was killed with -9 in the middle of training and then run again to its end."""
    recipe = lay_recipe(tmp_path_factory.mktemp("whole") / "récipe 語 dir")
    kill_when_there(recipe, recipe.path / "exp/mini/lid_small/checkpoint.pth")
    done = recipe.run("run.sh", *OPTIONS, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "continuing from epoch" in done.stderr
    return recipe


def kill_when_there(recipe: Recipe, file: Path) -> None:
    """Start the recipe and kill all its processes once a file is there."""
    command = ["bash", str(recipe.path / "run.sh"), *OPTIONS]
    settings = os.environ | {"python": sys.executable}
    with (recipe.path / "killed.log").open("w") as log:
        run = subprocess.Popen(
            command, env=settings, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_for(file, run, recipe.path / "killed.log")
        finally:
            os.killpg(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL


def wait_for(file: Path, run: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a run has made a file; fail if it ends before or takes ten minutes."""
    deadline = time.monotonic() + 600
    while not file.exists():
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"no {file.name} in ten minutes: {log.read_text()}"
        time.sleep(0.2)


@pytest.mark.slow
def test_unseen_voices_are_identified(finished: Recipe):
    results = json.loads((inference(finished) / "results.json").read_text(encoding="utf-8"))
    assert results["utterances"] == 8 * LANGUAGES
    # Chance is 0.08; a whole minute's training reaches about 0.6, and 96 utterances scatter it by 0.1.
    assert results["accuracy"]["value"] > 0.35
    assert results["accuracy"]["low"] < results["accuracy"]["value"] < results["accuracy"]["high"]


@pytest.mark.slow
def test_every_stage_left_its_files(finished: Recipe):
    expected = [
        "data/train_mini/segments",
        "dump/mini/raw/train_mini/utt2num_samples",
        "exp/mini/lid_stats_16k/lang2idx",
        "exp/mini/lid_small/config.yaml",
        "exp/mini/lid_small/train.log",
        "exp/mini/lid_small/images/accuracy.png",
        "exp/mini/lid_small/valid.accuracy.ave_3best.pth",
    ]
    answers = ["test_mini_lids", "scores.scp", "embeddings.ark", "lang_embeddings.scp"]
    reports = ["results", "confusion.png", "report.html"]
    maps = ["tsne_plots/tsne.png", "tsne_plots/tsne.html", "tsne_plots/tsne.csv"]
    files = [finished.path / name for name in expected]
    files += [inference(finished) / name for name in answers + reports + maps]
    assert [str(file) for file in files if not file.stat().st_size] == []


@pytest.mark.slow
def test_answers_do_not_depend_on_the_batch(finished: Recipe):
    experiment = finished.path / "exp/mini/lid_small"
    same_weights = (experiment / "valid.accuracy.best.pth").readlink().name
    stage_6 = ("--stage", "6", "--stop_stage", "6", "--inference_model", same_weights)
    done = finished.run("run.sh", *OPTIONS, *stage_6, "--inference_batch_size", "1", "--nj", "1", timeout=300)
    assert done.returncode == 0, done.stderr
    alone = experiment / "inference" / same_weights.removesuffix(".pth") / "test_mini"
    batched = inference(finished)
    assert list(read_table(alone / "test_mini_lids")) == list(read_table(batched / "test_mini_lids"))
    for name in ("scores.scp", "embeddings.scp"):
        (keys, one), (same_keys, many) = (in_recipe(finished, d / name) for d in (alone, batched))
        assert keys == same_keys
        np.testing.assert_allclose(one, many, atol=1e-4 if name == "scores.scp" else 1e-5)


@pytest.mark.slow
def test_a_rerun_does_nothing(finished: Recipe):
    results = inference(finished) / "results.json"
    before = results.stat().st_mtime_ns
    done = finished.run("run.sh", *OPTIONS, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "not done yet" not in done.stderr
    assert results.stat().st_mtime_ns == before


def inference(recipe: Recipe) -> Path:
    """Return the directory of stage 6's results."""
    return recipe.path / "exp/mini/lid_small/inference/valid.accuracy.best/test_mini"


def in_recipe(recipe: Recipe, scp: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Read vectors whose scp names archives relative to the recipe's directory."""
    here = Path.cwd()
    os.chdir(recipe.path)
    try:
        return read_vectors(scp)
    finally:
        os.chdir(here)
