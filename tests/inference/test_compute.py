"""How utterances are cut into batches for identification."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lid_toolkit.inference.compute import LONGEST_BATCH_S, LONGEST_CPU_BATCH_S, plan_batches

RATE = 100
LENGTHS = np.array([3, 25, 9, 1, 9, 6, 2, 8, 18, 1], dtype=np.int64) * RATE


def padded_s(device: str, batch_size: int) -> list[tuple[int, float]]:
    """Return the utterances and the padded seconds of each batch."""
    batches = plan_batches(LENGTHS, RATE, batch_size, torch.device(device))
    rows = np.concatenate([batch.rows_b for batch in batches])
    assert sorted(rows) == list(range(len(LENGTHS)))
    return [(len(batch.rows_b), len(batch.rows_b) * LENGTHS[batch.rows_b].max() / RATE) for batch in batches]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_batches_for_a_cpu_are_short(batch_size: int) -> None:
    """By hand, for a large batch size: 25 | 18 | 9 9 | 8 6 | 3 2 1 1."""
    batches = padded_s("cpu", batch_size)
    assert all(count <= batch_size for count, _ in batches)
    assert [padded for count, padded in batches if padded > LONGEST_CPU_BATCH_S] == [25]  # one utterance
    if batch_size == 32:
        assert [count for count, _ in batches] == [1, 1, 2, 2, 4]


def test_batches_for_a_gpu_are_large() -> None:
    assert padded_s("cuda", 32) == [(10, 250)]
    assert LONGEST_BATCH_S > 250
