"""Sets that share no speaker or recording: what is written, what is refused, and what is said."""

import logging
import random
from pathlib import Path

import pytest
from datadir.directories import PLAIN, SEGMENTED, write_files

from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.splitting import (
    named_targets,
    parse_shares,
    split_by_shares,
    split_in_folds,
    table_of,
)
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.errors import LidError

PATH = Path("sets")
SHARES = (0.8, 0.1, 0.1)


@pytest.fixture
def large(tmp_path):
    """Two languages; eng has 10 speakers of 4 recordings with 2 segments each, fra 20 speakers of one."""
    rows = [
        (f"{label}-{speaker:02d}-{recording}-{part}", label, f"{label}-{speaker:02d}", recording, part)
        for label, speakers, recordings in (("eng", 10, 4), ("fra", 20, 1))
        for speaker in range(speakers)
        for recording in range(recordings)
        for part in range(2)
    ]
    write_data_dir(
        tmp_path / "large",
        [(key[:-2], f"/speech/{key[:-2]}.wav") for key, *_, part in rows if part == 0],
        table_from_pairs((key, label) for key, label, *_ in rows),
        {
            "segments": table_from_pairs((key, f"{key[:-2]} {part} {part + 1}") for key, *_, part in rows),
            "utt2spk": table_from_pairs((key, speaker) for key, _, speaker, *_ in rows),
        },
    )
    return tmp_path / "large"


def sets_of(*paths):
    return [dict(read_data_dir(path).utt2lang) for path in paths]


@pytest.mark.parametrize(("by", "width"), [("speaker", 6), ("recording", 8), ("utterance", 10)])
def test_sets_share_nothing_and_have_their_shares(large, tmp_path, by, width):
    targets = [tmp_path / name for name in "abc"]
    division = split_by_shares(large, by, SHARES, targets)
    sets = sets_of(*targets)
    assert {**sets[0], **sets[1], **sets[2]} == dict(read_data_dir(large).utt2lang)
    groups = [{key[:width] for key in found} for found in sets]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    found = [[sum(label == wanted for label in one.values()) for one in sets] for wanted in ("eng", "fra")]
    assert found == [[64, 8, 8], [32, 4, 4]] == division.dealt.utterances_ls.tolist()
    assert set(read_data_dir(targets[1]).tables) == {"wav.scp", "utt2lang", "segments", "utt2spk"}
    lines = [line.split() for line in table_of(division).splitlines()]
    groups_of_eng = len({key[:width] for one in sets for key in one if key.startswith("eng")})
    assert lines[1] == ["eng", str(groups_of_eng), "80", "64", "(80.0%)", "8", "(10.0%)", "8", "(10.0%)"]
    assert lines[3] == ["all", "120", "96", "(80.0%)", "12", "(10.0%)", "12", "(10.0%)"]


def test_the_order_of_lines_does_not_matter_and_the_seed_does(large, tmp_path):
    targets = [tmp_path / name for name in "abc"]
    split_by_shares(large, "speaker", SHARES, targets)
    before = sets_of(*targets)
    for name in ("wav.scp", "utt2lang", "utt2spk", "segments"):
        lines = (large / name).read_text().splitlines(keepends=True)
        random.Random(0).shuffle(lines)
        (large / name).write_text("".join(lines))
    split_by_shares(large, "speaker", SHARES, targets)
    assert sets_of(*targets) == before
    split_by_shares(large, "speaker", SHARES, targets, seed=2)
    assert sets_of(*targets) != before


def test_folds_test_each_utterance_once(large, tmp_path):
    split_in_folds(large, "speaker", 5, tmp_path / "folds")
    whole = dict(read_data_dir(large).utt2lang)
    tested = {}
    for fold in range(1, 6):
        train, test = sets_of(tmp_path / f"folds/{fold}/train", tmp_path / f"folds/{fold}/test")
        assert {**train, **test} == whole
        assert len(test) == 24
        assert not {key[:6] for key in train} & {key[:6] for key in test}
        tested |= test
    assert tested == whole


