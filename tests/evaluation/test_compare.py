"""The paired comparison against hand-computed and simulated values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_answers
from lid_toolkit.evaluation.compare import compare, mcnemar, paired_gain

SCRIPT = Path(__file__).parents[2] / "pyscripts" / "compare.py"


def test_mcnemar_is_a_fair_coin():
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


def test_gain_has_width_when_both_are_always_right():
    gain = paired_gain(50, 0, 0, 50)
    assert gain.low < gain.value == 0 < gain.high


def test_gain_is_antisymmetric():
    forth, back = paired_gain(60, 10, 25, 100), paired_gain(60, 25, 10, 100)
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_gain_covers_the_truth_in_95_percent():
    random = np.random.default_rng(0)
    chances = np.array([0.8, 0.05, 0.1, 0.05])
    covered = [
        gain.low <= 0.05 <= gain.high
        for counts in random.multinomial(300, chances, 500)
        for gain in [paired_gain(*(int(count) for count in counts[:3]), 300)]
    ]
    assert 0.93 <= np.mean(covered) <= 0.98


def test_compares_utterance_by_utterance(small_set: WrittenSet, tmp_path: Path):
    first = read_answers(small_set.data_dir, small_set.inference_dir)
    truth = dict(first.truth)
    other = write_set(tmp_path / "b", truth, truth | {"d05": "fra"}, ["deu", "fra", "nld"], {})
    second = read_answers(other.data_dir, other.inference_dir)
    result = compare(first, second)
    assert (result.both, result.only_a, result.only_b, result.neither) == (11, 1, 4, 0)
    assert result.gain.value == 3 / 16
    sets = ("--data_dir", small_set.data_dir, "--a", small_set.inference_dir, "--b", other.inference_dir)
    done = call("compare", *sets)
    assert "B - A  +18.75 points" in done.stdout


def test_other_sets_are_refused(small_set: WrittenSet, tmp_path: Path):
    other = write_set(tmp_path / "b", {"a": "deu"}, {"a": "deu"}, ["deu"], {})
    first = read_answers(small_set.data_dir, small_set.inference_dir)
    with pytest.raises(LidError, match="answered different sets"):
        compare(first, read_answers(other.data_dir, other.inference_dir))
