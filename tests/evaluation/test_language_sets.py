"""Utterances of several languages: sets and recalls by hand, and where they are reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datadir.vectors import write_pairs
from evaluation.written_set import WrittenSet, write_set
from hypothesis import given
from hypothesis import strategies as st

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_answers, read_scores
from lid_toolkit.evaluation.intervals import wilson
from lid_toolkit.evaluation.language_sets import language_sets, ranks
from lid_toolkit.evaluation.score import score

LANGUAGES = ("deu", "fra", "nld", "spa")
SET = {  # utterance: languages, scores of LANGUAGES, and how many of the languages are among the best
    "a": ("deu nld", (-1, -9, -2, -3), 2),
    "b": ("deu:2 nld:1 spa:1", (-1, -3, -9, -2), 2),
    "c": ("fra spa", (-1, -9, -2, -3), 0),
    "d": ("spa", (-2, -3, -4, -1), 1),
    "e": ("deu rus", (-1, -2, -3, -4), 1),
    "f": ("fra nld", (-9, -2, -3, -1), 1),
    "g": ("deu fra", None, 0),
}


@pytest.fixture
def mixed(tmp_path: Path) -> WrittenSet:
    """Return a set of 7 utterances, of which one failed and two have all their languages among the best."""
    truth = {key: spoken.replace(":2", "").split()[0] for key, (spoken, _, _) in SET.items()}
    answers = {key: LANGUAGES[int(np.argmax(s))] for key, (_, s, _) in SET.items() if s is not None}
    made = write_set(tmp_path, truth, answers, LANGUAGES, {"g": "broken"})
    scores = {key: np.array(s) for key, (_, s, _) in SET.items() if s is not None}
    write_pairs(made.inference_dir / "scores.ark", made.inference_dir / "scores.scp", scores.items())
    write_table(made.data_dir / "utt2langs", [(key, spoken) for key, (spoken, _, _) in SET.items()])
    return made


def sets_of(made: WrittenSet, merge: bool = False):
    answers = read_answers(made.data_dir, made.inference_dir, merge=merge)
    return language_sets(answers, read_scores(made.inference_dir, answers), made.data_dir / "utt2langs")


def test_sets_and_recalls_by_hand(mixed: WrittenSet, caplog: pytest.LogCaptureFixture):
    sets = sets_of(mixed)
    assert (sets.exact.correct, sets.exact.utterances) == (2, 7)
    assert sets.exact.estimate == wilson(2, 7)
    assert (sets.mixed.correct, sets.mixed.utterances) == (1, 6)
    found = [found / len(spoken.split()) for spoken, _, found in SET.values()]
    assert sets.recall.value == pytest.approx(np.mean(found))
    for limit in (sets.recall.low, sets.recall.high):  # 1.96 standard errors of the limit away
        assert abs(limit - 11 / 21) == pytest.approx(1.96 * (limit * (1 - limit) / 7) ** 0.5, abs=1e-4)
    assert "the system does not know rus, which counts as not found" in caplog.text


def test_reports_of_a_set_with_several_languages(mixed: WrittenSet):
    score(mixed.data_dir, mixed.inference_dir)
    results = json.loads((mixed.inference_dir / "results.json").read_text())
    assert results["accuracy"]["value"] == pytest.approx(4 / 7)  # of the main language: a, b, d and e
    assert results["exact_set_accuracy"] == wilson(2, 7).as_dict()
    assert results["recall_at_k"]["value"] == pytest.approx(11 / 21)
    assert results["several_languages"] == {
        "utterances": 6,
        "correct": 1,
        "accuracy": wilson(1, 6).as_dict(),
    }
    lines = [" ".join(line.split()) for line in (mixed.inference_dir / "results").read_text().splitlines()]
    assert "exact sets 28.57 % [8.22, 64.11] 1 of 6 with several languages correct" in lines
    assert any(line.startswith("recall at k 52.38 % [21.80, 81.28]") for line in lines)
    assert "exact sets" in (mixed.inference_dir / "report.html").read_text()


def test_a_set_is_scored_again_when_its_languages_change(mixed: WrittenSet):
    (mixed.data_dir / "utt2langs").rename(mixed.data_dir / "kept")
    score(mixed.data_dir, mixed.inference_dir)
    results = json.loads((mixed.inference_dir / "results.json").read_text())
    assert not {"exact_set_accuracy", "recall_at_k", "several_languages"} & results.keys()
    assert "exact sets" not in (mixed.inference_dir / "results").read_text()
    (mixed.data_dir / "kept").rename(mixed.data_dir / "utt2langs")
    score(mixed.data_dir, mixed.inference_dir)
    assert "exact_set_accuracy" in json.loads((mixed.inference_dir / "results.json").read_text())


def test_one_language_each_is_the_accuracy(small_set: WrittenSet):
    (small_set.data_dir / "utt2langs").write_bytes((small_set.data_dir / "utt2lang").read_bytes())
    score(small_set.data_dir, small_set.inference_dir)
    results = json.loads((small_set.inference_dir / "results.json").read_text())
    assert results["exact_set_accuracy"] == results["recall_at_k"] == results["accuracy"]
    assert results["several_languages"] is None


def test_merged_macrolanguages_are_one_language(tmp_path: Path):
    made = write_set(tmp_path, {"a": "zho", "b": "fra"}, {"a": "cmn", "b": "fra"}, ["cmn", "fra", "spa"], {})
    scores = {"a": np.array([-1.0, -2, -3]), "b": np.array([-3.0, -1, -2])}
    write_pairs(made.inference_dir / "scores.ark", made.inference_dir / "scores.scp", scores.items())
    write_table(made.data_dir / "utt2langs", {"a": "zho cmn fra", "b": "fra zho"}.items())
    apart, together = sets_of(made), sets_of(made, merge=True)
    assert (apart.exact.correct, apart.recall.value) == (0, pytest.approx((2 / 3 + 1 / 2) / 2))
    assert (together.exact.correct, together.recall.value) == (1, 0.75)


def test_a_missing_utterance_is_named(mixed: WrittenSet):
    write_table(mixed.data_dir / "utt2langs", [("a", "deu")])
    with pytest.raises(LidError, match=r"utt2langs: utterance 'b' is missing"):
        score(mixed.data_dir, mixed.inference_dir)


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_ranks_are_the_places_in_a_stable_order(rows):
    scores = np.array(rows, np.float32)
    rows_e, languages_e = (array.ravel() for array in np.indices(scores.shape))
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = [order[row].tolist().index(column) for row, column in zip(rows_e, languages_e, strict=True)]
    assert ranks(scores, rows_e, languages_e).tolist() == expected


def test_ranks_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch):
    scores = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    rows_e, languages_e = np.arange(9), np.arange(9) % 5
    whole = ranks(scores, rows_e, languages_e)
    monkeypatch.setattr("lid_toolkit.evaluation.ranking.BLOCK", 2)
    assert ranks(scores, rows_e, languages_e).tolist() == whole.tolist()
