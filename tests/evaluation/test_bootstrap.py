"""Intervals by resampling: against known variances, Wilson's, and in simulations with clusters."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from lid_toolkit.evaluation import bootstrap
from lid_toolkit.evaluation.bootstrap import (
    accuracies,
    design_effect,
    drawn_means,
    drawn_units,
    effective_interval,
    macro_f1s,
    macro_precisions,
    macro_recalls,
    resampled,
)
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.intervals import Estimate, wider, wilson


def answers(random: np.random.Generator, clusters: int, each: int, languages: int = 4, shared: float = 0.3):
    """Return truth, answers and clusters of ``languages``, each cluster with an accuracy of its own."""
    per_cluster = random.beta(0.9 * (1 - shared) / shared, 0.1 * (1 - shared) / shared, (languages, clusters))
    right = random.random((languages, clusters, each)) < per_cluster[:, :, None]
    true = np.broadcast_to(np.arange(languages)[:, None, None], right.shape).ravel()
    cluster = np.repeat(np.arange(languages * clusters), each)
    predicted = np.where(right.ravel(), true, (true + 1) % languages)
    return true, predicted, Clusters("utt2spk", cluster, languages * clusters)


def test_statistics_equal_scikit_learns():
    true, predicted, _ = answers(np.random.default_rng(0), 5, 7)
    counts = np.zeros((1, 4, 5))
    np.add.at(counts, (0, true, predicted), 1)
    precision, recall, f1, _ = precision_recall_fscore_support(true, predicted, average="macro")
    assert accuracies(counts) == pytest.approx((true == predicted).mean())
    assert macro_precisions(counts) == pytest.approx(precision)
    assert macro_recalls(counts) == pytest.approx(recall)
    assert macro_f1s(counts) == pytest.approx(f1)


def test_independent_utterances_have_wilsons_interval():
    true, predicted, _ = answers(np.random.default_rng(1), 100, 5, shared=0.01)
    right = true == predicted
    found = resampled(true, predicted, 4, None, by_language=False).interval(accuracies, right.mean())
    plain = wilson(int(right.sum()), len(right))
    # 1,000 draws determine a percentile to about 5 % of the width; the intervals differ by 1 / n, too.
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.003)


def test_equal_utterances_of_a_cluster_multiply_the_variance_by_its_size():
    right = np.random.default_rng(2).random(200) < 0.8
    true, cluster = np.zeros(1000, np.int64), np.repeat(np.arange(200), 5)
    predicted = np.where(np.repeat(right, 5), 0, 1)
    drawn = resampled(true, predicted, 2, Clusters("utt2spk", cluster, 200), by_language=False)
    assert design_effect(drawn.values(accuracies), right.mean(), 1000) == pytest.approx(5, rel=0.15)


def test_each_language_keeps_its_clusters_in_every_draw(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 60)
    stratum = np.array([1, 0, 1, 0, 0, 2])
    weights = np.concatenate(list(drawn_units(np.random.default_rng(0), stratum)))
    assert weights.shape == (60, 6)
    for number, size in ((0, 3), (1, 2), (2, 1)):
        assert weights[:, stratum == number].sum(axis=1) == pytest.approx(size)
    assert set(np.unique(weights[:, stratum == 0]).tolist()) == {0, 1.5, 3}  # two draws of three clusters
    assert set(weights[:, 5].tolist()) == {1}


def test_a_draw_does_not_depend_on_the_run_or_the_blocks(monkeypatch: pytest.MonkeyPatch):
    true, predicted, clusters = answers(np.random.default_rng(3), 6, 4)
    first = resampled(true, predicted, 4, clusters, by_language=True)
    assert np.array_equal(first.counts_dk, resampled(true, predicted, 4, clusters, True).counts_dk)
    whole = first.values(macro_f1s)
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 7)
    assert first.values(macro_f1s) == pytest.approx(whole)
    monkeypatch.setattr(bootstrap, "CLUSTERS_AT_ONCE", 3 * clusters.count)
    assert np.array_equal(
        first.counts_dk, resampled(true, predicted, 4, clusters, by_language=True).counts_dk
    )


def test_the_interval_of_draws_is_wilsons_for_the_effective_number():
    """Draws with the variance of 40 independent utterances, and many clusters; and draws that do not vary."""
    drawn = np.random.default_rng(0).normal(0.8, np.sqrt(0.8 * 0.2 / 40), 200_000)
    found, plain = effective_interval(drawn, 0.8, 10**9), wilson(32, 40)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-3)
    few = effective_interval(drawn, 0.8, 4)
    assert (few.low, few.high) == pytest.approx(
        (wilson(32, 40, 2.776).low, wilson(32, 40, 2.776).high), abs=2e-3
    )
    for value in (0.0, 0.8, 1.0):
        assert effective_interval(np.full(9, value), value, 3) == Estimate(value, value, value)


@pytest.mark.parametrize(
    ("clusters", "each", "accuracy", "shared"), [(80, 6, 0.9, 0.3), (200, 5, 0.9, 0.3), (150, 8, 0.8, 0.1)]
)
def test_intervals_of_clusters_hold_the_truth_in_94_to_96_percent(
    clusters: int, each: int, accuracy: float, shared: float
):
    """In 2,500 sets each, whose standard error is 0.4 %. Wilson's intervals hold it far less often."""
    random, sets = np.random.default_rng(4), 2500
    beta = (1 - shared) / shared * np.array([accuracy, 1 - accuracy])
    right_cs = random.binomial(each, random.beta(*beta, (sets, clusters))).T.astype(np.float64)
    weights_dc = np.concatenate(
        [*drawn_units(np.random.default_rng(bootstrap.SEED), np.zeros(clusters, int))]
    )
    drawn_ds = weights_dc @ right_cs / (each * weights_dc.sum(axis=1)[:, None])
    of_utterances = np.repeat(right_cs[:, 0], each) > np.tile(np.arange(each), clusters)
    numbers = Clusters("utt2spk", np.repeat(np.arange(clusters), each), clusters)
    np.testing.assert_allclose(drawn_means(of_utterances.astype(np.float64), numbers), drawn_ds[:, 0])
    held = np.zeros(2)
    for correct, drawn_d in zip(right_cs.sum(axis=0), drawn_ds.T, strict=True):
        alone = wilson(correct, clusters * each)
        grouped = wider(alone, effective_interval(drawn_d, alone.value, clusters - 1))
        held += [one.low <= accuracy <= one.high for one in (grouped, alone)]
    assert 0.94 <= held[0] / sets <= 0.96
    assert held[1] / sets < 0.9


def test_intervals_hold_the_truth_where_clusters_err_together(monkeypatch: pytest.MonkeyPatch):
    """With 80 clusters of 6 whose accuracies vary, 95 % intervals hold 0.9 in about 95 % of the sets."""
    monkeypatch.setattr(bootstrap, "DRAWS", 200)
    random, sets = np.random.default_rng(4), 200
    held = {"draws": 0, "macro": 0, "wilson": 0}
    for _ in range(sets):
        true, predicted, clusters = answers(random, 20, 6)
        right = true == predicted
        plain = resampled(true, predicted, 4, clusters, by_language=False).interval(accuracies, right.mean())
        drawn = resampled(true, predicted, 4, clusters, by_language=True)
        macro = drawn.interval(macro_recalls, right.mean())
        alone = wilson(int(right.sum()), len(right))
        for name, interval in (("draws", plain), ("macro", macro), ("wilson", alone)):
            held[name] += interval.low <= 0.9 <= interval.high
    # The standard error of a share of 200 sets is 1.5 %.
    assert 0.91 <= held["draws"] / sets <= 0.99
    assert 0.91 <= held["macro"] / sets <= 0.99
    assert held["wilson"] / sets < 0.85
