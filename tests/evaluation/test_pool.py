"""Answers of folds, joined to those of one system."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_answers, read_scores
from lid_toolkit.evaluation.identified import NEVER
from lid_toolkit.evaluation.pool import pool

TRUTH = {"a": "deu", "b": "fra", "c": "nld", "d": "deu", "e": "fra"}


def folds(tmp_path: Path, **changed: object) -> list[WrittenSet]:
    """Two folds of :data:`TRUTH`; the first one's model does not know Dutch and failed at one utterance."""
    first = {"a": "deu", "d": "fra"}
    second = {"b": "fra", "c": "nld"} | dict(changed)
    return [
        write_set(tmp_path / "1", {k: TRUTH[k] for k in "ade"}, first, ["deu", "fra"], {"e": "broken"}),
        write_set(tmp_path / "2", {k: TRUTH[k] for k in "bc"}, second, ["nld", "deu", "fra"], {}),
    ]


def whole(tmp_path: Path) -> WrittenSet:
    return write_set(tmp_path / "all", TRUTH, {"a": "deu"}, ["deu"], {}, name="all_x")


def test_the_answers_and_scores_are_those_of_each_fold(tmp_path: Path):
    parts, target = folds(tmp_path), whole(tmp_path)
    out = tmp_path / "pooled" / "all_x"
    pool(target.data_dir, out, [part.inference_dir for part in parts])
    answers = read_answers(target.data_dir, out)
    found = [answers.languages[place] if place >= 0 else "-" for place in answers.predicted.tolist()]
    assert found == ["deu", "fra", "nld", "fra", "-"]
    assert dict(answers.failed) == {"e": "broken"}
    assert answers.languages == ("deu", "fra", "nld")
    scores = read_scores(out, answers)
    _, second = read_vectors(parts[1].inference_dir / "scores.scp")
    np.testing.assert_array_equal(scores[2], second[1][[1, 2, 0]])
    assert scores[0, 2] == np.float32(NEVER)


def test_what_a_vote_left_without_an_answer_stays_so(tmp_path: Path):
    parts, target = folds(tmp_path), whole(tmp_path)
    (parts[0].inference_dir / "failed").rename(parts[0].inference_dir / "abstained")
    out = tmp_path / "pooled" / "all_x"
    pool(target.data_dir, out, [part.inference_dir for part in parts])
    answers = read_answers(target.data_dir, out)
    assert (len(answers.failed), answers.abstained) == (0, 1)


def test_it_is_done_again_only_when_a_fold_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    parts, target = folds(tmp_path), whole(tmp_path)
    options = ("--data_dir", target.data_dir, "--output_dir", tmp_path / "out" / "all_x")
    results = [part.inference_dir for part in parts]
    assert "to do (not done yet)" in call("pool", *options, *results, "--dry_run", "true").stderr
    assert not (tmp_path / "out").exists()
    assert call("pool", *options, *results).returncode == 0
    assert "current, skipped" in call("pool", *options, *results).stderr
    folds(tmp_path, c="deu")
    assert "answers changed" in call("pool", *options, *results).stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": "deu"}, "duplicate key 'a'"),
        ({"z": "deu"}, "answers for utterances that are not in the set: z"),
    ],
)
def test_answers_that_do_not_fit_together_are_refused(tmp_path: Path, changed: dict[str, str], message: str):
    parts, target = folds(tmp_path, **changed), whole(tmp_path)
    with pytest.raises(LidError, match=message):
        pool(target.data_dir, tmp_path / "all_x", [part.inference_dir for part in parts])


def test_a_fold_that_is_missing_is_named(tmp_path: Path):
    parts, target = folds(tmp_path), whole(tmp_path)
    with pytest.raises(LidError, match="no fold has answered a, d, e"):
        pool(target.data_dir, tmp_path / "all_x", [parts[1].inference_dir])
    done = call("pool", "--data_dir", target.data_dir, "--output_dir", tmp_path / "all_x", tmp_path / "no")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no: does not exist" in done.stderr


def test_scores_of_another_run_are_refused(tmp_path: Path):
    parts, target = folds(tmp_path), whole(tmp_path)
    (parts[0].answers).write_text("a deu\n")
    (parts[0].inference_dir / "failed").write_text("d x\ne x\n")
    with pytest.raises(LidError, match="the scores do not belong to the answers"):
        pool(target.data_dir, tmp_path / "all_x", [part.inference_dir for part in parts])
