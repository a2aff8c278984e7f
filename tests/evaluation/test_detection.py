"""Detection costs against their definitions, computed trial by trial, and scikit-learn's ROC."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from lid_toolkit.evaluation import detection as module
from lid_toolkit.evaluation.detection import detection, equal_error_rate, two_class_eer

LANGUAGES = 5


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Log posteriors of six languages, of which five occur, unequally often."""
    random = np.random.default_rng(0)
    true = np.repeat(np.arange(LANGUAGES), [60, 50, 40, 30, 20])
    scores = random.normal(size=(len(true), LANGUAGES + 1))
    scores[np.arange(len(true)), true] += 2
    return (scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)).astype(np.float32), true


def ratios(log_posteriors: np.ndarray) -> np.ndarray:
    posteriors = np.exp(log_posteriors.astype(np.float64))
    return np.log(posteriors / (1 - posteriors) * LANGUAGES)[:, :LANGUAGES]


def cost(accepted: np.ndarray, true: np.ndarray) -> float:
    """Return C_avg by its formula in NIST's plan of 2009, language by language."""
    costs = []
    for target in range(LANGUAGES):
        misses = np.mean(~accepted[true == target, target])
        alarms = [np.mean(accepted[true == other, target]) for other in range(LANGUAGES) if other != target]
        costs.append(0.5 * misses + 0.5 / (LANGUAGES - 1) * sum(alarms))
    return float(np.mean(costs))


def test_costs_equal_their_definitions(scored: tuple[np.ndarray, np.ndarray]):
    log_posteriors, true = scored
    found, llr = detection(log_posteriors, true), ratios(log_posteriors)
    assert found is not None
    assert found.c_avg == pytest.approx(cost(llr >= 0, true))
    lowest = min(cost(llr >= threshold, true) for threshold in np.unique(llr))
    assert found.min_c_avg == pytest.approx(lowest, abs=1e-6)
    is_target = true[:, None] == np.arange(LANGUAGES)
    alarms, hits, _ = roc_curve(is_target.ravel(), llr.ravel(), drop_intermediate=False)
    assert found.min_dcf == pytest.approx(min((0.1 * (1 - hits) + 0.9 * alarms) / 0.1), rel=1e-5)
    middle = np.argmin(np.abs(alarms - (1 - hits)))
    assert found.eer == pytest.approx((alarms[middle] + 1 - hits[middle]) / 2, abs=1 / 60)
    bits = np.log1p(np.exp(np.where(is_target, -llr, llr))) / np.log(2)
    each = [
        (bits[true == target, target].mean()
        + np.mean([bits[true == other, target].mean() for other in range(LANGUAGES) if other != target])) / 2
        for target in range(LANGUAGES)
    ]  # fmt: skip
    assert found.c_llr == pytest.approx(np.mean(each), rel=1e-5)
    pairs = [
        two_class_eer(
            log_posteriors[true == one][:, one] - log_posteriors[true == one][:, other],
            log_posteriors[true == other][:, one] - log_posteriors[true == other][:, other],
        )
        for one, other in itertools.combinations(range(LANGUAGES), 2)
    ]
    assert found.pairwise_eer == pytest.approx(np.mean(pairs), abs=0.01)  # which of the two is the target


def test_many_scores_are_sorted_into_bins(scored, monkeypatch: pytest.MonkeyPatch):
    exact = detection(*scored)
    monkeypatch.setattr(module, "BINS", 256)
    monkeypatch.setattr(module, "BLOCK", 64)
    binned = detection(*scored)
    assert exact is not None
    assert binned is not None
    assert binned.c_avg == pytest.approx(exact.c_avg)  # 0 is an edge
    assert binned.c_llr == pytest.approx(exact.c_llr, rel=1e-6)
    for name in ("min_c_avg", "eer"):
        assert getattr(binned, name) == pytest.approx(getattr(exact, name), abs=0.01)


def test_perfect_and_ignorant_scores():
    true = np.repeat([0, 1], 10)
    perfect = np.log(np.where(true[:, None] == [0, 1], 1 - 1e-6, 1e-6)).astype(np.float32)
    found = detection(perfect, true)
    assert found is not None
    assert (found.c_avg, found.eer, found.pairwise_eer, found.min_dcf) == (0, 0, 0, 0)
    assert found.c_llr == pytest.approx(0, abs=1e-5)
    nothing = detection(np.full((20, 2), np.log(0.5), np.float32), true)
    assert nothing is not None
    assert nothing.c_llr == pytest.approx(1)
    assert (nothing.c_avg, nothing.eer, nothing.pairwise_eer) == pytest.approx((0.5, 0.5, 0.5))


def test_one_language_is_not_detected(scored: tuple[np.ndarray, np.ndarray]):
    assert detection(scored[0], np.zeros(len(scored[0]), np.int64)) is None


@pytest.mark.parametrize(
    ("targets", "others", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 0.0),
        ([0.0, 1.0], [2.0, 3.0], 1.0),
        ([1.0, 3.0], [0.0, 2.0], 0.5),
        ([1.0, 1.0], [1.0, 1.0], 0.5),
        ([0.0, 1.0, 2.0, 3.0], [-1.0, 0.5], 0.25),
    ],
)
def test_equal_error_rate_by_hand(targets: list[float], others: list[float], expected: float):
    assert two_class_eer(np.array(targets), np.array(others)) == pytest.approx(expected)


def test_rates_meet_between_two_thresholds():
    misses, alarms = np.array([0.0, 0.1, 0.3]), np.array([1.0, 0.2, 0.0])
    assert equal_error_rate(misses, alarms) == pytest.approx(0.15)
