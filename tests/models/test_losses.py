"""Margins by hand, safe gradients, few languages, and the number format."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from lid_toolkit.models.bases import LossBase
from lid_toolkit.models.losses import CosineLoss, aamsoftmax, aamsoftmax_sc_topk, rotate, softmax
from lid_toolkit.models.protocols import target_kinds
from lid_toolkit.models.registry import COMPONENTS, find


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


TRAINED_WITH_WEIGHTS = {
    "softmax": ({}, "soft"),
    "aamsoftmax": ({}, "soft"),
    "aamsoftmax_sc_topk": ({"K": 2, "k_top": 2}, "soft"),
    "linear_softmax": ({}, "soft"),
    "dnn_softmax": ({"lin_neurons": 6}, "soft"),
    "linear_sigmoid": ({}, "multi_hot"),
}


def test_each_loss_that_takes_weights_is_tested():
    assert {*TRAINED_WITH_WEIGHTS} == {*COMPONENTS["loss"]}


def randomised(name: str) -> LossBase:
    """A loss of 5 languages on embeddings of 4 numbers, with random weights."""
    torch.manual_seed(1)
    loss = find("loss", name)(embedding_size=4, classes=5, **TRAINED_WITH_WEIGHTS[name][0])
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter)
    return loss


def gradients(loss: LossBase, embedding: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    """Return the loss of each utterance, the scores, and the gradients of the mean loss."""
    inputs = [embedding.clone().requires_grad_(), *loss.parameters()]
    values, scores = loss(inputs[0], targets)
    return [values, scores, *torch.autograd.grad(values.mean(), inputs)]


@pytest.mark.parametrize("name", TRAINED_WITH_WEIGHTS)
def test_one_language_of_weight_1_is_a_label(name):
    loss = randomised(name)
    assert target_kinds(loss) == (TRAINED_WITH_WEIGHTS[name][1],)
    embedding, labels = torch.randn(7, 4), torch.arange(7) % 5
    one_hot = torch.eye(5)[labels]
    for ours, expected in zip(
        gradients(loss, embedding, one_hot), gradients(loss, embedding, labels), strict=True
    ):
        assert torch.allclose(ours, expected, rtol=1e-6, atol=1e-7)


SOFT = torch.tensor([[0.7, 0.3, 0, 0, 0], [0, 0, 0, 0, 1], [0.2, 0.2, 0.2, 0.2, 0.2]])


@pytest.mark.parametrize("name", ["softmax", "linear_softmax", "dnn_softmax"])
def test_soft_targets_have_the_gradient_of_the_kullback_leibler_divergence(name):
    loss, embedding = randomised(name), torch.randn(3, 4)
    values, _, *ours = gradients(loss, embedding, SOFT)
    inputs = [embedding.clone().requires_grad_(), *loss.parameters()]
    divergence = F.kl_div(loss.logits(inputs[0]).log_softmax(1), SOFT, reduction="none").sum(1)
    for one, other in zip(ours, torch.autograd.grad(divergence.mean(), inputs), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert torch.allclose(values, divergence + torch.special.entr(SOFT).sum(1), atol=1e-6)


def test_several_languages_have_the_margin_and_no_penalty():
    """Weights on classes at 40 and 160 degrees; the penalty of two rivals is only that of the one at 70."""
    loss = with_centres(
        aamsoftmax_sc_topk(2, 3, margin=0.2, scale=4.0, K=1, mp=0.1, k_top=2), [unit(40), unit(70), unit(160)]
    )
    values, _ = loss(torch.tensor([[5.0, 0.0]]), torch.tensor([[0.75, 0.0, 0.25]]))
    angles = [math.radians(degrees) for degrees in (40, 70, 160)]
    logits = [4 * math.cos(a) for a in (angles[0] + 0.2, angles[1] - 0.1, angles[2] + 0.2)]
    expected = 0.75 * cross_entropy(logits, 0) + 0.25 * cross_entropy(logits, 2)
    assert values.item() == pytest.approx(expected, abs=1e-5)


def test_several_languages_are_as_many_binary_cross_entropies():
    loss, embedding = randomised("linear_sigmoid"), torch.randn(3, 4)
    spoken = (SOFT > 0).double()
    probability = torch.sigmoid((embedding @ loss.weight.T + loss.bias).double())
    expected = -(spoken * probability.log() + (1 - spoken) * (1 - probability).log()).sum(1)
    values, scores = loss(embedding, spoken.float())
    assert torch.allclose(values.double(), expected, atol=1e-5)
    # Given that exactly one language is spoken, its posterior is proportional to p / (1 - p).
    odds = probability / (1 - probability)
    assert torch.allclose(scores.softmax(1).double(), odds / odds.sum(1, keepdim=True), atol=1e-6)
