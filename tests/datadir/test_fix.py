"""Mending keeps what all tables agree on, lists what it removes, and leaves nothing to fix."""

import pytest
from datadir.directories import PLAIN, SEGMENTED, write_files
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.datadir.fix import fix_data_dir
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError


def removed(backup):
    return dict(read_table(backup / "removed", allow_empty=True))


@pytest.mark.parametrize("files", [PLAIN, SEGMENTED])
def test_a_sound_directory_is_left_alone(tmp_path, files):
    path = write_files(tmp_path / "set", files)
    assert fix_data_dir(path) is None
    assert sorted(file.name for file in path.iterdir()) == [".lock", *sorted(files)]


def test_untidy_tables_are_rewritten_and_nothing_is_removed(tmp_path):
    path = write_files(
        tmp_path, {**PLAIN, "wav.scp": "c c.wav\r\nb\tb.wav\na a.wav\na a.wav", "lang2utt": "eng a\n"}
    )
    backup = fix_data_dir(path)
    assert {name: (path / name).read_text() for name in PLAIN} == PLAIN
    assert removed(backup) == {}
    assert (backup / "wav.scp").read_bytes() == b"c c.wav\r\nb\tb.wav\na a.wav\na a.wav"
    assert fix_data_dir(path) is None


def test_what_goes_is_listed_with_the_reason(tmp_path):
    files = {
        "wav.scp": "a a\nb b\nc c\nd d\ne e\nf f\ng\nh h\n",
        "utt2lang": "a eng\nb eng\nb fra\nc x y\ne eng\nf eng\ng eng\nz eng\n",
        "utt2spk": "a s\nb s\nc s\nd s\nf s\n",
        "text": "a hello\n",
    }
    path = write_files(tmp_path, files)
    backup = fix_data_dir(path, lambda _: {"f": "truncated\n  file"})
    assert dict(read_data_dir(path).utt2lang) == {"a": "eng"}
    assert removed(backup) == {
        "b": "two different rows in utt2lang",
        "c": "'x y' is not a single label",
        "d": "not in utt2lang",
        "e": "not in utt2spk",
        "f": "truncated file",
        "g": "not in wav.scp",
        "h": "not in utt2lang",
        "z": "not in wav.scp",
    }
    assert {file.name for file in backup.iterdir()} == {*files, "removed"}
    assert scan_dir(path).faults == ()


def test_impossible_segments_go_and_take_unused_recordings_along(tmp_path):
    files = {
        "segments": "a r1 0 1.5\nb r1 2 1\nc r2 0 1\n",
        "wav.scp": "r1 1.wav\nr2 2.wav\nr2 x.wav\nr3 3.wav\n",
    }
    path = write_files(tmp_path, {**SEGMENTED, **files})
    backup = fix_data_dir(path)
    data = read_data_dir(path)
    assert dict(data.segments) == {"a": "r1 0 1.5"}
    assert dict(data.wav_scp) == {"r1": "1.wav"}
    assert removed(backup) == {
        "b": "'b' starts at 2 s and ends at 1 s",
        "c": "its recording has two different rows in wav.scp",
    }


def test_languages_follow_from_the_inverse_where_that_is_all_there_is(tmp_path):
    path = write_files(tmp_path, {**PLAIN, "utt2lang": None})
    fix_data_dir(path)
    assert (path / "utt2lang").read_text() == PLAIN["utt2lang"]
    (path / "utt2lang").unlink()
    write_files(path, {"lang2utt": "eng a b\nfra b c\n"})
    with pytest.raises(LidError, match=r"lang2utt: duplicate key 'b'"):
        fix_data_dir(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wav.scp": None}, "wav.scp: does not exist"),
        ({"utt2lang": None, "lang2utt": None}, "utt2lang: does not exist"),
        ({"utt2lang": "x eng\n"}, "no utterance would be left"),
    ],
)
def test_what_needs_guessing_is_refused_and_nothing_is_touched(tmp_path, changes, message):
    path = write_files(tmp_path / "set", {**PLAIN, **changes})
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(LidError, match=message):
        fix_data_dir(path)
    (path / ".lock").unlink()
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_backups_of_one_second_do_not_collide(tmp_path):
    path = write_files(tmp_path, {**PLAIN, "lang2utt": None})
    first = fix_data_dir(path)
    (path / "lang2utt").unlink()
    assert fix_data_dir(path) != first


LINES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["eng", "fra x", "r 0 1", "r 1 0", "x"])), max_size=6
).map(lambda rows: "".join(f"{key} {value}\n" for key, value in rows))


@settings(deadline=None, max_examples=20)
@given(LINES, LINES, LINES | st.none(), LINES | st.none())
def test_a_mended_directory_has_no_fault(tmp_path_factory, wav_scp, utt2lang, utt2spk, lang2utt):
    files = {"wav.scp": wav_scp, "utt2lang": utt2lang, "utt2spk": utt2spk, "lang2utt": lang2utt}
    path = write_files(tmp_path_factory.mktemp("set"), files)
    message = ""
    try:
        fix_data_dir(path)
    except LidError as error:
        message = str(error)
    if message:
        assert "no utterance would be left" in message or "duplicate key" in message
    else:
        assert scan_dir(path).faults == ()
        assert fix_data_dir(path) is None


def test_utterances_whose_languages_contradict_each_other_are_removed(tmp_path):
    files = {**PLAIN, "utt2lang": None, "utt2langs": "a eng:2 fra:1\nb eng fra:1\nc fra:2 eng:1\n"}
    path = write_files(tmp_path, files)
    backup = fix_data_dir(path)
    assert dict(read_data_dir(path).carried["utt2langs"]) == {"a": "eng:2 fra:1"}
    assert removed(backup) == {
        "b": "'b eng fra:1': some languages have a weight, others have none",
        "c": "'c': 'eng' in utt2lang is not the main language of 'fra:2 eng:1'",
    }
    assert scan_dir(path).faults == ()
