"""The languages of mixed utterances: weights, faults, and what each operation does with the table."""

import pytest
from datadir.directories import PLAIN, write_files
from hypothesis import given
from hypothesis import strategies as st

from lid_toolkit import languages
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.datadir.mixtures import labels_in, parse_mixture, relabelled
from lid_toolkit.datadir.operations import Choice, combine, copy, split, subset
from lid_toolkit.datadir.overlap import unknown_labels
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.speed import perturb_data_dir

MIXED = {**PLAIN, "utt2langs": "a eng:3 zho:1\nb fra\nc zho eng\n"}


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("eng", {"eng": 1}),
        ("eng:7", {"eng": 1}),
        ("eng zho", {"eng": 0.5, "zho": 0.5}),
        ("eng:0.75 zho:0.25", {"eng": 0.75, "zho": 0.25}),
        ("eng:3 zho:1", {"eng": 0.75, "zho": 0.25}),
        ("eng:1 zho:1 eng:2", {"eng": 0.75, "zho": 0.25}),
        ("x:y:3 z:1", {"x:y": 0.75, "z": 0.25}),
        ("x:y z", {"x:y": 0.5, "z": 0.5}),
    ],
)
def test_weights_by_hand(text, weights):
    assert parse_mixture(text) == weights
    assert labels_in(text) == tuple(weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eng zho:0.5", "some languages have a weight"),
        ("eng:0 zho:1", "not positive and finite"),
        ("eng:-1 zho:2", "not positive and finite"),
        ("eng:nan", "not positive and finite"),
        ("eng:inf zho:1", "not positive and finite"),
        ("eng:1e308 zho:1e308", "not positive and finite"),
    ],
)
def test_what_is_no_weight(text, message):
    with pytest.raises(ValueError, match=message):
        parse_mixture(text)


@given(st.dictionaries(st.text("abc", min_size=1), st.floats(1e-3, 1e3), min_size=1))
def test_weights_sum_to_one_and_keep_their_ratios(given_weights):
    weights = parse_mixture(" ".join(f"{label}:{weight!r}" for label, weight in given_weights.items()))
    assert sum(weights.values()) == pytest.approx(1)
    assert weights == pytest.approx({k: v / sum(given_weights.values()) for k, v in given_weights.items()})


def test_new_labels_keep_their_weights():
    assert relabelled("en:0.7 zh_CN:0.3 en:1", languages.code) == "eng:0.7 cmn:0.3 eng:1"


@pytest.mark.parametrize(
    ("row", "message"),
    [("c eng:x zho", "'eng' in utt2lang is not the main"), ("c eng zho:1", "some languages have a weight")],
)
def test_a_faulty_row_is_an_error_with_the_utterance(tmp_path, row, message):
    path = write_files(tmp_path, {**MIXED, "utt2langs": f"a eng\nb fra\n{row}\n"})
    with pytest.raises(LidError, match=rf"utt2langs: '{row[0]}.*{message}"):
        read_data_dir(path)


def test_every_operation_carries_the_languages(tmp_path):
    path = write_files(tmp_path / "set", MIXED)
    plain = write_files(tmp_path / "plain", {"wav.scp": "d d.wav\ne e.wav\n", "utt2lang": "d fra\ne spa\n"})
    mixed = dict(read_table(path / "utt2langs"))

    def carried(name):
        return dict(read_data_dir(tmp_path / name).carried["utt2langs"])

    combine([path, plain], tmp_path / "all")
    assert carried("all") == {**mixed, "d": "fra", "e": "spa"}
    subset(tmp_path / "all", tmp_path / "some", Choice(["c", "e"]))
    assert carried("some") == {"c": "zho eng", "e": "spa"}
    split(path, 3, tmp_path / "parts")
    assert carried("parts/1") == {"a": "eng:3 zho:1"}
    copy(path, tmp_path / "copy", utt_prefix="x-", label={"eng": "en", "fra": "fr", "zho": "zh"}.__getitem__)
    assert carried("copy") == {"x-a": "en:3 zh:1", "x-b": "fr", "x-c": "zh en"}
    perturb_data_dir(path, tmp_path / "sp", ("0.9", "1"))
    assert carried("sp") == {**mixed, **{f"sp0.9-{key}": value for key, value in mixed.items()}}


def test_labels_that_become_one_language_must_not_change_the_main_one(tmp_path):
    files = {**MIXED, "utt2langs": "a eng:4 zho:3 cmn:3\nb fra\nc eng\n"}
    path = write_files(tmp_path / "set", files)
    with pytest.raises(LidError, match="'eng' in utt2lang is not the main language of 'eng:4 cmn:3 cmn:3'"):
        copy(
            path,
            tmp_path / "copy",
            label={"zho": "cmn", "cmn": "cmn", "eng": "eng", "fra": "fra"}.__getitem__,
        )
    assert not (tmp_path / "copy").exists()


def test_languages_that_training_does_not_have_are_found(tmp_path):
    test = scan_dir(write_files(tmp_path / "test", MIXED))
    train = scan_dir(write_files(tmp_path / "train", PLAIN))
    faults = [
        str(fault) for group in unknown_labels(test, train) for fault in group if "utt2langs" in str(fault)
    ]
    assert [fault.split("(")[0].removeprefix(f"{test.path}/") for fault in faults] == [
        f"utt2langs:1: 'a': a language of 'eng:3 zho:1' is not in {train.path}/utt2lang ",
        f"utt2langs:3: 'c': a language of 'zho eng' is not in {train.path}/utt2lang ",
    ]
