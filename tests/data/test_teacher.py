"""A teacher's answers as targets: by id, in the student's order, and with or without labels."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from data.answers import HEARD, true_answers, write_answers
from data.corpus import LANGUAGES, write_set

from lid_toolkit.data.loader import MinibatchReader
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.data.teacher import taught_by
from lid_toolkit.data.utterances import load_utterances
from lid_toolkit.datadir.ark import read_vectors, write_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError

COLUMNS = [HEARD.index(language) for language in LANGUAGES]


@pytest.fixture
def speech(tmp_path):
    return write_set(tmp_path / "set", 9)


def loaded(speech, languages=LANGUAGES):
    return load_utterances(speech, speech / "utt2num_samples", languages)


def unlabelled(speech, keep=()):
    rows = [(key, label if key in keep else "und") for key, label in read_table(speech / "utt2lang")]
    write_table(speech / "utt2lang", rows)


def test_batches_have_the_answers_of_their_utterances(speech, tmp_path):
    answers = write_answers(tmp_path / "answers", true_answers(speech))
    taught = taught_by(answers, loaded(speech), LANGUAGES, True, 0.0)
    scores, embeddings = (read_vectors(answers / f"{name}.scp")[1] for name in ("scores", "embeddings"))
    part = taught.select(np.array([1, 4, 5, 8]))
    batches = sorted_batches(part.lengths_u, 14000)
    assert len(batches) > 1
    reader = MinibatchReader(part, batches, PreprocessorConf(), 16000)
    for number in range(len(batches)):
        minibatch = reader[number]
        rows = np.array([1, 4, 5, 8])[minibatch.rows_b.numpy()]
        _, _, _, targets = minibatch.model_inputs(torch.device("cpu"))
        np.testing.assert_array_equal(targets.scores_bc, scores[rows][:, COLUMNS])
        np.testing.assert_array_equal(targets.embeddings_be, embeddings[rows])
        assert targets.labelled_b.all()
    assert taught.targets.embedding_size == len(HEARD) + 1
    assert taught_by(answers, loaded(speech), LANGUAGES, False, 0.0).targets.batch([0]).embeddings_be is None


def test_without_a_label_the_teacher_names_the_class_and_its_other_languages_are_left_out(
    speech, tmp_path, caplog
):
    truth = true_answers(speech)
    answers = write_answers(tmp_path / "answers", {**truth, "set-004": "other", "set-000": "low"})
    unlabelled(speech, keep=("set-000", "set-001"))
    with caplog.at_level(logging.INFO):
        taught = taught_by(answers, loaded(speech), LANGUAGES, False, 0.0)
    assert "1 unlabelled utterances are left out" in caplog.text
    kept = [key for key in truth if key != "set-004"]
    assert [*taught.refs.keys()] == kept
    assert taught.labels_u.tolist() == [LANGUAGES.index(truth[key]) for key in kept]  # set-000 by its label
    assert taught.targets.labelled_u.tolist() == [True, True, *[False] * 6]
    assert taught.targets.batch([0, 2]).labelled_b.tolist() == [True, False]


def test_the_student_may_have_fewer_languages(speech, tmp_path):
    answers = write_answers(tmp_path / "answers", true_answers(speech))
    unlabelled(speech)
    taught = taught_by(answers, loaded(speech, ("low", "middle")), ("low", "middle"), False, 0.0)
    assert taught.labels_u.tolist() == [0, 1] * 3
    assert taught.targets.batch([0]).scores_bc.shape == (1, 2)


def test_copies_have_the_answer_for_their_original_unless_they_have_their_own(speech, tmp_path):
    truth = true_answers(speech)
    answers = write_answers(tmp_path / "answers", {**truth, "sp1.1-set-000": "middle"})
    for name in ("wav.scp", "utt2lang", "utt2num_samples"):
        rows = dict(read_table(speech / name))
        copies = {f"{prefix}set-000": rows["set-000"] for prefix in ("aug1-sp0.9-", "sp0.9-", "sp1.1-")}
        write_table(speech / name, sorted({**rows, **copies}.items()))
    taught = taught_by(answers, loaded(speech), LANGUAGES, False, 0.0)
    scores = dict(zip(*read_vectors(answers / "scores.scp"), strict=True))
    for row, key in enumerate(taught.refs.keys()):
        own = key if key in scores else "set-000"
        np.testing.assert_array_equal(taught.targets.batch([row]).scores_bc[0], scores[own][COLUMNS])


def test_few_utterances_without_an_answer_are_left_out_and_many_are_an_error(speech, tmp_path, caplog):
    truth = true_answers(speech)
    del truth["set-003"]
    answers = write_answers(tmp_path / "answers", truth)
    taught = taught_by(answers, loaded(speech), LANGUAGES, False, 0.1)
    assert len(taught) == 8
    assert "no answer for 1 of 9 utterances, such as 'set-003'" in caplog.text
    with pytest.raises(LidError, match=r"scores.scp: no answer for 1 of 9 utterances, such as 'set-003'"):
        taught_by(answers, loaded(speech), LANGUAGES, False, 0.0)


def spoil(answers, name, value):
    keys, matrix = read_vectors(answers / f"{name}.scp")
    matrix[4, 0] = value
    write_vectors(answers / f"{name}.ark", answers / f"{name}.scp", [(keys, matrix)])


def test_faults_are_one_clear_line(speech, tmp_path):
    data = loaded(speech)
    answers = write_answers(tmp_path / "answers", true_answers(speech))
    with pytest.raises(LidError, match=r"the teacher does not know 'swa', a language of the student"):
        taught_by(answers, data, ("high", "low", "swa"), True, 0.0)
    spoil(answers, "embeddings", np.inf)
    with pytest.raises(LidError, match=r"embeddings.ark:.*the teacher's answer for 'set-004' is not finite"):
        taught_by(answers, data, LANGUAGES, True, 0.0).targets.batch([3, 4])
    spoil(answers, "scores", np.nan)
    with pytest.raises(LidError, match=r"scores.ark:.*the teacher's answer for 'set-004' is not finite"):
        taught_by(answers, data, LANGUAGES, True, 0.0)
    (answers / "languages").write_text("low\nhigh\nmiddle\n")
    with pytest.raises(LidError, match=r"4 scores, but the teacher has 3 languages"):
        taught_by(answers, data, LANGUAGES, True, 0.0)
    (answers / "languages").write_text("zho\nhigh\nother\nlow\n")
    with pytest.raises(LidError, match=r"'zho' and 'cmn' are one language of the teacher, 'zho'"):
        taught_by(answers, data, ("zho", "cmn"), True, 0.0)
    (answers / "scores.scp").unlink()
    with pytest.raises(LidError, match=r"answers: scores.scp is missing: no log posteriors of a teacher"):
        taught_by(answers, data, LANGUAGES, True, 0.0)


def test_embeddings_that_are_missing_or_of_others(speech, tmp_path):
    truth = true_answers(speech)
    answers = write_answers(tmp_path / "answers", truth)
    other = write_answers(
        tmp_path / "other", {key: label for key, label in truth.items() if key != "set-001"}
    )
    (other / "embeddings.scp").replace(answers / "embeddings.scp")
    with pytest.raises(LidError, match=r"its utterances are not those of scores.scp"):
        taught_by(answers, loaded(speech), LANGUAGES, True, 0.0)
    (answers / "embeddings.scp").unlink()
    with pytest.raises(LidError, match=r"embeddings.scp: does not exist .*or set embedding_weight: 0"):
        taught_by(answers, loaded(speech), LANGUAGES, True, 0.0)
