"""Accuracy against coverage, and unknown languages, against hand-computed values and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lid_toolkit.evaluation import coverage
from lid_toolkit.evaluation.coverage import leave_out, out_of_set, selective


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


def known_scores(count: int = 300, languages: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return log posteriors of ``languages``, of which the last does not occur, and true columns."""
    random = np.random.default_rng(1)
    true = np.sort(random.integers(0, languages - 1, count))
    scores = random.normal(size=(count, languages))
    scores[np.arange(count), true] += 2
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), true


@pytest.mark.parametrize(
    ("how", "parts"), [("each", [[0], [1], [2], [3], [4], [5]]), ("folds", [[0, 5], [1], [2], [3], [4]])]
)
def test_left_out_languages_against_scikit_learn(how, parts, monkeypatch: pytest.MonkeyPatch):
    log_posteriors, true = known_scores()
    aurocs, accepted = [], []
    for part in parts:
        posteriors = np.exp(log_posteriors)
        posteriors[:, part] = 0  # masked
        best = (posteriors / posteriors.sum(axis=1, keepdims=True)).max(axis=1)
        known = ~np.isin(true, part)
        aurocs.append(roc_auc_score(known, best))
        threshold = max(t for t in np.unique(best) if np.mean(best[known] >= t) >= 0.95)
        accepted.append(np.mean(best[~known] >= threshold))
    monkeypatch.setattr("lid_toolkit.evaluation.posteriors.BLOCK", 64)
    found = leave_out(log_posteriors, true, how)
    assert found is not None
    assert (found.how, found.parts) == (how, len(parts))
    assert found.auroc == pytest.approx(np.mean(aurocs), abs=1e-9)
    assert found.false_acceptance == pytest.approx(np.mean(accepted))


def test_a_sample_of_the_utterances_is_enough():
    log_posteriors, true = known_scores(6000)
    whole, part = leave_out(log_posteriors, true), leave_out(log_posteriors, true, at_most=2000)
    assert whole is not None
    assert part is not None
    assert part.auroc == pytest.approx(whole.auroc, abs=0.02)
    assert part != whole


@pytest.mark.parametrize(("columns", "true"), [(2, [0, 1]), (3, [0, 0])])
def test_too_few_languages_to_leave_one_out(columns: int, true: list[int]):
    """Of two columns one is left, whose posterior is always 1; of one language nothing is known."""
    assert leave_out(np.full((2, columns), -np.log(columns)), np.array(true), "each") is None


def test_a_language_that_nothing_resembles_is_told_and_one_with_a_twin_is_not():
    """Language 0 without its column has even posteriors; 1 and 2 are taken for each other.

    Without column 0, the best of 0 is 0.5, and of 1 and 2 0.6 / 0.99. Without column 1, the best of 1 is
    0.39 / 0.4, of 2 0.6 / 0.61 and of 0 0.75: half of the known ones are above 1. The same without column 2.
    """
    twins = np.repeat([[0.6, 0.2, 0.2], [0.01, 0.6, 0.39], [0.01, 0.39, 0.6]], 10, axis=0)
    found = leave_out(np.log(twins), np.repeat([0, 1, 2], 10), "each")
    assert found is not None
    assert (found.parts, found.auroc) == (3, pytest.approx((1 + 0.5 + 0.5) / 3))
    assert found.false_acceptance == pytest.approx((0 + 1 + 1) / 3)
