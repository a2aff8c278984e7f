"""Clusters of utterances from utt2spk, segments and patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from lid_toolkit.datadir.tables.table import table_from_pairs, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.clusters import read_clusters

TRUTH = table_from_pairs([("a__U__1", "deu"), ("a__U__2", "deu"), ("b__U__1", "fra")])


def clusters(data_dir: Path, pattern: str | None = None) -> tuple[str, list[int]] | None:
    found = read_clusters(data_dir, TRUTH, pattern)
    return None if found is None else (found.source, found.of_u.tolist())


def test_speakers_come_before_recordings(tmp_path: Path):
    assert clusters(tmp_path) is None
    write_table(tmp_path / "segments", [(key, f"{key[0]} 0 1") for key, _ in TRUTH])
    assert clusters(tmp_path) == ("segments", [0, 0, 1])
    write_table(tmp_path / "utt2spk", [("a__U__1", "x"), ("a__U__2", "y"), ("b__U__1", "x"), ("more", "z")])
    assert clusters(tmp_path) == ("utt2spk", [0, 1, 0])


def test_each_utterance_its_own_speaker_is_no_cluster(tmp_path: Path):
    write_table(tmp_path / "utt2spk", [(key, key) for key, _ in TRUTH])
    assert clusters(tmp_path) is None


@pytest.mark.parametrize("pattern", ["^(.*)__U__", "^[a-z]"])
def test_a_pattern_comes_first(tmp_path: Path, pattern: str):
    write_table(tmp_path / "utt2spk", [(key, "x") for key, _ in TRUTH])
    assert clusters(tmp_path, pattern) == ("cluster_from", [0, 0, 1])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "cluster_from: '(' is not a regular expression"),
        ("^a", "cluster_from: '^a' is not found in utterance 'b__U__1'"),
    ],
)
def test_patterns_that_do_not_fit(tmp_path: Path, pattern: str, message: str):
    with pytest.raises(LidError) as caught:
        clusters(tmp_path, pattern)
    assert str(caught.value).startswith(message)


def test_an_utterance_without_speaker(tmp_path: Path):
    write_table(tmp_path / "utt2spk", [("a__U__1", "x")])
    with pytest.raises(LidError, match="utt2spk: utterance 'a__U__2' is missing"):
        clusters(tmp_path)
