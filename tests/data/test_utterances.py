"""Tables to arrays: what lacks, what is unknown."""

from __future__ import annotations

import pytest
from data.corpus import LANGUAGES, write_set

from lid_toolkit.data.utterances import load_utterances, read_languages
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError


@pytest.fixture
def directory(tmp_path):
    return write_set(tmp_path / "set", 9)


def test_rows_agree_and_labels_follow_the_index(directory):
    languages = ("middle", "low", "high")
    utterances = load_utterances(directory, directory / "utt2num_samples", languages)
    truth = read_table(directory / "utt2lang")
    for row in range(len(utterances)):
        assert languages[utterances.labels_u[row]] == truth[utterances.refs.key(row)]
        assert read_table(directory / "wav.scp")[utterances.refs.key(row)] == utterances.refs.value(row)


def test_the_shape_file_chooses_the_utterances(directory, tmp_path):
    shapes = list(read_table(directory / "utt2num_samples"))[2:5]
    write_table(tmp_path / "shapes", shapes)
    utterances = load_utterances(directory, tmp_path / "shapes", LANGUAGES)
    assert list(utterances.refs.keys()) == [key for key, _ in shapes]
    assert utterances.labels_u.tolist() == [2, 0, 1]


@pytest.mark.parametrize("name", ["wav.scp", "utt2lang"])
@pytest.mark.parametrize("missing", [0, 4, 8])
def test_a_lacking_utterance_is_named(directory, name, missing):
    rows = list(read_table(directory / name))
    write_table(directory / name, [row for place, row in enumerate(rows) if place != missing])
    with pytest.raises(LidError, match=f"{name}: utterance 'set-00{missing}' is missing"):
        load_utterances(directory, directory / "utt2num_samples", LANGUAGES)


def test_an_unknown_language_is_named(directory):
    with pytest.raises(LidError, match="languages that are not in the training data: high middle"):
        load_utterances(directory, directory / "utt2num_samples", ("low",))


def test_the_index_decides_the_order_of_languages(tmp_path):
    write_table(tmp_path / "lang2idx", [("a", "2"), ("b", "0"), ("c", "1")])
    assert read_languages(tmp_path / "lang2idx") == ("b", "c", "a")
    write_table(tmp_path / "lang2idx", [("a", "2"), ("b", "0"), ("c", "0")])
    with pytest.raises(LidError, match="indices are not"):
        read_languages(tmp_path / "lang2idx")
