"""Target weights of batches, and the sets they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data.corpus import LANGUAGES, write_set

from lid_toolkit.data.loader import MinibatchReader
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.data.targets import read_targets
from lid_toolkit.data.utterances import load_utterances
from lid_toolkit.datadir.tables.table import parse_table, read_table, write_table
from lid_toolkit.errors import LidError

TABLE = parse_table(b"a high:3 low:1\nb low\nc low middle\nd high:3 low:1\n", "utt2langs")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("soft", [[0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5], [0.75, 0.25, 0]]),
        ("multi_hot", [[1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0]]),
    ],
)
def test_weights_by_hand(kind, expected):
    targets = read_targets(TABLE, LANGUAGES, kind, Path("utt2langs"))
    assert targets.dense([0, 1, 2, 3]).tolist() == expected
    assert targets.select(np.array([1, 3])).dense([1, 0, 1]).tolist() == [expected[row] for row in (3, 1, 3)]
    assert len(targets.weights_e) == 5  # as many as the distinct values have


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a low:1 deu:1", "utt2langs: not the main language of any training utterance: deu"),
        ("a low:0", "utt2langs: 'low:0': a weight is not positive and finite"),
    ],
)
def test_faulty_rows(row, message):
    with pytest.raises(LidError, match=message):
        read_targets(parse_table(f"{row}\n".encode(), "x"), LANGUAGES, "soft", Path("utt2langs"))


@pytest.fixture
def mixed(tmp_path):
    """A set whose second utterance is not loaded; the others have two languages."""
    directory = write_set(tmp_path / "set", 7)
    labels = read_table(directory / "utt2lang")
    write_table(
        directory / "utt2langs", [(key, f"{label}:3 {LANGUAGES[0]}:1 middle:1") for key, label in labels]
    )
    rows = [row for number, row in enumerate(read_table(directory / "utt2num_samples")) if number != 1]
    write_table(tmp_path / "shapes", rows)
    return directory, tmp_path / "shapes"


def read(mixed, targets):
    utterances = load_utterances(*mixed, LANGUAGES, targets=targets)
    batches = sorted_batches(utterances.lengths_u, 30000)
    reader = MinibatchReader(utterances, batches, PreprocessorConf(), 16000)
    return utterances, [reader[number] for number in range(len(batches))]


def test_batches_have_the_weights_of_their_utterances(mixed):
    utterances, minibatches = read(mixed, "soft")
    assert len(minibatches) > 1
    weights = np.zeros((6, 3))
    for row, label in enumerate(utterances.labels_u):
        for language, weight in ((label, 0.6), (0, 0.2), (2, 0.2)):
            weights[row, language] += weight
    for minibatch in minibatches:
        assert minibatch.targets.dtype == torch.float32
        np.testing.assert_allclose(minibatch.targets, weights[minibatch.rows_b], rtol=1e-6)
        given = minibatch.model_inputs(torch.device("cpu"))
        expected = (minibatch.wave_bt, minibatch.lengths_b, minibatch.labels_b, minibatch.targets)
        assert all(one is other for one, other in zip(given, expected, strict=True))


def test_without_them_batches_are_as_before(mixed):
    _, with_targets = read(mixed, "multi_hot")
    (mixed[0] / "utt2langs").rename(mixed[0] / "other")
    _, lacking = read(mixed, "multi_hot")
    (mixed[0] / "other").rename(mixed[0] / "utt2langs")
    _, not_wanted = read(mixed, None)
    for one, *others in zip(with_targets, lacking, not_wanted, strict=True):
        for other in others:
            assert other.targets is None
            assert other.model_inputs(torch.device("cpu"))[-1] is None
            assert all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
