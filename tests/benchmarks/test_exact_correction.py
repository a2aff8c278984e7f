"""``benchmarks/exact_correction.py`` beside scikit-learn, and the rule for languages that are not trained."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
DECAY = 0.05


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import exact_correction

    yield exact_correction
    sys.modules.pop("exact_correction")


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return 40 vectors of 6 numbers, and labels 0, 2 and 3 of unequal frequency."""
    random = np.random.default_rng(0)
    true = np.repeat([0, 2, 3], (8, 12, 20))
    return random.normal(size=(40, 6)) + true[:, None], true


def test_without_an_answer_to_correct_it_is_logistic_regression(exact):
    """The objective is divided by the decay, as scikit-learn writes it; equal posteriors correct nothing."""
    features, true = data()
    flat = np.zeros((40, 5))
    found = exact.corrections(flat, features, true, (0.5, DECAY))[DECAY]
    shares = 1 / (3 * np.bincount(true)[true])
    oracle = LogisticRegression(C=1 / DECAY, fit_intercept=False, tol=1e-10, max_iter=10_000)
    oracle.fit(features - features.mean(axis=0), true, sample_weight=shares)
    assert found.trained_c.tolist() == [0, 2, 3]
    np.testing.assert_allclose(found.weight_cd, oracle.coef_, atol=2e-4)


def test_the_gradient_is_zero_with_answers_of_its_own(exact):
    """At the minimum, decay * W is the share-weighted error of the posteriors times the features."""
    features, true = data()
    posteriors = log_softmax(np.random.default_rng(1).normal(size=(40, 5)), axis=1)
    found = exact.corrections(posteriors, features, true, (DECAY,))[DECAY]
    centred = features - features.mean(axis=0)
    logits = posteriors[:, found.trained_c] + centred @ found.weight_cd.T
    error = np.exp(log_softmax(logits, axis=1)) - (true[:, None] == found.trained_c)
    shares = 1 / (3 * np.bincount(true)[true])
    np.testing.assert_allclose(-DECAY * found.weight_cd, (shares[:, None] * error).T @ centred, atol=1e-4)


def test_answers_in_other_languages_are_kept(exact):
    found = exact.Correction(np.array([0, 2]), np.zeros(1), np.array([[5.0], [-5.0]]))
    posteriors = np.log([[0.1, 0.8, 0.1], [0.1, 0.3, 0.6], [0.1, 0.3, 0.6]])
    assert found.answers(posteriors, np.array([[1.0], [1.0], [-1.0]])).tolist() == [1, 0, 2]
    without = np.where([True, False, True], posteriors, -np.inf)
    assert found.answers(without, np.ones((3, 1))).tolist() == [0, 0, 0]
