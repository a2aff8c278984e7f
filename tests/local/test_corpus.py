"""Utterances become data directories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lid_toolkit.errors import LidError
from local.corpus import Utterance, report, share, write_set

A = Utterance("b-2", "eng", "b", Path("/x y/2.wav"), 1.5)
B = Utterance("a-1", "fra", "a", Path("/x y/1.wav"), 2.0)
C = Utterance("b-1", "eng", "b", Path("/x y/3.wav"), 7200.0)


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_tables_are_those_of_kaldi(tmp_path):
    assert {path.name for path in write_set(tmp_path, [A, B, C])} == {
        *("wav.scp", "utt2lang", "utt2spk", "lang2utt"),
    }
    assert lines(tmp_path / "wav.scp") == ["a-1 /x y/1.wav", "b-1 /x y/3.wav", "b-2 /x y/2.wav"]
    assert lines(tmp_path / "utt2lang") == ["a-1 fra", "b-1 eng", "b-2 eng"]
    assert lines(tmp_path / "utt2spk") == ["a-1 a", "b-1 b", "b-2 b"]
    assert lines(tmp_path / "lang2utt") == ["eng b-1 b-2", "fra a-1"]


def test_segments_appear_for_all_and_vanish_when_none_is_left(tmp_path):
    part = replace(A, recording="long", start=0.25)
    write_set(tmp_path, [part, B])
    assert lines(tmp_path / "segments") == ["a-1 a-1 0.000000 2.000000", "b-2 long 0.250000 1.750000"]
    assert lines(tmp_path / "wav.scp") == ["a-1 /x y/1.wav", "long /x y/2.wav"]
    write_set(tmp_path, [A, B])
    assert not (tmp_path / "segments").exists()


def test_an_empty_set_and_a_repeated_id_are_refused(tmp_path):
    with pytest.raises(LidError, match="no utterance"):
        write_set(tmp_path, [])
    with pytest.raises(LidError, match="duplicate key 'b-2'"):
        write_set(tmp_path, [A, replace(B, key="b-2")])


def test_the_report_counts():
    rows = [line.split() for line in report({"s": [A, B, C]}).splitlines()[1:]]
    assert rows == [
        ["s", "eng", "2", "1", "2.00", "1.5", "7200.0", "7200.0"],
        ["s", "fra", "1", "1", "0.00", "2.0", "2.0", "2.0"],
        ["s", "all", "3", "2", "2.00", "1.5", "2.0", "7200.0"],
    ]


def test_shares_are_spread_evenly():
    shares = [share(f"utt{number}") for number in range(4000)]
    assert 0 <= min(shares) < max(shares) < 1
    assert sum(value < 0.1 for value in shares) == pytest.approx(400, abs=80)
