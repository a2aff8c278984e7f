"""Cross-entropy and calibration error, by hand and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from lid_toolkit.evaluation.calibration import calibration_error, cross_entropy, trust_in


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
