"""Normalisation over an utterance: the textbook's formula, and constant features, which have no deviation."""

from __future__ import annotations

import pytest
import torch
from models.test_combinations import assert_alone_as_together

from lid_toolkit.models.build import build_model
from lid_toolkit.models.normalize import UtteranceMVN

MODEL = {
    "frontend": "default",
    "normalize": "utterance_mvn",
    "normalize_conf": {"norm_vars": True},
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 16, "model_scale": 2, "output_size": 24},
    "pooling": "stats",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 8},
    "loss": "aamsoftmax",
}


@pytest.mark.parametrize("norm_means", [True, False])
@pytest.mark.parametrize("norm_vars", [True, False])
def test_mean_and_deviation_are_those_of_the_utterances_own_frames(norm_means, norm_vars):
    torch.manual_seed(0)
    lengths = torch.tensor([50, 31])
    feats = 3 * torch.randn(2, 50, 4) - torch.tensor([20.0, 1.0, 0.0, -5.0])
    out = UtteranceMVN(norm_means, norm_vars)(feats, lengths)
    for row, length in enumerate(lengths.tolist()):
        own = feats[row, :length].double()
        expected = own - own.mean(dim=0) if norm_means else own
        expected = expected / own.std(dim=0, correction=0) if norm_vars else expected
        assert torch.allclose(out[row, :length].double(), expected, atol=1e-5)
        assert not out[row, length:].any()


@pytest.mark.parametrize("frames", [1, 1000, 400_000])
@pytest.mark.parametrize("norm_means", [True, False])
def test_a_constant_feature_becomes_zero_and_passes_no_gradient(frames, norm_means):
    feats = torch.tensor([-23.025851, 0.1, 0.0]).repeat(1, frames, 1).requires_grad_()
    out = UtteranceMVN(norm_means, norm_vars=True)(feats, torch.tensor([frames]))
    out.sum().backward()
    assert not out.any()
    assert not feats.grad.any()


def test_a_short_sound_in_long_silence_is_kept():
    feats = torch.full((1, 10_000, 1), -23.025851)
    feats[0, 7] += 0.5
    out = UtteranceMVN(norm_vars=True)(feats, torch.tensor([10_000]))
    assert float(out[0, 7]) == pytest.approx(100, rel=1e-3)  # (n - 1) / sqrt(n - 1) frames


@pytest.mark.parametrize("level", [0.0, 0.3])
@pytest.mark.parametrize("length", [12345, 16000])
def test_silence_and_direct_current_are_answered_the_same_alone_and_in_a_batch(level, length):
    torch.manual_seed(0)
    model = build_model(MODEL, 3).eval()
    noise = 0.1 * torch.randn(length + 5000)
    assert_alone_as_together(model, [torch.full((length,), level), noise], spare=333)
