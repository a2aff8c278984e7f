"""The reversed gradient and the classifier of domains, by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lid_toolkit.models.adversary import UNKNOWN, DomainAdversary, reverse_gradient

OCCURS = torch.tensor([[True, True, False], [False, True, True]])


def adversary(weight: float = 0.5, occurs: torch.Tensor = OCCURS) -> DomainAdversary:
    torch.manual_seed(0)
    return DomainAdversary(4, occurs, weight, 8)


def test_values_pass_and_the_gradient_is_reversed():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert y.tolist() == [1.0, -2.0]
    (y * torch.tensor([2.0, 5.0])).sum().backward()
    assert x.grad.tolist() == pytest.approx([-0.6, -1.5])


def test_it_chooses_among_the_domains_of_the_language():
    model = adversary()
    embedding, labels, domains = torch.randn(2, 4), torch.tensor([0, 1]), torch.tensor([1, 2])
    hidden = torch.relu(model.hidden(2 * F.normalize(embedding)))
    first, second = model.out(hidden)
    expected = (first[:2].logsumexp(0) - first[1] + second[1:].logsumexp(0) - second[2]) / 2
    assert model(embedding, labels, domains).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_classifier_descends_and_the_embedding_ascends():
    """The embedding's gradient is that of the plain loss times -lambda; the classifier's is the plain one."""
    embedding, labels, domains = torch.randn(3, 4), torch.tensor([0, 1, 0]), torch.tensor([0, 2, 1])
    gradients = {}
    for weight in (0.5, -1.0):  # -1: the gradient is not reversed
        model, own = adversary(weight), embedding.clone().requires_grad_()
        model(own, labels, domains).backward()
        gradients[weight] = own.grad, model.out.weight.grad
    torch.testing.assert_close(gradients[0.5][0], -0.5 * gradients[-1.0][0])
    torch.testing.assert_close(gradients[0.5][1], gradients[-1.0][1])


def test_unknown_domains_and_languages_of_one_domain_teach_nothing():
    alone = torch.tensor([[True, False, False], [False, True, True]])
    model, embedding = adversary(occurs=alone), torch.randn(2, 4, requires_grad=True)
    loss = model(embedding, torch.tensor([0, 1]), torch.tensor([0, UNKNOWN]))
    loss.backward()
    assert loss.item() == 0
    assert not embedding.grad.any()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
