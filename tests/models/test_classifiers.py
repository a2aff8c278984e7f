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


def test_a_front_ends_own_corrections_are_added_to_the_offset():
    plain = LinearSoftmax(3 + 5, 3, offset=True)
    corrected = LinearSoftmax(3 + 3 + 5, 3, offset=True, corrected=True)
    torch.nn.init.normal_(plain.weight)
    corrected.load_state_dict(plain.state_dict())
    offset, correction, rest = torch.randn(7, 3), torch.randn(7, 3), torch.randn(7, 5)
    expected = plain.logits(torch.cat((offset + correction, rest), dim=1))
    given = torch.cat((offset, correction, rest), dim=1)
    assert torch.allclose(corrected.logits(given), expected, atol=1e-6)
    with pytest.raises(ValueError, match="offset: 3 languages and more in embeddings of 6"):
        LinearSoftmax(6, 3, offset=True, corrected=True)


def test_a_front_ends_own_corrections_keep_other_languages():
    loss = LinearSoftmax(8 + 8 + 5, 8, bias=False, offset=True, keep_others=True, corrected=True)
    trained = torch.tensor([True, False] * 4)
    loss.set_trained(trained)
    embeddings = 3 * torch.randn(200, 21)
    before, after = embeddings[:, :8], loss.logits(embeddings)
    old, new = before.argmax(dim=1), after.argmax(dim=1)
    assert torch.equal(after[:, ~trained], before[:, ~trained])
    assert torch.equal(old[~trained[old]], new[~trained[new]])
    assert (old != new)[trained[old]].any()


def kept(trained: list[bool]) -> LinearSoftmax:
    """A correction of eight languages with a large random map, as if trained on some of them."""
    torch.manual_seed(0)
    loss = LinearSoftmax(8 + 5, 8, bias=False, offset=True, keep_others=True)
    loss.set_trained(torch.tensor(trained))
    torch.nn.init.normal_(loss.weight, std=3.0)
    return loss


def test_other_languages_are_answered_exactly_when_they_were_before():
    trained = torch.tensor([True, False, True, True, False, True, False, False])
    loss = kept(trained.tolist())
    embeddings = torch.randn(500, 13)
    embeddings[:, :8] = embeddings[:, :8].log_softmax(dim=1)
    before, after = embeddings[:, :8], loss.logits(embeddings).detach()
    assert torch.equal(after[:, ~trained], before[:, ~trained])
    assert torch.allclose(after[:, trained].amax(dim=1), before[:, trained].amax(dim=1), atol=1e-5)
    old, new = before.argmax(dim=1), after.argmax(dim=1)
    assert torch.equal(trained[old], trained[new])
    assert torch.equal(old[~trained[old]], new[~trained[new]])
    assert 0.2 < (old == new)[trained[old]].float().mean() < 0.9


def test_its_loss_is_that_of_a_correction_of_the_trained_languages_alone():
    loss = kept([True] * 3 + [False] * 5)
    alone = LinearSoftmax(3 + 5, 3, bias=False, offset=True)
    with torch.no_grad():
        alone.weight.copy_(loss.weight[:3])
    embeddings, labels = torch.randn(20, 13), torch.randint(3, (20,))
    values, scores = loss(embeddings, labels)
    expected, _ = alone(torch.cat((embeddings[:, :3], embeddings[:, 8:]), dim=1), labels)
    assert torch.allclose(values, expected, atol=1e-5)
    assert torch.equal(scores, loss.logits(embeddings))
    values.mean().backward()
    assert not loss.weight.grad[3:].any()
    assert loss.weight.grad[:3].all()
    weighted, _ = loss(embeddings, torch.nn.functional.one_hot(labels, 8).float())
    assert torch.allclose(weighted, values, atol=1e-5)


def test_which_languages_were_trained_is_part_of_the_weights():
    loss, again = kept([True, False] * 4), LinearSoftmax(13, 8, bias=False, offset=True, keep_others=True)
    again.load_state_dict(loss.state_dict())
    embeddings = torch.randn(10, 13)
    assert torch.equal(again.logits(embeddings), loss.logits(embeddings))


def test_what_is_kept_needs_an_offset():
    with pytest.raises(ValueError, match="keep_others needs offset: true"):
        LinearSoftmax(8, 3, keep_others=True)
