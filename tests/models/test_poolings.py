"""Weighted moments: the plain formulas on each utterance's own frames, with and without scores."""

from __future__ import annotations

import pytest
import torch

from lid_toolkit.models import poolings
from lid_toolkit.models.poolings import moments

LENGTHS = torch.tensor([5, 1, 3])


def inputs(scored):
    torch.manual_seed(0)
    x, scores = torch.randn(2, 3, 6, 4, dtype=torch.float64).requires_grad_().unbind()
    return x, scores if scored else None


def plainly(x, scores):
    """Return mean and variance by their definition, differentiated by autograd."""
    means, variances = [], []
    for row, frames in enumerate(LENGTHS.tolist()):
        own = x[row, :frames]
        weights = torch.full_like(own, 1 / frames) if scores is None else scores[row, :frames].softmax(dim=0)
        means.append((weights * own).sum(dim=0))
        variances.append((weights * (own - means[-1]).square()).sum(dim=0))
    return torch.stack(means), torch.stack(variances)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("scored", [False, True])
def test_moments_and_gradients_are_those_of_the_definition(scored, at_once, monkeypatch):
    # A device other than a CPU, and compiled code, take the batch at once, by masks.
    monkeypatch.setattr(poolings.torch.compiler, "is_compiling", lambda: at_once)
    x, scores = inputs(scored)
    given = [t for t in (x, scores) if t is not None]
    ours, theirs = moments(x, scores, LENGTHS), plainly(x, scores)
    weights = torch.randn(2, 3, 4, dtype=torch.float64)
    sums = [
        sum((part * weight).sum() for part, weight in zip(y, weights, strict=True)) for y in (ours, theirs)
    ]
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other)
    for one, other in zip(*(torch.autograd.grad(y, given) for y in sums), strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize("at_once", [False, True])
def test_what_stands_in_the_padding_is_not_read(at_once, monkeypatch):
    monkeypatch.setattr(poolings.torch.compiler, "is_compiling", lambda: at_once)
    x, scores = (t.detach() for t in inputs(True))
    loud = [t.clone() for t in (x, scores)]
    for tensor in loud:
        for row, frames in enumerate(LENGTHS.tolist()):
            tensor[row, frames:] = torch.nan
    for one, other in zip(moments(x, scores, LENGTHS), moments(*loud, LENGTHS), strict=True):
        assert torch.equal(one, other)


def test_bfloat16_is_summed_in_float32():
    x = torch.rand(1, 999, 2).bfloat16()
    mean, variance = moments(x, None, torch.tensor([999]))
    assert mean.dtype == variance.dtype == torch.float32
    assert torch.allclose(mean[0], x[0].float().mean(dim=0))
    assert torch.allclose(variance[0], x[0].float().var(dim=0, correction=0))
