"""The examples print the records that the library gives, on two workers where they have workers."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, vowel

from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import save_model
from lid_toolkit.training.config import parse_config

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "frontend_conf": {"n_mels": 20, "hop_length": 256},
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
    "projector_conf": {"output_size": 8},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(5)
    description = parse_config({"frontend": "default", "loss": "aamsoftmax_sc_topk", **SETTINGS}, "test")
    path = tmp_path_factory.mktemp("model") / "model.pth"
    parts = description.model_description()
    save_model(path, build_model(parts, 3).state_dict(), parts, LANGUAGES, RATE)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recordings")
    for number in range(6):
        soundfile.write(path / f"{number}.wav", vowel(1 + number / 4), RATE)
    return path


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("pytorch_loader", "torch"),
        ("datasets_map", "datasets"),
        pytest.param("ray_map_batches", "ray", marks=pytest.mark.slow),
    ],
)
def test_example_prints_the_records(name, package, model, folder, tmp_path):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'lid_toolkit[examples]')")
    paths = sorted(map(str, folder.iterdir()))
    inputs = [str(folder)] if name == "ray_map_batches" else paths
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "HF_HOME": str(tmp_path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), str(model), *inputs]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    records = LanguageIdentifier.from_pretrained(model, "cpu").identify(paths)
    printed = sorted(line.split() for line in done.stdout.splitlines() if line.startswith(str(folder)))
    assert [(path, status, language) for path, status, language, _ in printed] == [
        (path, "ok", record.language) for path, record in zip(paths, records, strict=True)
    ]
    scores = [float(score) for *_, score in printed]
    assert scores == pytest.approx([record.score for record in records], abs=1e-4)
