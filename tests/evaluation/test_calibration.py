"""Cross-entropy and calibration error, by hand and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from lid_toolkit.evaluation.calibration import (
    brier_score,
    calibration_error,
    calibration_loss,
    cross_entropy,
    reliability,
    trust_in,
)


def test_cross_entropy_is_the_mean_of_minus_the_log_posteriors():
    posteriors_uc = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    assert cross_entropy(np.log(posteriors_uc), np.array([0, 2])) == pytest.approx(
        -(np.log(0.5) + np.log(0.1)) / 2
    )


def test_calibration_error_of_two_bins_by_hand():
    # Bin (0, 0.5]: one answer of 0.4, right, gap 0.6. Bin (0.5, 1]: 0.8 and 1.0, one right, gap 0.4.
    posteriors_u, right_u = np.array([0.4, 0.8, 1.0]), np.array([True, False, True])
    assert calibration_error(posteriors_u, right_u, bins=2) == pytest.approx((0.6 + 2 * 0.4) / 3)


def test_the_upper_edge_of_a_bin_belongs_to_it():
    posteriors_u, right_u = np.array([0.5, 0.75]), np.array([True, False])
    assert calibration_error(posteriors_u, right_u, bins=2) == pytest.approx((0.5 + 0.75) / 2)


def test_posteriors_that_are_frequencies_have_no_calibration_error():
    random = np.random.default_rng(0)
    posteriors_uc = np.exp(log_softmax(2 * random.normal(size=(100_000, 4)), axis=1))
    true_u = (posteriors_uc.cumsum(axis=1) > random.random((100_000, 1))).argmax(axis=1)
    trust = trust_in(np.log(posteriors_uc), true_u)
    assert trust.calibration_error < 0.01
    assert trust.accuracy == pytest.approx(posteriors_uc.max(axis=1).mean(), abs=0.01)
    assert trust_in(3 * np.log(posteriors_uc), true_u).cross_entropy != trust.cross_entropy


def test_brier_score_by_its_definition():
    log_posteriors, true = made_posteriors()
    truth = np.eye(log_posteriors.shape[1])[true]
    expected = ((np.exp(log_posteriors) - truth) ** 2).sum(axis=1).mean()
    assert brier_score(log_posteriors, true) == pytest.approx(expected)


def test_a_wrong_temperature_is_the_calibration_loss():
    """Posteriors that are right lose nothing; the same, twice as sharp, lose what they are worse by."""
    log_posteriors, true = made_posteriors(20_000)
    sharp = 2 * log_posteriors
    sharp -= np.logaddexp.reduce(sharp, axis=1, keepdims=True)
    assert calibration_loss(log_posteriors, true) == pytest.approx(0, abs=1e-3)
    worse = cross_entropy(sharp, true) - cross_entropy(log_posteriors, true)
    assert calibration_loss(sharp, true) == pytest.approx(worse, abs=1e-3)
    assert calibration_loss(sharp, true, at_most=5000) == pytest.approx(worse, rel=0.2)


def test_the_bins_of_a_reliability_diagram_add_up_to_the_error():
    log_posteriors, true = made_posteriors()
    posteriors, right = np.exp(log_posteriors.max(axis=1)), log_posteriors.argmax(axis=1) == true
    bins = reliability(posteriors, right)
    assert sum(part.answers for part in bins) == len(true)
    gaps = sum(part.answers * abs(part.posterior - part.accuracy) for part in bins) / len(true)
    assert gaps == pytest.approx(calibration_error(posteriors, right))
    assert all(part.from_ < part.posterior <= part.to for part in bins)


def made_posteriors(count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Return random posteriors of five languages, and truths drawn from them."""
    random = np.random.default_rng(0)
    scores = 2 * random.normal(size=(count, 5))
    log_posteriors = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    chosen = np.exp(log_posteriors).cumsum(axis=1) > random.random((count, 1))
    return log_posteriors, chosen.argmax(axis=1)
