"""Multinomial logistic regression: scikit-learn's optimum, by the optimizer that a configuration names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lid_toolkit.models.classifiers import LinearSoftmax

DECAY = 0.05


def test_trained_with_weight_decay_it_is_scikit_learns_regression():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    embeddings = rng.normal(size=(120, 4)) + np.eye(3, 4)[labels]
    loss = LinearSoftmax(4, 3)
    optimizer = torch.optim.Adam(
        [{"params": [loss.weight], "weight_decay": DECAY}, {"params": [loss.bias]}], lr=0.05
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=400)
    given = torch.tensor(embeddings, dtype=torch.float32), torch.tensor(labels)
    for _ in range(400):
        optimizer.zero_grad()
        loss(*given)[0].mean().backward()
        optimizer.step()
        schedule.step()
    theirs = LogisticRegression(C=1 / (DECAY * len(labels)), tol=1e-8, max_iter=1000).fit(embeddings, labels)
    with torch.no_grad():
        posteriors = loss.logits(given[0]).softmax(dim=1).numpy()
    assert np.abs(loss.weight.detach().numpy() - theirs.coef_).max() < 1e-3
    assert np.abs(posteriors - theirs.predict_proba(embeddings)).max() < 1e-3


def test_it_begins_with_every_language_alike_and_computes_in_float32():
    loss = LinearSoftmax(4, 3)
    values, scores = loss(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
    assert torch.allclose(values, torch.full((5,), 3.0).log())
    assert not scores.any()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss.logits(torch.randn(5, 4)).dtype == torch.float32


def test_with_an_offset_it_begins_as_the_offset_answers_and_decay_pulls_it_back_there():
    torch.manual_seed(0)
    loss = LinearSoftmax(8, 3, bias=False, offset=True)
    embeddings, labels = torch.randn(30, 8), torch.randint(3, (30,))
    assert torch.equal(loss.logits(embeddings), embeddings[:, :3])
    assert [tuple(parameter.shape) for parameter in loss.parameters()] == [(3, 5)]
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=200, tolerance_grad=1e-7)

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(embeddings, labels)[0].mean() + DECAY / 2 * loss.weight.square().sum()
        value.backward()
        return value

    optimizer.step(objective)
    # Where the gradient vanishes, DECAY W = -dCE/dW = mean over utterances of (truth - posterior) e'.
    with torch.no_grad():
        missed = torch.eye(3)[labels] - loss.logits(embeddings).softmax(dim=1)
        expected = missed.T @ embeddings[:, 3:] / len(labels) / DECAY
    assert (loss.weight - expected).abs().max() < 1e-4


def test_an_offset_needs_an_embedding_of_more_than_the_languages():
    with pytest.raises(ValueError, match="offset: 3 languages and more in embeddings of 3"):
        LinearSoftmax(3, 3, offset=True)
