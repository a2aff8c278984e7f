"""What the scores of a set tell, and how languages that the system does not know are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.evaluation.answers import known_only, read_answers, read_scores
from lid_toolkit.evaluation.from_scores import from_scores
from lid_toolkit.evaluation.score import Counting, score

TRUTH = {"a": "deu", "b": "deu", "c": "fra", "d": "fra", "e": "xho", "f": "zul"}
ANSWERS = {"a": "deu", "b": "fra", "c": "fra", "d": "fra", "e": "deu", "f": "nld"}


@pytest.fixture
def with_unknown(tmp_path: Path) -> WrittenSet:
    """Write a set with two languages that the system, which knows three, does not know."""
    return write_set(tmp_path, TRUTH, ANSWERS, ["deu", "fra", "nld"], {})


def results(made: WrittenSet, **options) -> dict:
    score(made.data_dir, made.inference_dir, **options)
    return json.loads((made.inference_dir / "results.json").read_text())


def test_unknown_languages_count_as_wrong_or_not_at_all(with_unknown: WrittenSet):
    wrong = results(with_unknown)
    assert (wrong["correct"], wrong["utterances"], wrong["languages"]) == (3, 6, 4)
    assert "unknown_languages" not in wrong["not_scored"]
    skipped = results(with_unknown, counting=Counting(unknown_languages="skip"))
    assert (skipped["correct"], skipped["utterances"], skipped["languages"]) == (3, 4, 2)
    assert skipped["not_scored"]["unknown_languages"] == {"utterances": 2, "languages": 2}
    text = (with_unknown.inference_dir / "results").read_text()
    assert "not scored" in text
    assert "2 of 6 in 2 languages that the system does not know" in text
    for key in ("eer", "cross_entropy", "unknown_auroc"):  # all are of the same utterances
        assert wrong[key] == skipped[key]


def test_utterances_without_scores_and_in_unknown_languages_are_left_out(with_unknown: WrittenSet):
    answers = read_answers(with_unknown.data_dir, with_unknown.inference_dir)
    scores = read_scores(with_unknown.inference_dir, answers)
    found = from_scores(answers, scores)
    assert found is not None
    assert found.trust.accuracy == 3 / 4
    assert found.out_of_set is not None
    assert (found.out_of_set.known, found.out_of_set.unknown) == (4, 2)
    known, kept = known_only(answers, scores)
    assert list(known.truth.keys()) == ["a", "b", "c", "d"]
    assert kept.shape == (4, 3)
    scores[:4] = float("nan")
    assert from_scores(answers, scores) is None


def test_the_true_language_among_the_best(tmp_path: Path):
    languages = ["deu", "fra", "nld", "spa"]
    made = write_set(tmp_path, {"a": "deu", "b": "fra"}, {"a": "deu", "b": "deu"}, languages, {})
    answers = read_answers(made.data_dir, made.inference_dir)
    scores = read_scores(made.inference_dir, answers)
    scores[1] = [-0.1, -9, -3, -4]  # French is the last of four
    found = from_scores(answers, scores)
    assert found is not None
    assert found.top[3].tolist() == [True, False]
    assert 5 not in found.top


def test_corpora_and_dialects_are_scored_apart(with_unknown: WrittenSet):
    write_table(with_unknown.data_dir / "utt2dataset", [(key, "x" if key < "d" else "y") for key in TRUTH])
    write_table(with_unknown.data_dir / "utt2dialect", [(key, "north") for key in TRUTH])
    groups = results(with_unknown)["groups"]
    found = [(group["table"], group["name"], group["correct"], group["utterances"]) for group in groups]
    assert found == [("utt2dataset", "x", 2, 3), ("utt2dataset", "y", 1, 3), ("utt2dialect", "north", 3, 6)]
    assert "utt2dataset  y" in (with_unknown.inference_dir / "results").read_text()


def test_speakers_widen_the_intervals_and_both_are_written(with_unknown: WrittenSet):
    alone = results(with_unknown)
    assert alone["clusters"] is None
    write_table(with_unknown.data_dir / "utt2spk", [(key, "xy"[key < "d"]) for key in TRUTH])
    found = results(with_unknown)
    assert found["clusters"]["count"] == 2
    assert found["clusters"]["source"] == "utt2spk"
    assert found["independent"]["accuracy"] == alone["accuracy"]
    for key in ("accuracy", "macro_accuracy"):
        both = found["clusters"][key], found["independent"][key]
        assert found[key]["low"] == min(interval["low"] for interval in both)
        assert found[key]["high"] == max(interval["high"] for interval in both)
    assert "2 clusters (utt2spk), design effect" in (with_unknown.inference_dir / "results").read_text()
