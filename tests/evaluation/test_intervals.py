"""Intervals against published values, a brute-force likelihood and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lid_toolkit.evaluation.intervals import Z_95, macro_average, wilson


# Newcombe 1998, Statistics in Medicine 17, p. 857, table I, method 3.
@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_limits(correct: int, total: int, low: float, high: float):
    estimate = wilson(correct, total)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 3000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_macro_average_of_one_language_is_wilsons(counts: tuple[int, int]):
    correct, total = counts
    macro, plain = macro_average(np.array([correct]), np.array([total])), wilson(correct, total)
    assert (macro.low, macro.value, macro.high) == pytest.approx(
        (plain.low, plain.value, plain.high), abs=1e-9
    )


languages = st.lists(
    st.integers(1, 60).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))), min_size=1
)


@given(languages)
def test_macro_interval_holds_the_value_and_has_width(counts: list[tuple[int, int]]):
    correct, totals = np.array(counts).T
    estimate = macro_average(correct, totals)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low
    mirrored = macro_average(totals - correct, totals)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((estimate.low, estimate.high), abs=1e-9)


def test_all_right_in_equal_languages_is_wilsons_of_all_utterances():
    assert macro_average(np.full(107, 15), np.full(107, 15)).low == pytest.approx(wilson(1605, 1605).low)


def test_languages_of_few_utterances_share_one_stratum():
    """One utterance of each of 20 languages, 10 right: alone, none of them would seem to vary."""
    one_each = macro_average(np.array([1, 0] * 10), np.ones(20, np.int64))
    expected = wilson(10, 20)
    assert (one_each.low, one_each.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    nine = macro_average(np.array([9, 0]), np.array([9, 9]))
    assert (nine.low, nine.high) == pytest.approx((wilson(9, 18).low, wilson(9, 18).high), abs=1e-6)
    ten = macro_average(np.array([10, 0]), np.array([10, 10]))
    assert ten.low > wilson(10, 20).low + 0.05


def test_macro_limits_agree_with_a_search_over_the_likelihood():
    correct, totals = np.array([18, 45]), np.array([20, 80])
    estimate = macro_average(correct, totals)
    first = np.linspace(1e-4, 1 - 1e-4, 4001)
    inside = []
    for average in np.linspace(0.55, 0.9, 701):
        second = 2 * average - first
        possible = (second > 0) & (second < 1)
        p = np.stack([first[possible], second[possible]])
        likelihood = correct @ np.log(p) + (totals - correct) @ np.log(1 - p)
        p = p[:, np.argmax(likelihood)]
        error = np.sqrt(np.sum(p * (1 - p) / totals) / 4)
        if abs(estimate.value - average) <= Z_95 * error:
            inside.append(average)
    assert (estimate.low, estimate.high) == pytest.approx((inside[0], inside[-1]), abs=1e-3)


@pytest.mark.parametrize(
    ("count", "fewest", "most", "lowest"), [(3, 30, 200, 0.3), (12, 60, 60, 0.9), (107, 4, 26, 0.7)]
)
def test_macro_interval_covers_the_truth_in_95_percent(count: int, fewest: int, most: int, lowest: float):
    random = np.random.default_rng(1)
    covered = []
    for _ in range(250):
        recalls, totals = random.uniform(lowest, 1, count), random.integers(fewest, most + 1, count)
        estimate = macro_average(random.binomial(totals, recalls), totals)
        covered.append(estimate.low <= recalls.mean() <= estimate.high)
    assert 0.91 <= np.mean(covered) <= 0.99
