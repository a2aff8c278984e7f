"""Decoupled distillation by hand, the identity of the paper, and what a student's loss is made of."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from lid_toolkit.data.targets import Taught
from lid_toolkit.models.distillation import Distillation, decoupled_divergences

CONF = {"alpha": 0.0, "beta": 0.0, "temperature": 1.0, "embedding_weight": 0.0, "label_weight": 0.0}


def logits(seed: int, rows: int = 40, classes: int = 6, scale: float = 4.0) -> torch.Tensor:
    return scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_both_parts_by_hand():
    """Posteriors at temperature 2, of three classes, of which the second is the target."""
    teacher, student = [0.2, 0.5, 0.3], [0.6, 0.1, 0.3]
    given = (2 * torch.tensor([p]).log() + 7 for p in (student, teacher))
    tckd, nckd = decoupled_divergences(*given, torch.tensor([1]), 2.0)
    assert tckd.item() == pytest.approx(4 * kl([0.5, 0.5], [0.1, 0.9]), rel=1e-5)
    assert nckd.item() == pytest.approx(4 * kl([0.4, 0.6], [2 / 3, 1 / 3]), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_parts_make_up_the_divergence_of_hinton(temperature):
    student, teacher, labels = logits(1), logits(2), torch.arange(40) % 6
    tckd, nckd = decoupled_divergences(student, teacher, labels, temperature)
    posteriors = (teacher / temperature).softmax(1)
    whole = F.kl_div((student / temperature).log_softmax(1), posteriors, reduction="none").sum(1)
    others = 1 - posteriors.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(tckd + others * nckd, temperature**2 * whole, rtol=1e-4, atol=1e-5)
    assert (tckd > -1e-5).all()
    assert (nckd > -1e-5).all()


def test_a_student_like_its_teacher_has_nothing_to_learn():
    same = logits(3)
    for part in decoupled_divergences(same - 5, same, torch.zeros(40, dtype=torch.int64), 2.0):
        torch.testing.assert_close(part, torch.zeros(40), atol=1e-5, rtol=0)


def test_of_two_classes_only_the_target_matters():
    labels = torch.zeros(40, dtype=torch.int64)
    _, nckd = decoupled_divergences(logits(1, classes=2), logits(2, classes=2), labels, 1.0)
    assert not nckd.any()


def test_gradients_of_certain_teachers_and_students_are_finite():
    student = logits(4, scale=300).requires_grad_()
    parts = decoupled_divergences(student, logits(5, scale=300), torch.arange(40) % 6, 1.0)
    torch.autograd.backward(sum(parts).sum())
    assert student.grad.isfinite().all()
    assert student.grad.any()


def test_the_loss_is_the_weighted_sum_of_its_parts():
    generator = torch.Generator().manual_seed(6)
    embedding, theirs = torch.randn(4, 3, generator=generator), torch.randn(4, 2, generator=generator)
    labelled, labels = torch.tensor([True, False, True, False]), torch.tensor([0, 1, 2, 0])
    ordinary = torch.tensor([1.0, math.nan, 3.0, math.nan])
    student, teacher = logits(7, 4), logits(8, 4)
    taught = Taught(teacher, F.normalize(theirs), labelled)

    def loss(**weights: float) -> torch.Tensor:
        torch.manual_seed(9)
        part = Distillation(3, 2, **{**CONF, "temperature": 3.0, **weights})
        total: torch.Tensor = part(ordinary, embedding, student, labels, taught)
        return total

    tckd, nckd = decoupled_divergences(student, teacher, labels, 3.0)
    torch.manual_seed(9)
    projection = torch.nn.Linear(3, 2)
    distance = 1 - F.cosine_similarity(projection(embedding), theirs)
    torch.testing.assert_close(loss(alpha=2.0), 2 * tckd)
    torch.testing.assert_close(loss(beta=0.5), 0.5 * nckd)
    torch.testing.assert_close(loss(embedding_weight=3.0), 3 * distance)
    torch.testing.assert_close(loss(label_weight=0.5), torch.tensor([0.5, 0.0, 1.5, 0.0]))
    everything = {"alpha": 2.0, "beta": 0.5, "embedding_weight": 3.0, "label_weight": 0.5}
    torch.testing.assert_close(
        loss(**everything), sum(loss(**{name: weight}) for name, weight in everything.items())
    )
