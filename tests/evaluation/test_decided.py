"""Stage 7 with a policy: answers, counts and reports by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.commands.recipe.score import main, read_policy
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import FAILED, read_answers, read_columns
from lid_toolkit.evaluation.decided import Policy, decided
from lid_toolkit.evaluation.score import Counting, score
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import DecisionPolicy

LABELS = ("deu", "fra", "zho")


@pytest.fixture
def made(tmp_path: Path) -> WrittenSet:
    """Six utterances: three right answers, two wrong ones, one failure; the answers' posteriors are 0.9."""
    truth = {"a": "deu", "b": "deu", "c": "fra", "d": "zho", "e": "fra", "f": "fra"}
    answers = {"a": "deu", "b": "fra", "c": "fra", "d": "zho", "e": "zho"}
    return write_set(tmp_path, truth, answers, LABELS, {"f": "broken"})


def of(policy: DecisionPolicy) -> Policy:
    return Policy(policy.to_mapping(), lambda labels: decider(policy, labels))


def results(made: WrittenSet, policy: DecisionPolicy) -> dict:
    score(made.data_dir, made.inference_dir, counting=Counting(policy=of(policy)))
    return json.loads((made.inference_dir / "results.json").read_text())


def test_candidates_change_answers_and_posteriors(made: WrittenSet):
    before = read_answers(made.data_dir, made.inference_dir)
    columns = read_columns(made.inference_dir, before)
    answers, scores = decided(before, columns, LABELS, of(DecisionPolicy(("deu", "fra"))))
    named = ["" if column == FAILED else LABELS[column] for column in answers.predicted]
    assert named == ["deu", "fra", "fra", "deu", "deu", ""]
    expected = [0.9 / 0.95, 0.05 / 0.95, 0.05 / 0.95, 0.5, 0.5]
    np.testing.assert_allclose(np.exp(scores[:5, 0]), expected, rtol=1e-5)
    assert (np.isneginf(scores[:5, 2]).all(), np.isnan(scores[5]).all()) == (True, True)


def test_what_the_policy_does_not_answer_is_counted(made: WrittenSet):
    found = results(made, DecisionPolicy(min_score=0.95))
    assert (found["failed"], found["abstained"], found["correct"]) == (1, 5, 0)
    assert (found["coverage"], found["answered"], found["answered_error"]) == (0.0, None, None)
    report = (made.inference_dir / "results").read_text()
    assert "none answered" in report


def test_coverage_and_error_among_answers(made: WrittenSet):
    # Of the candidates deu and fra, d and e have equal scores, so their margin is 0.
    found = results(made, DecisionPolicy(("deu", "fra"), min_margin=0.1))
    assert found["policy"] == {"candidates": ["deu", "fra"], "min_margin": 0.1}
    assert (found["failed"], found["abstained"], found["coverage"]) == (1, 2, 0.5)
    assert found["answered"]["utterances"] == 3
    assert found["answered_error"]["value"] == pytest.approx(1 / 3)
    assert found["answered_error"]["low"] == pytest.approx(1 - found["answered"]["accuracy"]["high"])
    assert found["accuracy"]["value"] == pytest.approx(2 / 6)
    report = (made.inference_dir / "results").read_text()
    assert "1 failed, 2 without an answer; without them 66.67 %" in report
    assert "error of answers" in report
    page = (made.inference_dir / "report.html").read_text()
    assert "1 wrong answer," in page


def test_only_scored_utterances_count_as_unanswered(tmp_path: Path):
    truth = {"a": "deu", "b": "nld", "c": "nld", "d": "fra"}
    made = write_set(tmp_path, truth, {"a": "deu", "b": "fra"}, LABELS, {"c": "broken", "d": "broken"})
    counting = Counting(policy=of(DecisionPolicy(min_score=0.95)), unknown_languages="skip")
    score(made.data_dir, made.inference_dir, counting=counting)
    found = json.loads((made.inference_dir / "results.json").read_text())
    assert (found["utterances"], found["failed"], found["abstained"]) == (2, 1, 1)


