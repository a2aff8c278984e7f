"""Margins by hand, safe gradients, few languages, and the number format."""

from __future__ import annotations

import math

import pytest
import torch

from lid_toolkit.models.losses import CosineLoss, aamsoftmax, aamsoftmax_sc_topk, rotate, softmax


def with_centres(loss: CosineLoss, rows: list[list[float]]) -> CosineLoss:
    with torch.no_grad():
        loss.weight.copy_(torch.tensor(rows))
    return loss


def unit(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def cross_entropy(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(x) for x in logits)) - logits[label]


def test_margin_and_penalty_by_hand():
    """One embedding at 0 degrees; class centres at 40, 70 and 160 degrees; label 0."""
    loss = with_centres(
        aamsoftmax_sc_topk(2, 3, margin=0.2, scale=4.0, K=1, mp=0.1, k_top=1), [unit(40), unit(70), unit(160)]
    )
    values, cosines = loss(torch.tensor([[5.0, 0.0]]), torch.tensor([0]))
    angles = [math.radians(degrees) for degrees in (40, 70, 160)]
    assert torch.allclose(cosines[0], torch.tensor([math.cos(angle) for angle in angles]), atol=1e-6)
    logits = [4 * math.cos(angles[0] + 0.2), 4 * math.cos(angles[1] - 0.1), 4 * math.cos(angles[2])]
    assert values.item() == pytest.approx(cross_entropy(logits, 0), abs=1e-5)


@pytest.mark.parametrize(
    ("make", "drop"), [(aamsoftmax, 0.3 * math.sin(0.3)), (aamsoftmax_sc_topk, 1 - math.cos(0.3))]
)
def test_beyond_pi_minus_the_margin_the_cosine_falls_on(make, drop):
    more = {"K": 1, "mp": 0.0} if make is aamsoftmax_sc_topk else {}
    loss = with_centres(make(2, 2, margin=0.3, scale=2.0, **more), [unit(175), unit(90)])
    values, _ = loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    logits = [2 * (math.cos(math.radians(175)) - drop), 0.0]
    assert values.item() == pytest.approx(cross_entropy(logits, 0), abs=1e-5)


def test_easy_margin_spares_angles_beyond_a_right_one():
    loss = with_centres(aamsoftmax(2, 2, margin=0.3, scale=1.0, easy_margin=True), [unit(100), unit(90)])
    values, cosines = loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert values.item() == pytest.approx(cross_entropy(cosines[0].tolist(), 0), abs=1e-5)


def test_the_nearest_sub_centre_counts():
    loss = with_centres(
        aamsoftmax_sc_topk(2, 2, K=3), [unit(90), unit(10), unit(80), unit(170), unit(120), unit(30)]
    )
    cosines = loss.cosines(torch.tensor([[2.0, 0.0]]))
    assert torch.allclose(cosines[0], torch.tensor([unit(10)[0], unit(30)[0]]), atol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_gradients_are_finite_where_an_angle_is_0_or_pi(sign, label):
    loss = with_centres(aamsoftmax_sc_topk(2, 2, K=1, mp=0.1), [[1.0, 0.0], [-1.0, 0.0]])
    embedding = torch.tensor([[sign, 0.0]], requires_grad=True)
    values, _ = loss(embedding, torch.tensor([label]))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(embedding.grad).all()
    assert torch.isfinite(loss.weight.grad).all()


def test_rotation_is_that_of_the_angle():
    cosine = torch.linspace(-0.99, 0.99, 41)
    assert torch.allclose(rotate(cosine, 0.2), torch.cos(torch.acos(cosine) + 0.2), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_fewer_languages_than_k_top(classes):
    loss = aamsoftmax_sc_topk(4, classes, k_top=5)
    values, _ = loss(torch.randn(6, 4), torch.arange(6) % classes)
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("make", [softmax, aamsoftmax, aamsoftmax_sc_topk])
def test_autocast_leaves_the_loss_in_float32(make):
    torch.manual_seed(0)
    loss, embedding, labels = make(8, 4), torch.randn(5, 8), torch.arange(5) % 4
    plain, _ = loss(embedding, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, cosines = loss(embedding, labels)
    assert cast.dtype == cosines.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_posteriors_come_from_the_scaled_cosines_alone():
    loss = aamsoftmax_sc_topk(4, 3, scale=7.0)
    embedding = torch.randn(2, 4)
    assert torch.equal(loss.logits(embedding), 7.0 * loss.cosines(embedding))
