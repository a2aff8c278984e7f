"""Pairs that are alike, against all products at once."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.prepare import duplicates
from lid_toolkit.prepare.duplicates import alike


def prints(count, seed=0):
    """Random fingerprints with a mean of 0 in each band, of which every third is nearly the one before."""
    rng = np.random.default_rng(seed)
    grid = rng.normal(size=(count, 32, 8)).cumsum(axis=1)
    grid[2::3] = grid[1::3][: len(grid[2::3])] + rng.normal(0, 0.3, (len(grid[2::3]), 32, 8))
    flat = (grid - grid.mean(axis=1, keepdims=True)).reshape(count, 256)
    return (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)


def pairs_of(*arguments, **options):
    return {
        (int(one), int(other)): float(cosine)
        for first, second, cosines in alike(*arguments, **options)
        for one, other, cosine in zip(first, second, cosines, strict=True)
    }


def all_pairs(values, seconds, threshold, labels=None):
    cosines = values @ values.T
    near = np.abs(np.log(seconds)[:, None] - np.log(seconds)) < 0.05
    if labels is not None:
        near &= labels[:, None] != labels
    one, other = np.nonzero(np.triu(near & (cosines > threshold), 1))
    return {(int(i), int(j)) for i, j in zip(one, other, strict=True)}


@pytest.mark.parametrize("labels", [None, np.arange(200) % 4])
@pytest.mark.parametrize("blocks", [(2048, 8192), (16, 24)])
def test_no_pair_is_missed(monkeypatch, labels, blocks):
    for name, size in zip(("ROWS", "COLUMNS"), blocks, strict=True):
        monkeypatch.setattr(duplicates, name, size)
    values, seconds = prints(200), np.random.default_rng(1).uniform(2, 3, 200)
    seconds[2::3] = seconds[1::3][: len(seconds[2::3])] * 1.02
    for threshold in (0.5, 0.9):
        found = pairs_of(values, seconds, threshold, labels)
        assert found.keys() == all_pairs(values, seconds, threshold, labels)
        assert all(one < other and cosine > threshold for (one, other), cosine in found.items())
    assert len(found) > 20


def test_lengths_and_silence():
    values = np.repeat(prints(1), 3, axis=0)
    assert pairs_of(values, np.array([2.0, 2.09, 2.2])).keys() == {(0, 1)}
    assert pairs_of(values, np.array([2.0, 0.0, 2.0])).keys() == {(0, 2)}
    assert pairs_of(values[:0], np.zeros(0)) == {}