def test_too_few_groups_for_the_folds_are_named(large, tmp_path):
    with pytest.raises(LidError, match=r"'eng' has 10 speakers, too few for 11 folds \(make fewer folds"):
        split_in_folds(large, "speaker", 11, tmp_path / "folds")
    with pytest.raises(LidError, match=r"'eng' has 10 speakers, .*; 1 more languages have too few"):
        split_in_folds(large, "speaker", 21, tmp_path / "folds")
    assert not (tmp_path / "folds").exists()


def test_one_recording_under_two_ids_stays_together(tmp_path):
    files = {**PLAIN, "wav.scp": "a /x.wav\nb y.wav\nc /./x.wav\n", "utt2lang": "a eng\nb eng\nc eng\n"}
    source = write_files(tmp_path / "set", files)
    targets = [tmp_path / "one", tmp_path / "two"]
    split_by_shares(source, "recording", (0.6, 0.4), targets)
    assert sets_of(*targets) == [{"a": "eng", "c": "eng"}, {"b": "eng"}]


def test_what_the_sets_still_share_and_lack_is_said(tmp_path, caplog):
    files = {**SEGMENTED, "utt2lang": "a eng\nb eng\nc fra\n", "utt2spk": "a s\nb t\nc t\n"}
    source = write_files(tmp_path / "set", files)
    targets = [tmp_path / "one", tmp_path / "two"]
    with caplog.at_level(logging.WARNING):
        split_by_shares(source, "speaker", (0.5, 0.5), targets)
    assert "languages with too few speakers for all sets: fra (not in " in caplog.text
    assert "1 recordings have utterances in several sets" in caplog.text
    caplog.clear()
    (source / "utt2spk").write_text("a s\nb t\nc u\n")
    split_by_shares(source, "utterance", (0.6, 0.4), targets)
    assert "recordings have utterances in several sets" in caplog.text
    caplog.clear()
    split_by_shares(source, "speaker", (0.6, 0.4), targets)
    assert "each utterance has a speaker of its own" in caplog.text


def test_what_cannot_be_split_is_refused(tmp_path):
    source, one, two = write_files(tmp_path / "set", PLAIN), tmp_path / "one", tmp_path / "two"
    for arguments, fault in (
        ((source, "speaker", (0.5, 0.5), [one, two]), "utt2spk: does not exist, but splitting by speaker"),
        ((source, "utterance", (0.5, 0.5), [one, source]), "is both the source and a target"),
        (
            (source, "utterance", [0.25] * 4, [one, two, tmp_path / "c", tmp_path / "d"]),
            "no utterance is left",
        ),
    ):
        with pytest.raises(LidError, match=fault):
            split_by_shares(*arguments)
    (source / "utt2speed").write_text("a 1\nb 1\nc 1\n")
    with pytest.raises(LidError, match="is speed-perturbed"):
        split_by_shares(source, "utterance", (0.5, 0.5), [one, two])
    assert {path.name for path in tmp_path.iterdir()} == {"set"}


def test_shares_and_names():
    assert parse_shares(" 0.8 .1 0.1 ") == (0.8, 0.1, 0.1)
    assert [path.name for path in named_targets(PATH, "", 2)] == ["1", "2"]
    assert named_targets(PATH, "train dev", 2) == [PATH / "train", PATH / "dev"]
    for text, fault in (
        ("0.8 0.1", "their sum must be 1, but is 0.9"),
        ("1", "at least two"),
        ("", "at least two"),
        ("0.5 -0.5 1", "'-0.5' is not a number above 0"),
        ("0.5 nan", "'nan' is not"),
        ("0.5 half", "'half' is not"),
    ):
        with pytest.raises(LidError, match=fault):
            parse_shares(text)
    for names, fault in (
        ("a", "1 name for 2 sets"),
        ("a a", "twice"),
        ("a b/c", "not the name"),
        (".. a", "not the"),
    ):
        with pytest.raises(LidError, match=fault):
            named_targets(PATH, names, 2)
