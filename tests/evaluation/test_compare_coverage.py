"""Systems at equal coverage, by hand and against simulated truths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.evaluation.answers import read_answers, read_scores
from lid_toolkit.evaluation.bootstrap import drawn_means, drawn_ratios
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.compare_coverage import Sure, accuracy_of, coverage_rows


def sure(right: str, posteriors: list[float]) -> Sure:
    return Sure(np.array([letter == "r" for letter in right]), np.array(posteriors))


def test_the_surest_are_answered_and_those_without_an_answer_never():
    system = sure("rwrw", [0.9, 0.8, 0.7, -np.inf])
    assert system.answered(0.5).tolist() == [True, True, False, False]
    assert system.answered(0.75).tolist() == [True, True, True, False]
    assert system.answered(1.0) is None
    assert system.answered(0.01).tolist() == [True, False, False, False]
    assert sure("rr", [0.5, 0.5]).answered(0.5).tolist() == [True, False]


def test_accuracies_and_differences_by_hand():
    """Of the surest half, the first system has 1 of 2 right and the second 2 of 2."""
    systems = {
        "one": sure("rwrw", [0.9, 0.8, 0.7, 0.6]),
        "other": sure("rwrw", [0.9, 0.1, 0.8, -np.inf]),
    }
    rows = coverage_rows(systems, (0.5, 1.0), None)
    assert rows[0][1].startswith("50.00 % [")
    assert rows[0][2].startswith("50.00 % [")
    assert rows[1][1].startswith("100.00 % [")
    assert "], +50.00 [" in rows[1][1]
    assert rows[1][2] == "-"


def test_no_difference_to_a_first_system_with_fewer_answers():
    rows = coverage_rows({"one": sure("rr", [0.9, -np.inf]), "other": sure("rr", [0.9, 0.8])}, (1.0,), None)
    assert (rows[0][1], rows[1][1].count("[")) == ("-", 1)


def test_ratios_of_draws_are_paired_and_a_mean_is_a_ratio():
    clusters = Clusters("utt2spk", np.arange(60) // 3, 20)
    random = np.random.default_rng(0)
    values, weights = random.random(60), random.random(60)
    inverse = drawn_ratios(weights, values, clusters)
    np.testing.assert_allclose(drawn_ratios(values, weights, clusters) * inverse, 1)
    np.testing.assert_array_equal(drawn_ratios(values, np.ones(60), clusters), drawn_means(values, clusters))


def test_the_interval_of_the_accuracy_covers_the_truth():
    """40 speakers of 6 utterances, whose accuracy is 0.7 or 0.95, 0.825 on average; half are answered."""
    random, held, sets = np.random.default_rng(1), 0, 200
    clusters = Clusters("utt2spk", np.repeat(np.arange(40), 6), 40)
    for _ in range(sets):
        chance = np.repeat(random.choice([0.7, 0.95], 40), 6)
        system = Sure(random.random(240) < chance, random.random(240))
        estimate, _ = accuracy_of(system, system.answered(0.5), clusters)
        held += estimate.low <= 0.825 <= estimate.high
    assert 0.92 <= held / sets <= 1


def test_posteriors_are_those_of_the_answers(small_set: WrittenSet):
    answers = read_answers(small_set.data_dir, small_set.inference_dir)
    system = Sure.of(answers, read_scores(small_set.inference_dir, answers))
    assert np.isneginf(system.posteriors_u).tolist() == [key == "n01" for key, _ in answers.truth]
    assert np.exp(system.posteriors_u[0]) == pytest.approx(0.9)


def test_the_command_prints_a_table(small_set: WrittenSet, tmp_path: Path):
    truth = dict(read_answers(small_set.data_dir, small_set.inference_dir).truth)
    other = write_set(tmp_path / "b", truth, truth, ["deu", "fra", "nld"], {})
    systems = ("--systems", small_set.inference_dir, other.inference_dir, "--names", "weak,strong")
    options = ("--data_dir", small_set.data_dir, *systems, "--format", "markdown", "--coverage")
    done = call("compare", *options, "1 0.9")
    assert done.returncode == 0, done.stderr
    table = done.stdout.strip().split("\n\n")[-1].splitlines()
    assert table[0] == "| accuracy at coverage | 90 % | 100 % |"
    assert table[2].startswith("| weak | ")
    assert table[2].endswith(" | - |")
    assert table[3].startswith("| strong | 100.00 % ")
    for wrong in ("0 1", "1.5"):
        assert call("compare", *options, wrong).returncode == 2
