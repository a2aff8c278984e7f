"""Which layers are gathered one at a time; trainings that shard are in ``test_distributed``."""

from __future__ import annotations

from torch import nn

from lid_toolkit.training.sharding import SHARDED_ALONE, gathered_alone


def test_large_layers_are_gathered_alone_but_for_convolutions_over_rows():
    large = nn.TransformerEncoderLayer(256, 4, dim_feedforward=2048)
    small = nn.TransformerEncoderLayer(16, 4, dim_feedforward=16)
    convolution = nn.Conv1d(600, 600, 3)
    assert convolution.weight.numel() >= SHARDED_ALONE
    model = nn.Sequential(nn.ModuleList([small, large]), nn.ModuleList([convolution]))
    assert gathered_alone(model) == [large]
