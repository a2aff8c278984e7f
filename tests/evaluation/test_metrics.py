"""Metrics against scikit-learn and hand-computed values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation.written_set import WrittenSet, write_set
from sklearn import metrics as sklearn_metrics

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.evaluation.answers import FAILED, read_answers
from lid_toolkit.evaluation.from_scores import from_scores
from lid_toolkit.evaluation.metrics import Details, confusion_matrix, duration_buckets, evaluate
from lid_toolkit.evaluation.results_json import as_dict
from lid_toolkit.evaluation.text_report import text_report


def test_metrics_equal_scikit_learns(tmp_path: Path):
    random = np.random.default_rng(3)
    labels = [f"l{n:02d}" for n in range(12)]
    true = random.choice(labels, 500)
    predicted = np.where(random.random(500) < 0.7, true, random.choice(labels, 500))
    keys = [f"u{n:03d}" for n in range(500)]
    truth, answers = (dict(zip(keys, map(str, values), strict=True)) for values in (true, predicted))
    made = write_set(tmp_path, truth, answers, labels, {})
    evaluation = evaluate(read_answers(made.data_dir, made.inference_dir))
    assert np.array_equal(
        evaluation.confusion[:, :-1], sklearn_metrics.confusion_matrix(true, predicted, labels=labels)
    )
    precision, recall, f1, totals = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=labels
    )
    results = evaluation.per_language
    assert [result.recall.estimate.value for result in results] == pytest.approx(recall)
    assert [result.precision for result in results] == pytest.approx(precision)
    assert [result.f1 for result in results] == pytest.approx(f1)
    assert [result.recall.utterances for result in results] == totals.tolist()
    assert evaluation.accuracy.estimate.value == sklearn_metrics.accuracy_score(true, predicted)
    balanced = sklearn_metrics.balanced_accuracy_score(true, predicted)
    assert evaluation.macro_accuracy.value == pytest.approx(balanced)


def test_means_over_languages_and_places_equal_scikit_learns(tmp_path: Path):
    random = np.random.default_rng(5)
    labels = [f"l{n:02d}" for n in range(8)]
    keys = [f"u{n:03d}" for n in range(400)]
    # The last two languages are rare; no utterance is of the first.
    true = random.choice(8, 400, p=[0, 0.2, 0.2, 0.2, 0.2, 0.15, 0.03, 0.02])
    scores = random.normal(size=(400, 8)) + 1.5 * (true[:, None] == np.arange(8))
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
    predicted = scores.argmax(axis=1)
    truth, given = ({k: labels[n] for k, n in zip(keys, ns, strict=True)} for ns in (true, predicted))
    made = write_set(tmp_path, truth, given, labels, {})
    answers = read_answers(made.data_dir, made.inference_dir)
    found = as_dict(evaluate(answers, Details(scored=from_scores(answers, scores.astype(np.float32)))))
    present = sorted(set(true.tolist()))
    precision, recall, f1, totals = sklearn_metrics.precision_recall_fscore_support(
        true, predicted, labels=present
    )
    expected = {
        "macro_accuracy": recall.mean(),
        "macro_accuracy_frequent": recall[totals >= 20].mean(),
        "macro_precision": precision.mean(),
        "macro_f1": f1.mean(),
        **{
            f"top{k}_accuracy": sklearn_metrics.top_k_accuracy_score(true, scores, k=k, labels=range(8))
            for k in (3, 5)
        },
    }
    assert 0 < (totals < 20).sum() < len(totals)
    assert {key: found[key]["value"] for key in expected} == pytest.approx(expected)
    for key in expected:
        assert found[key]["low"] < found[key]["value"] < found[key]["high"]


def test_macrolanguages_as_one_by_hand(tmp_path: Path):
    """Mandarin as Chinese is tolerated, Cantonese as Chinese is not; strictly both are wrong."""
    truth = {"a": "cmn", "b": "yue", "c": "fra", "d": "fra"}
    made = write_set(tmp_path, truth, {"a": "zho", "b": "zho", "c": "fra", "d": "zho"}, ["fra", "zho"], {})
    found = as_dict(evaluate(read_answers(made.data_dir, made.inference_dir)))
    assert (found["accuracy"]["value"], found["tolerant_accuracy"]["value"]) == (0.25, 0.5)


def test_failed_utterances_count_as_wrong_and_lower_coverage(small_set: WrittenSet):
    evaluation = evaluate(read_answers(small_set.data_dir, small_set.inference_dir))
    assert (evaluation.accuracy.correct, evaluation.accuracy.utterances) == (12, 16)
    assert evaluation.answered is not None
    assert (evaluation.answered.correct, evaluation.answered.utterances) == (12, 15)
    assert (evaluation.failed, evaluation.coverage) == (1, 15 / 16)
    assert evaluation.macro_accuracy.value == pytest.approx((8 / 10 + 4 / 6) / 2)
    german, dutch = evaluation.per_language
    assert (german.name, german.mistaken_for, german.mistaken_times) == ("German", "fra", 1)
    assert german.precision == pytest.approx(8 / 9)
    assert dutch.f1 == pytest.approx(2 * 4 / (6 + 5))


def test_all_failed_is_reported(tmp_path: Path):
    made = write_set(tmp_path, {"a": "deu", "b": "deu"}, {}, ["deu", "fra"], {"a": "cut off", "b": "empty"})
    evaluation = evaluate(read_answers(made.data_dir, made.inference_dir))
    assert (evaluation.coverage, evaluation.accuracy.correct, evaluation.answered) == (0, 0, None)
    assert "all failed" in text_report(evaluation)
    assert as_dict(evaluation)["answered"] is None


def test_confusion_matrix_counts_failures_in_the_last_column():
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, FAILED, 1])
    assert confusion_matrix(true, predicted, 2).tolist() == [[1, 1, 0], [0, 1, 1]]


def test_duration_buckets_hold_their_lower_edge():
    seconds = np.array([0.99, 1.0, 1.99, 2.0, 20.0])
    buckets = duration_buckets(seconds, np.array([True, True, False, True, False]))
    counts = [None if b.right is None else (b.right.correct, b.right.utterances) for b in buckets]
    assert counts == [(1, 1), (1, 2), (1, 1), None, None, None, (0, 1)]
    assert [(bucket.from_s, bucket.to_s) for bucket in buckets][-1] == (20.0, None)


def test_results_are_plain_json(small_set: WrittenSet):
    content = as_dict(evaluate(read_answers(small_set.data_dir, small_set.inference_dir)))
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    for key in ("accuracy", "macro_accuracy"):
        assert set(content[key]) == {"value", "low", "high"}
    assert (content["utterances"], content["languages"]) == (16, 2)
    assert list(content["per_language"]) == ["deu", "nld"]
    assert content["confusion"]["counts"] == [[8, 1, 1, 0], [1, 0, 4, 1]]


def test_utterances_lost_in_formatting_are_stated(small_set: WrittenSet):
    write_table(small_set.data_dir / "failed", [("x1", "truncated")])
    write_table(small_set.data_dir / "dropped", [("x2", "0.05 s is under 0.1 s"), ("x3", "too long")])
    evaluation = evaluate(read_answers(small_set.data_dir, small_set.inference_dir))
    assert as_dict(evaluation)["not_scored"] == {"dropped": 2, "broken": 1}
    assert "not scored       1 broken, 2 outside the duration limits of the formatting" in text_report(
        evaluation
    )


def test_text_report_tells_it_all(small_set: WrittenSet):
    text = text_report(evaluate(read_answers(small_set.data_dir, small_set.inference_dir)))
    assert "accuracy          75.00 % [50.50, 89.82]  12 of 16 correct" in text
    assert "1 failed; without them 80.00 %" in text
    assert "deu    German    10" in text
    assert "    3-5  16" in text
