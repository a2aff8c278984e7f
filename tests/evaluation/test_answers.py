"""What is refused when truth and answers do not match."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from datadir.vectors import write_pairs
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import FAILED, Answers, read_answers, read_scores
from lid_toolkit.evaluation.mistakes import confident_mistakes


def read(made: WrittenSet) -> Answers:
    return read_answers(made.data_dir, made.inference_dir)


def change(path: Path, **changes: str | None) -> None:
    """Set the given keys of a table; None removes one."""
    pairs = {**dict(read_table(path)), **changes}
    write_table(path, [(key, value) for key, value in pairs.items() if value is not None])


def test_rows_follow_the_truth(small_set: WrittenSet):
    answers = read(small_set)
    assert (answers.languages, answers.known) == (("deu", "fra", "nld"), 3)
    assert answers.predicted.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, FAILED, 2, 2, 2, 2]
    assert set(answers.seconds) == {3.0}
    assert dict(answers.failed) == {"n01": "truncated <audio>"}


def test_missing_answers_are_named(small_set: WrittenSet):
    change(small_set.answers, d03=None, d05=None)
    with pytest.raises(
        LidError, match=r"2 of 16 utterances have neither an answer nor a recorded failure: d03, d05"
    ):
        read(small_set)


def test_a_missing_answer_file_names_every_utterance_as_unanswered(small_set: WrittenSet):
    small_set.answers.unlink()
    with pytest.raises(
        LidError,
        match=r"15 of 16 utterances have neither .* failure: d00, d01, d02, d03, d04 and 10 more",
    ):
        read(small_set)


@pytest.mark.parametrize("name", ["test_x_lids", "failed"])
def test_answers_without_truth_are_named(small_set: WrittenSet, name: str):
    change(small_set.inference_dir / name, stranger="deu")
    with pytest.raises(LidError, match="answers for utterances that are not in the set: stranger"):
        read(small_set)


def test_an_utterance_both_answered_and_failed_is_named(small_set: WrittenSet):
    change(small_set.inference_dir / "failed", d04="broken")
    with pytest.raises(LidError, match="utterances with both an answer and a failure: d04"):
        read(small_set)


def test_an_answer_that_is_no_label_is_refused(small_set: WrittenSet):
    change(small_set.answers, d02="deuu")
    with pytest.raises(
        LidError, match=r"answer 'deuu' is not a label of this system \(did you mean 'deu'\?\)"
    ):
        read(small_set)


def test_languages_the_system_does_not_know_count_as_wrong(
    small_set: WrittenSet, caplog: pytest.LogCaptureFixture
):
    change(small_set.data_dir / "utt2lang", d02="ltz")
    with caplog.at_level(logging.WARNING):
        answers = read(small_set)
    assert "does not know ltz" in caplog.text
    assert answers.languages[answers.true[2]] == "ltz"
    mistakes = [*confident_mistakes(answers, read_scores(small_set.inference_dir, answers))]
    assert next(m for m in mistakes if m.utterance == "d02").true_probability is None


def test_other_codes_in_the_truth_are_an_error(tmp_path: Path):
    made = write_set(tmp_path, {"a": "de", "b": "nl"}, {"a": "deu", "b": "nld"}, ["deu", "nld"], {})
    with pytest.raises(
        LidError, match=r"knows none of the languages of the set: de, nl \(the system's labels: deu, nld"
    ):
        read(made)


def test_missing_durations_are_named(small_set: WrittenSet):
    change(small_set.data_dir / "utt2num_samples", d07=None)
    with pytest.raises(LidError, match="utterance 'd07' is missing"):
        read(small_set)


@pytest.mark.parametrize(("text", "what"), [("", "contains no languages"), ("a\na\n", "contains 'a' twice")])
def test_bad_label_lists_are_refused(small_set: WrittenSet, text: str, what: str):
    (small_set.inference_dir / "languages").write_text(text)
    with pytest.raises(LidError, match=what):
        read(small_set)


def test_a_missing_label_list_is_named(small_set: WrittenSet):
    (small_set.inference_dir / "languages").unlink()
    with pytest.raises(LidError, match="languages: does not exist"):
        read(small_set)


def rewrite_scores(made: WrittenSet, rows: slice, columns: slice) -> None:
    keys, matrix = read_vectors(made.inference_dir / "scores.scp")
    pairs = zip(keys[rows], matrix[rows, columns], strict=True)
    write_pairs(made.inference_dir / "scores.ark", made.inference_dir / "scores.scp", pairs)


def test_scores_of_other_utterances_are_refused(small_set: WrittenSet):
    answers = read(small_set)
    assert np.isnan(read_scores(small_set.inference_dir, answers)).any(axis=1).tolist().index(True) == 11
    rewrite_scores(small_set, slice(1, None), slice(None))
    with pytest.raises(LidError, match="scores and answers belong to different utterances"):
        read_scores(small_set.inference_dir, answers)


def test_scores_of_another_number_of_languages_are_refused(small_set: WrittenSet):
    rewrite_scores(small_set, slice(None), slice(0, 2))
    with pytest.raises(LidError, match="2 scores per utterance, but 3 languages"):
        read_scores(small_set.inference_dir, read(small_set))


def test_mistakes_come_surest_first(small_set: WrittenSet):
    answers = read(small_set)
    scores = read_scores(small_set.inference_dir, answers)
    scores[1] = np.log([0.02, 0.97, 0.01])
    mistakes = [*confident_mistakes(answers, scores, at_most=2)]
    assert [(m.utterance, m.true, m.predicted) for m in mistakes] == [
        ("d01", "deu", "fra"),
        ("d00", "deu", "nld"),
    ]
    assert (mistakes[0].probability, mistakes[0].true_probability) == pytest.approx((0.97, 0.02), abs=1e-6)


def test_macrolanguages_count_as_one_where_that_is_asked_for(tmp_path: Path):
    truth = {"a": "cmn", "b": "zho", "c": "yue", "d": "arz"}
    given = {"a": "zho", "b": "cmn", "c": "cmn", "d": "arb"}
    made = write_set(tmp_path, truth, given, ["arb", "cmn", "yue", "zho"], {})
    plain = read(made)
    assert plain.languages == ("arb", "cmn", "yue", "zho", "arz")
    assert not np.any(plain.true == plain.predicted)
    answers = read_answers(made.data_dir, made.inference_dir, merge=True)
    assert (answers.languages, answers.known) == (("ara", "zho", "yue"), 3)
    assert (answers.true == answers.predicted).tolist() == [True, True, False, True]
    columns = np.exp(read_scores(made.inference_dir, plain))
    expected = np.stack([columns[:, 0], columns[:, 1] + columns[:, 3], columns[:, 2]], axis=1)
    np.testing.assert_allclose(np.exp(read_scores(made.inference_dir, answers)), expected, rtol=1e-6)
