"""Utterances held out of training: a share of each language, whole families of copies, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.training.selection_set import hold_out, short_enough


def utterances(names, labels):
    order = np.argsort(names)
    refs = table_from_pairs([(names[i], f"/{names[i]}.wav") for i in order])
    labels_u = np.array(labels, dtype=np.int32)[order]
    return Utterances(refs, labels_u, np.arange(len(names)) + 1000)


def keys(part):
    return list(part.refs.keys())


def test_each_language_gives_its_share():
    labels = [0] * 200 + [1] * 50 + [2] * 3 + [3]
    data = utterances([f"u{i:03d}" for i in range(len(labels))], labels)
    rest, held = hold_out(data, 0.1, seed=1)
    assert np.bincount(held.labels_u, minlength=4).tolist() == [20, 5, 1, 0]
    assert sorted(keys(rest) + keys(held)) == keys(data)
    length = dict(zip(keys(data), data.lengths_u, strict=True))
    assert [length[key] for key in keys(held)] == held.lengths_u.tolist()
    assert keys(hold_out(data, 0.1, seed=1)[1]) == keys(held)
    assert keys(hold_out(data, 0.1, seed=2)[1]) != keys(held)


def test_copies_at_other_speeds_are_in_neither_part():
    plain = [f"u{i:02d}" for i in range(20)]
    data = utterances([*plain, *(f"sp{s}-{name}" for s in ("0.9", "1.1") for name in plain)], [0] * 60)
    rest, held = hold_out(data, 0.25, seed=0)
    assert len(held) == 5
    assert set(keys(held)) <= set(plain)
    assert len(rest) == 45
    assert not {key.split("-")[-1] for key in keys(rest)} & set(keys(held))


def test_one_copy_stands_for_an_original_that_is_not_there():
    data = utterances([f"sp{s}-u{i}" for s in ("0.9", "1.1") for i in range(4)], [0] * 8)
    rest, held = hold_out(data, 0.5, seed=0)
    assert (len(held), len(rest)) == (2, 4)


def test_no_language_has_two():
    with pytest.raises(LidError, match="no language has two utterances"):
        hold_out(utterances(["a", "b"], [0, 1]), 0.5, seed=0)


def test_utterances_up_to_the_longest_duration_are_kept_and_one_warning_counts_the_others(caplog):
    data = utterances(["a", "b", "c", "d"], [0, 1, 0, 1])  # of 1000 to 1003 samples
    assert keys(short_enough(data, 10.01, rate=100)) == ["a", "b"]
    (warning,) = caplog.messages
    assert warning == (
        "2 of 4 validation utterances are longer than max_valid_duration (10.01 s) and are left out; "
        "the longest lasts 10.03 s"
    )
    caplog.clear()
    short_enough(data, 10.01, rate=100, warn=False)
    for longest_s in (10.03, 0):
        assert keys(short_enough(data, longest_s, rate=100)) == ["a", "b", "c", "d"]
    assert not caplog.messages


def test_no_utterance_short_enough_is_an_error():
    data = utterances(["a", "b"], [0, 1])
    message = r"validation set: all 2 utterances are longer than max_valid_duration \(9 s\) \(raise max_valid"
    with pytest.raises(LidError, match=message):
        short_enough(data, 9, rate=100)