def test_utterances_that_a_vote_left_out_are_without_an_answer(made: WrittenSet):
    rows = read_table(made.inference_dir / "failed")
    (made.inference_dir / "failed").rename(made.inference_dir / "abstained")
    score(made.data_dir, made.inference_dir)
    found = json.loads((made.inference_dir / "results.json").read_text())
    assert (len(rows), found["failed"], found["abstained"], found["coverage"]) == (1, 0, 1, 5 / 6)
    assert "policy" not in found
    report = (made.inference_dir / "results").read_text()
    assert "1 without an answer; without them 60.00 %" in report
    assert "failed;" not in report


def test_fallback_and_shortest_duration(made: WrittenSet):
    assert results(made, DecisionPolicy(min_score=0.95, fallback="fra"))["correct"] == 2
    assert results(made, DecisionPolicy(min_seconds=3.5, fallback="fra"))["abstained"] == 5


def test_without_a_policy_nothing_is_reported_about_it(made: WrittenSet):
    results(made, DecisionPolicy(min_score=0.95))
    score(made.data_dir, made.inference_dir)
    found = json.loads((made.inference_dir / "results.json").read_text())
    assert not {"policy", "abstained", "answered_error"} & found.keys()
    assert found["correct"] == 3


def test_macrolanguages_are_merged_after_the_policy(tmp_path: Path):
    made = write_set(tmp_path, {"a": "cmn", "b": "fra"}, {"a": "zho", "b": "fra"}, ["fra", "zho"], {})
    policy = of(DecisionPolicy(("cmn",)))
    answers = read_answers(made.data_dir, made.inference_dir, merge=True)
    columns = read_columns(made.inference_dir, answers)
    found, scores = decided(answers, columns, ["fra", "zho"], policy)
    assert found.predicted.tolist() == [answers.true[0]] * 2
    assert np.exp(scores).max(axis=1).tolist() == [1.0, 1.0]


def test_espnets_format_tells_failures_from_unknown(made: WrittenSet):
    policy = of(DecisionPolicy(("deu", "fra"), min_margin=0.1, unknown="und"))
    score(made.data_dir, made.inference_dir, espnet_format=True, counting=Counting(policy=policy))
    report = (made.inference_dir / "results").read_text()
    assert "Key: d, Target: zho, Prediction: und" in report
    assert "Key: f, Target: fra, Prediction: failed" in report


def test_the_command_takes_a_policy_file(made: WrittenSet, tmp_path: Path):
    file = tmp_path / "policy.yaml"
    file.write_text("min_score: 0.95\n")
    main([*made.arguments, "--policy", str(file)])
    assert json.loads((made.inference_dir / "results.json").read_text())["abstained"] == 5


def test_a_calibration_of_another_model_is_refused(made: WrittenSet, tmp_path: Path):
    file, record = tmp_path / "policy.yaml", made.inference_dir / ".done" / "identify.json"
    file.write_text("calibration: {scale: 0.5, model: abc}\n")
    record.parent.mkdir(exist_ok=True)
    record.write_text('{"inputs": {"model": "abc"}}')
    assert read_policy(file, made.inference_dir).calibration.scale == 0.5
    record.write_text('{"inputs": {"model": "def"}}')
    with pytest.raises(LidError, match="has the calibration of another model"):
        read_policy(file, made.inference_dir)


def test_choosing_equals_deciding_one_by_one():
    random = np.random.default_rng(0)
    scores_nc = np.log(random.dirichlet(np.full(3, 0.3), size=60))
    seconds_n = random.uniform(0.1, 2.0, size=60)
    for policy in (
        DecisionPolicy(),
        DecisionPolicy(min_score=0.6, min_margin=0.4),
        DecisionPolicy(("fra", "deu"), min_score=0.9, fallback="deu"),
        DecisionPolicy(("fra",), min_margin=1.0),
    ):
        ruling = decider(policy, LABELS)
        chosen = ruling.choose(ruling.posteriors(scores_nc), seconds_n).tolist()
        records = [ruling.decide(row, seconds) for row, seconds in zip(scores_nc, seconds_n, strict=True)]
        assert [record.language for record in records] == [None if c < 0 else LABELS[c] for c in chosen]
