"""A model with random weights and a set to identify."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from data.corpus import LANGUAGES, RATE, write_set

from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import save_model
from lid_toolkit.training.config import parse_config

DESCRIPTION = parse_config(
    {
        "frontend": "default",
        "frontend_conf": {"n_mels": 20, "hop_length": 256},
        "normalize": "utterance_mvn",
        "encoder": "ecapa_tdnn",
        "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
        "projector_conf": {"output_size": 8},
        "loss": "aamsoftmax_sc_topk",
    },
    "test",
).model_description()


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    """A model whose batch-norm statistics are those of noise, so that answers differ."""
    torch.manual_seed(5)
    model = build_model(DESCRIPTION, len(LANGUAGES)).train()
    for _ in range(5):
        model.embed(0.1 * torch.randn(8, 6000), torch.full((8,), 6000))
    path = tmp_path_factory.mktemp("model") / "valid.accuracy.best.pth"
    save_model(path, model.state_dict(), DESCRIPTION, LANGUAGES, RATE)
    return path


@pytest.fixture
def speech(tmp_path) -> Path:
    return write_set(tmp_path / "some_set", 21, seed=4, shortest=50, longest=12000)
