"""Figures before and after a calibration, in numbers and in both reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from datadir.vectors import write_pairs
from evaluation.test_decided import of
from evaluation.written_set import WrittenSet, write_set
from scipy.special import log_softmax
from sklearn.metrics import brier_score_loss, log_loss

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.evaluation.calibrated import figures_of
from lid_toolkit.evaluation.detection import detection
from lid_toolkit.evaluation.score import Counting, score
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.steps import digest

LABELS = ("deu", "fra", "zho")


@pytest.fixture
def certain(tmp_path: Path) -> WrittenSet:
    """300 utterances whose scores are twice as large as is right: temperature 2 mends them."""
    random = np.random.default_rng(0)
    right = log_softmax(2 * random.normal(size=(300, 3)), axis=1)
    true = (np.exp(right).cumsum(axis=1) > random.random((300, 1))).argmax(axis=1)
    scores = log_softmax(2 * right, axis=1)
    keys = [f"u{number:03d}" for number in range(300)]
    answers = {key: LABELS[column] for key, column in zip(keys, scores.argmax(axis=1), strict=True)}
    truth = {key: LABELS[column] for key, column in zip(keys, true, strict=True)}
    made = write_set(tmp_path, truth, answers, LABELS, {})
    write_pairs(
        made.inference_dir / "scores.ark", made.inference_dir / "scores.scp", zip(keys, scores, strict=True)
    )
    return made


def policy_file(made: WrittenSet, **more: object) -> Path:
    path = made.inference_dir / "policy.yaml"
    calibration = Calibration.from_mapping({"temperature": 2.0, **more})
    DecisionPolicy(calibration=calibration, min_score=0.4).to_yaml(path)
    return path


def results(made: WrittenSet) -> dict:
    return json.loads((made.inference_dir / "results.json").read_text())


def test_figures_against_scikit_learn():
    random = np.random.default_rng(1)
    scores, true = log_softmax(random.normal(size=(200, 4)), axis=1), random.integers(0, 4, 200)
    found = figures_of(scores, true)
    assert found.trust.cross_entropy == pytest.approx(log_loss(true, np.exp(scores), labels=range(4)))
    brier = brier_score_loss(true, np.exp(scores), labels=range(4))
    assert found.brier == pytest.approx(brier)
    costs = detection(scores, true)
    assert costs is not None
    assert found.c_llr == costs.c_llr
    assert sum(part.answers for part in found.reliability) == 200


def test_before_and_after_stand_in_both_reports(certain: WrittenSet):
    done = call("score", *certain.arguments, "--calibration", policy_file(certain, set="dev_x"))
    assert done.returncode == 0, done.stderr
    found = results(certain)
    figures = found["calibration"]
    assert (figures["fitted_on"], figures["fitted_on_this_set"]) == ("dev_x", False)
    assert figures["settings"] == {"scale": 0.5, "bias": {}}
    assert figures["utterances"] == 300
    before, after = figures["before"], figures["after"]
    assert (
        before["cross_entropy"] == found["cross_entropy"]
    )  # the other numbers are of the scores as they are
    for key in ("cross_entropy", "c_llr", "calibration_error", "brier"):
        assert after[key] < before[key]
    assert after["accuracy"] == before["accuracy"] == found["accuracy"]["value"]
    assert after["cross_entropy"] == pytest.approx(
        found["cross_entropy"] - found["calibration_loss"], abs=0.01
    )
    assert sum(part["answers"] for part in after["reliability"]) == 300
    assert before["reliability"] == found["reliability"]
    lines = [" ".join(line.split()) for line in (certain.inference_dir / "results").read_text().splitlines()]
    assert "calibration, fitted on dev_x; 300 utterances in known languages" in lines
    assert f"C_llr, bits {before['c_llr']:.4f} {after['c_llr']:.4f}" in lines
    first = after["reliability"][-1]
    assert any(
        line.startswith("100.0 ") and line.endswith(f"{100 * first['accuracy']:.1f}") for line in lines
    )


def test_a_calibration_that_was_fitted_on_the_scored_set_is_told(certain: WrittenSet):
    own = digest(certain.data_dir / "utt2lang")
    call("score", *certain.arguments, "--calibration", policy_file(certain, set="test_x", set_digest=own))
    assert results(certain)["calibration"]["fitted_on_this_set"] is True
    assert "set_digest" not in results(certain)["calibration"]["settings"]
    assert "It was fitted on this set, so" in (certain.inference_dir / "results").read_text()


def test_the_calibration_of_a_policy_is_reported_without_its_other_settings(certain: WrittenSet):
    call("score", *certain.arguments, "--calibration", policy_file(certain))
    alone, correct = results(certain)["calibration"], results(certain)["correct"]
    DecisionPolicy(("deu", "fra"), calibration=Calibration.temperature(2.0)).to_yaml(policy_file(certain))
    call("score", *certain.arguments, "--policy", certain.inference_dir / "policy.yaml")
    assert results(certain)["calibration"] == alone
    assert results(certain)["correct"] < correct  # no answer is zho


def test_without_a_calibration_nothing_is_said(certain: WrittenSet):
    DecisionPolicy(min_score=0.4).to_yaml(certain.inference_dir / "policy.yaml")
    call("score", *certain.arguments, "--calibration", certain.inference_dir / "policy.yaml")
    assert "calibration" not in results(certain)
    done = call("score", *certain.arguments, "--calibration", certain.inference_dir / "none.yaml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_macrolanguages_are_merged_after_the_calibration(tmp_path: Path):
    truth = {"a": "zho", "b": "fra"}
    made = write_set(tmp_path, truth, {"a": "cmn", "b": "fra"}, ["cmn", "fra", "zho"], {})
    call("score", *made.arguments, "--merge_macrolanguages", "true", "--calibration", policy_file(made))
    calibrated = np.sqrt([0.9, 0.05, 0.05])
    right = [(calibrated[0] + calibrated[1]) / calibrated.sum(), calibrated[0] / calibrated.sum()]
    assert results(made)["calibration"]["after"]["cross_entropy"] == pytest.approx(-np.log(right).mean())


def test_a_set_without_scores_has_no_figures(tmp_path: Path):
    made = write_set(tmp_path, {"a": "deu"}, {}, LABELS, {"a": "broken"})
    write_table(made.data_dir / "utt2lang", [("a", "deu")])
    policy = DecisionPolicy(calibration=Calibration(0.5))
    score(made.data_dir, made.inference_dir, counting=Counting(calibration=of(policy)))
    assert "calibration" not in results(made)
