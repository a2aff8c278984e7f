"""Accuracy against coverage, and unknown languages, against hand-computed values and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lid_toolkit.evaluation import coverage
from lid_toolkit.evaluation.coverage import out_of_set, selective


def test_answers_are_taken_from_the_highest_posterior_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage, "WANTED_ERROR", 0.25)
    posteriors = np.array([0.5, 0.9, 0.7, 0.8, 0.6])
    right = np.array([False, True, True, True, False])
    found = selective(posteriors, right, 10)  # 5 of 10 utterances have an answer
    points = [(0.1, 1), (0.2, 1), (0.3, 1), (0.4, 0.75), (0.5, 0.6)]
    assert found.curve == pytest.approx(np.array(points))
    assert (found.coverage_at_error, found.threshold) == (0.4, 0.6)


def test_equal_posteriors_are_answered_together():
    """The first of three equal answers is right, but it cannot be had alone."""
    found = selective(np.array([0.9, 0.9, 0.9]), np.array([True, False, False]), 3)
    assert (found.coverage_at_error, found.threshold) == (0.0, None)
    assert found.curve.tolist() == [[1.0, pytest.approx(1 / 3)]]


def test_no_answers():
    found = selective(np.zeros(0), np.zeros(0, bool), 3)
    assert (found.coverage_at_error, found.threshold, len(found.curve)) == (0.0, None, 0)


def test_unknown_languages_against_scikit_learn():
    random = np.random.default_rng(0)
    known = random.random(400) < 0.7
    posteriors = np.round(random.normal(size=400) + known, 1)  # with ties
    found = out_of_set(posteriors, known)
    assert found is not None
    assert (found.known, found.unknown) == (known.sum(), 400 - known.sum())
    assert found.auroc == pytest.approx(roc_auc_score(known, posteriors))
    threshold = max(t for t in np.unique(posteriors) if np.mean(posteriors[known] >= t) >= 0.95)
    assert found.false_acceptance == pytest.approx(np.mean(posteriors[~known] >= threshold))


@pytest.mark.parametrize("known", [True, False])
def test_one_kind_alone_tells_nothing(known: bool):
    assert out_of_set(np.ones(3), np.full(3, known)) is None
