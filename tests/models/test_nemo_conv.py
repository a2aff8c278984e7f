"""NeMo's separable convolutions: how their weights begin."""

from __future__ import annotations

import math

import pytest
import torch

from lid_toolkit.models.encoders.nemo_conv import Block, NemoConvEncoder


@pytest.mark.parametrize(
    ("name", "fans"),
    [
        ("blocks.0.stages.0.conv.weight", 5 + 64 * 5),  # (64, 1, 5): one channel in, and 64 kernels out
        ("blocks.0.stages.0.mix.weight", 64 + 128),
        ("blocks.0.se.reduce.weight", 128 + 16),
        ("blocks.1.stages.0.conv.weight", 3 * (128 + 32)),  # not separable
        ("blocks.1.residual.conv.weight", 128 + 32),
    ],
)
def test_weights_begin_with_the_variance_of_glorot_and_bengio(name: str, fans: int):
    torch.manual_seed(0)
    blocks = [Block(filters=128, kernel=5), Block(filters=32, kernel=3, separable=False, residual=True)]
    weight = NemoConvEncoder(64, blocks=blocks).get_parameter(name).detach()
    limit = math.sqrt(6 / fans)
    assert limit * 0.97 < float(weight.abs().max()) <= limit
    assert float(weight.std()) == pytest.approx(limit / math.sqrt(3), rel=0.07)
