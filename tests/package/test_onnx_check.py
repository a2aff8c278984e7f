"""How far two models agree, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.package.onnx_check import GARBAGE, agreement, require_exact, run

SCORES = np.log(np.array([[0.95, 0.05], [0.4, 0.6], [0.08, 0.92], [0.7, 0.3]]))
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)


def test_equal_models_agree():
    found = agreement(SCORES, VECTORS, SCORES, VECTORS)
    assert (found.utterances, found.equal, found.confident, found.confident_equal) == (4, 4, 2, 2)
    assert found.difference == 0
    assert found.is_exact
    assert found.is_close
    require_exact(found, "model.onnx")


def test_differences_are_counted():
    others = np.log(np.array([[0.45, 0.55], [0.4, 0.6], [0.08, 0.92], [0.7, 0.3]]))
    vectors = VECTORS.copy()
    vectors[2] = (0.8, 0.6)
    found = agreement(SCORES, VECTORS, others, vectors)
    assert (found.equal, found.confident, found.confident_equal) == (3, 2, 1)
    assert found.difference == pytest.approx(0.5)
    assert found.cosine == pytest.approx(0.96)  # 0.6 * 0.8 + 0.8 * 0.6
    assert not found.is_exact
    assert not found.is_close
    with pytest.raises(
        LidError, match="the exported model differs: 3 of 4 answers are equal, 1 of 2 confident"
    ):
        require_exact(found, "model.onnx")


@pytest.mark.parametrize("change", [0.002, -0.002])
def test_a_probability_may_not_differ_by_more_than_a_thousandth(change):
    others = np.log(np.exp(SCORES) + np.array([change, -change]))
    assert not agreement(SCORES, VECTORS, others, VECTORS).is_exact
    others = np.log(np.exp(SCORES) + np.array([change, -change]) / 4)
    assert agreement(SCORES, VECTORS, others, VECTORS).is_exact


def test_a_batch_is_padded_with_anything():
    class Session:
        def run(self, _outputs, given):
            self.given = given
            return np.zeros((2, 2)), np.zeros((2, 2))

    session = Session()
    run(session, [np.ones(3, np.float32), np.ones(1, np.float32)])
    assert session.given["waveforms"].tolist() == [[1, 1, 1], [1, GARBAGE, GARBAGE]]
    assert session.given["lengths"].tolist() == [3, 1]
