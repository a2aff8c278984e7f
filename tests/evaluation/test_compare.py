"""The paired comparison against hand-computed and simulated values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_answers
from lid_toolkit.evaluation.bootstrap import drawn_means, percentile_interval
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.compare import Comparison, compare, mcnemar, paired_gain, verdict
from lid_toolkit.evaluation.compare_many import cell, latex
from lid_toolkit.evaluation.intervals import Estimate
from lid_toolkit.evaluation.score import score

SCRIPT = Path(__file__).parents[2] / "pyscripts" / "compare.py"


def test_mcnemar_is_a_fair_coin():
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


def test_gain_has_width_when_both_are_always_right():
    gain = paired_gain(50, 0, 0, 50)
    assert gain.low < gain.value == 0 < gain.high


def test_gain_by_hand():
    """Both are right on 36 of 50, only A on 2, only B on 12: phi is -24 / sqrt(38 * 12 * 48 * 2) = -0.1147.

    Wilson's intervals are [0.6259, 0.8570] for 38 and [0.8654, 0.9890] for 48 of 50. So the lower limit is
    0.2 - sqrt(0.0946^2 + 2 * 0.1147 * 0.0946 * 0.0970 + 0.0970^2), and the upper one
    0.2 + sqrt(0.0290^2 + 2 * 0.1147 * 0.0290 * 0.1341 + 0.1341^2).
    """
    gain = paired_gain(36, 2, 12, 50)
    assert (gain.low, gain.value, gain.high) == pytest.approx((0.0569, 0.2, 0.3404), abs=1e-4)


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


def systems(small_set: WrittenSet, tmp_path: Path) -> tuple[WrittenSet, WrittenSet]:
    truth = dict(read_answers(small_set.data_dir, small_set.inference_dir).truth)
    answers = truth | {"d05": "fra"}
    return small_set, write_set(tmp_path / "b", truth, answers, ["deu", "fra", "nld"], {})


def test_clusters_widen_the_difference(small_set: WrittenSet, tmp_path: Path):
    first, second = (read_answers(s.data_dir, s.inference_dir) for s in systems(small_set, tmp_path))
    plain = compare(first, second).gain
    speakers = np.arange(len(first.true)) % 2
    grouped = compare(first, second, Clusters("utt2spk", speakers, 2)).gain
    assert grouped.value == plain.value
    assert (grouped.low <= plain.low, grouped.high >= plain.high) == (True, True)
    assert grouped != plain


def test_speakers_widen_the_accuracies_of_both_systems(small_set: WrittenSet, tmp_path: Path):
    """As in the results of each system, whose interval is the wider one of Wilson's and that of clusters."""
    one, other = systems(small_set, tmp_path)
    plain = call("compare", "--data_dir", one.data_dir, "--a", one.inference_dir, "--b", other.inference_dir)
    assert "  A  75.00 % [50.50, 89.82]" in plain.stdout
    speakers = [(key, f"s{number // 6}") for number, key in enumerate(read_truth(one))]
    write_table(one.data_dir / "utt2spk", speakers)
    score(one.data_dir, one.inference_dir)
    found = json.loads((one.inference_dir / "results.json").read_text())["accuracy"]
    grouped = call(
        "compare", "--data_dir", one.data_dir, "--a", one.inference_dir, "--b", other.inference_dir
    )
    interval = f"  A  75.00 % [{100 * found['low']:.2f}, {100 * found['high']:.2f}]"
    assert interval in grouped.stdout
    assert interval not in plain.stdout


def test_an_interval_that_holds_0_never_names_a_better_system(small_set: WrittenSet, tmp_path: Path):
    """Newcombe's interval of 2 more right answers of 16 holds 0, and so do limits of exactly 0."""
    for low, value, high in ((0.0, 0.1, 0.2), (-0.1, -0.05, 0.0), (-0.1, 0.2, 0.4)):
        assert "better" not in verdict(Estimate(value, low, high))
        gain, accuracy = Estimate(value, low, high), Estimate(0.5, 0.4, 0.6)
        assert "*" not in cell(Comparison(1, 1, 1, 1, accuracy, accuracy, gain, 1.0))
    one, _ = systems(small_set, tmp_path)
    same = write_set(
        tmp_path / "c", read_truth(one), read_truth(one) | {"d00": "nld"}, ["deu", "fra", "nld"], {}
    )
    done = call("compare", "--data_dir", one.data_dir, "--a", one.inference_dir, "--b", same.inference_dir)
    assert ("better" in done.stdout) == ("[+" in done.stdout)


def read_truth(made: WrittenSet) -> dict[str, str]:
    return dict(read_answers(made.data_dir, made.inference_dir).truth)


def test_the_gain_of_clusters_covers_the_truth():
    """30 speakers of 8 utterances; the gain on each is a draw of its own, 5 points on average."""
    random, sets, held = np.random.default_rng(0), 200, 0
    clusters = Clusters("utt2spk", np.repeat(np.arange(30), 8), 30)
    for _ in range(sets):
        change = np.repeat(random.normal(0.05, 0.2, 30), 8)
        values = np.where(random.random(240) < np.abs(change), np.sign(change), 0)
        drawn = drawn_means(values, clusters)
        low, high = percentile_interval(drawn, float(values.mean()), 29)
        held += low <= 0.05 <= high
    assert 0.91 <= held / sets <= 0.985  # the standard error is 1.5 %


def test_words_follow_the_interval():
    assert verdict(Estimate(0.1, 0.01, 0.2)) == "B is better"
    assert verdict(Estimate(-0.1, -0.2, -0.01)) == "A is better"
    assert verdict(Estimate(0.1, -0.01, 0.2)) == verdict(Estimate(0, 0, 0)) == "no difference can be told"


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_several_systems_in_one_matrix(small_set: WrittenSet, tmp_path: Path, form: str):
    one, other = systems(small_set, tmp_path)
    changed, answers = tmp_path / "changes.tsv", tmp_path / "answers.tsv"
    paths = (str(one.inference_dir), str(other.inference_dir))
    done = call(
        "compare", "--data_dir", one.data_dir, "--systems", *paths,
        "--format", form, "--languages", "--changes", changed, "--answers", answers,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "+18.75" in done.stdout
    rows = [line.split("\t") for line in changed.read_text().splitlines()]
    assert rows[0] == ["utt", "lang", *paths]
    assert ["d05", "deu", "deu", "fra"] in rows
    assert len(rows) == 1 + 5
    every = [line.split("\t") for line in answers.read_text().splitlines()]
    assert [row for row in every if row in rows] == rows
    assert [row[0] for row in every[1:]] == sorted(dict(read_answers(one.data_dir, one.inference_dir).truth))


def test_latex_is_escaped():
    text = latex(("a_b", "5 %"), [("x&y", "\\")])
    assert r"a\_b & 5 \% \\" in text
    assert r"x\&y & \textbackslash{} \\" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--a", "x"], "compare: two systems are needed"),
        (["--systems", "x"], "compare: two systems are needed"),
        (["--systems", "x", "x"], "x: given twice"),
        (["--systems", "x", "y", "--names", "a,a"], "--names: 2 names for 2 systems"),
        (["--systems", "x", "y", "--names", "a"], "--names: 1 names for 2 systems"),
        (["--systems", "x", "y"], "does not exist"),
    ],
)
def test_fewer_than_two_systems(small_set: WrittenSet, words: list[str], message: str):
    done = call("compare", "--data_dir", small_set.data_dir, *words)
    assert done.returncode == 2
    assert message in done.stderr
