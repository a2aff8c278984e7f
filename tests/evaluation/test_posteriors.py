"""Log posteriors in blocks are the same as whole ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from evaluation.test_answers import read
from evaluation.written_set import WrittenSet

from lid_toolkit.evaluation import detection as detection_module
from lid_toolkit.evaluation import posteriors
from lid_toolkit.evaluation.calibration import brier_score, trust_in
from lid_toolkit.evaluation.from_scores import from_scores
from lid_toolkit.evaluation.posteriors import LEAST, Chosen, at, best, by_blocks


@pytest.fixture
def scores() -> np.ndarray:
    values = np.random.default_rng(0).normal(-3, 1, (50, 4)).astype(np.float32)
    values[3, 1] = -np.inf
    return values


def test_chosen_rows_are_those_of_the_matrix_with_a_floor(
    scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(posteriors, "BLOCK", 7)
    rows = np.array([3, 10, 11, 40])
    chosen, expected = Chosen(scores, rows), np.maximum(scores[rows], LEAST)
    assert (len(chosen), chosen.shape, chosen[:].min()) == (4, (4, 4), LEAST)
    for places in (slice(1, 3), slice(None, None, 2), np.array([2, 0]), np.array([True, False, True, False])):
        np.testing.assert_array_equal(chosen[places], expected[places])
    whole = Chosen(scores, np.arange(50))
    columns, values = best(whole)
    np.testing.assert_array_equal(columns, scores.argmax(axis=1))
    np.testing.assert_array_equal(values, scores.max(axis=1))
    np.testing.assert_array_equal(at(whole, columns), values)
    doubled = Chosen(scores, rows, lambda block: np.concatenate((block, block), axis=1))
    assert doubled.shape == (4, 8)
    np.testing.assert_array_equal(doubled[1:], np.concatenate((expected, expected), axis=1)[1:])


def test_no_rows():
    assert by_blocks(np.zeros((0, 3)), lambda block, _: block[:, 0]).shape == (0,)


def many(small_set: WrittenSet, copies: int):
    """Return answers to a set ``copies`` times as large, and scores of 3 languages."""
    answers = read(small_set)
    repeated = dataclasses.replace(
        answers,
        **{name: np.tile(getattr(answers, name), copies) for name in ("true", "predicted", "seconds")},
    )
    random = np.random.default_rng(0)
    values = random.normal(size=(len(repeated.true), 3))
    values[np.arange(len(values)), repeated.true] += 1
    return repeated, (values - np.logaddexp.reduce(values, axis=1, keepdims=True)).astype(np.float32)


def test_blocks_do_not_change_a_number(small_set: WrittenSet, monkeypatch: pytest.MonkeyPatch):
    answers, values = many(small_set, 40)
    whole = from_scores(answers, values)
    for module, size in ((posteriors, 50), (detection_module, 33)):
        monkeypatch.setattr(module, "BLOCK", size)
    monkeypatch.setattr(detection_module, "GROUP", 1)
    found = from_scores(answers, values)
    assert whole is not None
    assert found is not None
    for one, other in ((whole, found), (whole.detection, found.detection)):
        for item in dataclasses.fields(one):
            value, same = getattr(one, item.name), getattr(other, item.name)
            if isinstance(value, float):
                assert same == pytest.approx(value, rel=1e-6)
    assert found.trust == whole.trust
    assert found.left_out == whole.left_out


def test_no_block_is_larger_than_it_must_be(small_set: WrittenSet, monkeypatch: pytest.MonkeyPatch):
    """Each measure of all utterances reads blocks; pairs of languages read one language at a time."""
    answers, values = many(small_set, 40)
    chosen, sizes = Chosen(values, np.arange(len(values))), []
    read_rows = Chosen.__getitem__
    monkeypatch.setattr(
        Chosen, "__getitem__", lambda self, at: sizes.append(len(found := read_rows(self, at))) or found
    )
    for module in (posteriors, detection_module):
        monkeypatch.setattr(module, "BLOCK", 50)
    trust_in(chosen, answers.true)
    brier_score(chosen, answers.true)
    list(detection_module.ratio_blocks(chosen, np.arange(3)))
    assert max(sizes) == 50
    detection_module.pairwise_eer(chosen, answers.true)
    assert max(sizes) == np.bincount(answers.true).max()
