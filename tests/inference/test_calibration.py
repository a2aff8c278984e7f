"""Fitted calibrations against a grid, SciPy and data whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.calibration import cross_entropy
from lid_toolkit.inference.calibration import Scored, calibrated, fit, fitted, folds
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import Calibration, DecisionPolicy

LABELS = ("deu", "fra", "ita", "spa")


def drawn(scale: float, bias_c: np.ndarray, count: int = 400, seed: int = 0) -> Scored:
    """Return scores whose posteriors are right after ``scale`` and ``bias_c``, except for chance."""
    random = np.random.default_rng(seed)
    scores_uc = log_softmax(3 * random.normal(size=(count, len(bias_c))), axis=1)
    right_uc = np.exp(log_softmax(scale * scores_uc + bias_c, axis=1))
    true_u = (right_uc.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return Scored(LABELS[: len(bias_c)], scores_uc.astype(np.float32), true_u)


def test_temperature_equals_a_grid_search():
    scored = drawn(0.4, np.zeros(4))
    scales = np.linspace(0.2, 0.8, 601)

    def objective(scale: float) -> float:
        log_posteriors_uc = log_softmax(scale * scored.log_posteriors_uc.astype(np.float64), axis=1)
        return -log_posteriors_uc[np.arange(400), scored.true_u].sum() + (scale - 1) ** 2 / 2

    best = scales[np.argmin([objective(scale) for scale in scales])]
    calibration = fit(scored, "temperature")
    assert calibration.scale == pytest.approx(best, abs=6e-4)
    assert not calibration.bias


def test_affine_equals_scipy():
    scored = drawn(0.5, np.array([1.0, 0.0, -1.0, 0.5]))
    scores_uc, rows = scored.log_posteriors_uc.astype(np.float64), np.arange(400)
    counts_c = np.bincount(scored.true_u, minlength=4)
    weights_u = 400 / (4 * counts_c[scored.true_u])

    def objective(x: np.ndarray) -> float:
        log_posteriors_uc = log_softmax(x[0] * scores_uc + x[1:], axis=1)
        penalty = ((x[0] - 1) ** 2 + (x[1:] ** 2).sum()) / 2
        return -weights_u @ log_posteriors_uc[rows, scored.true_u] + penalty

    best = minimize(objective, np.array([1.0, 0, 0, 0, 0]), method="BFGS", options={"gtol": 1e-7}).x
    calibration = fit(scored, "affine")
    assert [calibration.scale, *calibration.bias.values()] == pytest.approx(best, abs=1e-4)
    assert tuple(calibration.bias) == LABELS


def test_scores_that_are_never_wrong_have_a_finite_scale():
    scores_uc = np.log(np.where(np.eye(4)[np.arange(200) % 4] > 0, 0.97, 0.01))
    scale = fit(Scored(LABELS, scores_uc, np.arange(200) % 4), "temperature").scale
    assert 1 < scale < 5


def test_biases_do_not_learn_how_frequent_languages_are():
    scored = drawn(1.0, np.zeros(2), count=4000)
    kept_u = (scored.true_u == 0) | (np.arange(4000) % 10 == 0)
    bias = fit(scored.part(kept_u), "affine").bias
    assert abs(bias["deu"] - bias["fra"]) < 0.5  # log(10) if they did


def test_fitted_measures_before_and_after_and_never_the_fitted_utterances():
    scored = drawn(0.3, np.array([2.0, 0.0, 0.0, -2.0]), count=2000)
    found = fitted(scored, "affine")
    assert found.after.trust.cross_entropy < found.before.trust.cross_entropy
    assert found.after.trust.calibration_error < found.before.trust.calibration_error / 2
    assert found.after.trust.accuracy > found.before.trust.accuracy
    assert (found.utterances, found.changed > 0) == (2000, True)
    temperature = fitted(scored, "temperature")
    assert temperature.changed == 0
    assert temperature.after.trust.accuracy == temperature.before.trust.accuracy
    assert temperature.before == found.before


def test_no_utterance_is_measured_with_a_calibration_that_it_was_fitted_on():
    scored = drawn(0.3, np.array([2.0, 0.0, 0.0, -2.0]))
    fold_u, total = folds(scored.true_u), 0.0
    for number in range(5):
        inside = scored.part(fold_u == number)
        own = calibrated(inside, fit(scored.part(fold_u != number), "affine"))
        total += cross_entropy(own, inside.true_u) * len(inside.true_u)
    found = fitted(scored, "affine").after.trust.cross_entropy
    assert found == pytest.approx(total / 400, abs=1e-12)
    assert found > cross_entropy(calibrated(scored, fit(scored, "affine")), scored.true_u)


def test_folds_share_each_language_equally():
    true_u = np.array([0] * 10 + [1] * 7 + [0] * 5)
    fold_u = folds(true_u)
    assert np.bincount(fold_u[true_u == 0]).tolist() == [3, 3, 3, 3, 3]
    assert sorted(np.bincount(fold_u[true_u == 1], minlength=5)) == [1, 1, 1, 2, 2]


def test_calibrated_equals_the_posteriors_of_a_policy():
    scored = drawn(1.0, np.zeros(4))
    calibration = Calibration(0.7, {"fra": 0.4, "spa": -1.0})
    policy = decider(DecisionPolicy(calibration=calibration), LABELS)
    expected_uc = policy.posteriors(scored.log_posteriors_uc)
    np.testing.assert_allclose(calibrated(scored, calibration), expected_uc, atol=1e-12)


def test_too_few_utterances_are_refused():
    with pytest.raises(LidError, match="99 utterances with scores, fewer than 100"):
        fitted(drawn(1.0, np.zeros(4), count=99), "temperature")
    scored = drawn(1.0, np.zeros(4))
    few = scored.part((scored.true_u != 2) | (scored.true_u.cumsum() < 12))
    with pytest.raises(LidError, match="fewer than 10 utterances of ita") as caught:
        fitted(few, "affine")
    assert "fit a temperature" in str(caught.value)
    fitted(few, "temperature")


def test_scores_that_contradict_the_labels_are_refused():
    scored = drawn(-2.0, np.zeros(4))
    with pytest.raises(LidError, match="they say nothing about the language"):
        fitted(scored, "temperature")
