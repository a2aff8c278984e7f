"""Every fault of a data directory is named with its line, and all of them at once."""

import pytest
from datadir.directories import PLAIN, SEGMENTED, write_files
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.datadir.faults import counted
from lid_toolkit.errors import LidError


def faults_of(path):
    return [str(fault).removeprefix(f"{path}/") for group in scan_dir(path).faults for fault in group]


@pytest.mark.parametrize("files", [PLAIN, SEGMENTED])
def test_sound_directories_have_no_fault(tmp_path, files):
    assert faults_of(write_files(tmp_path, files)) == []


def test_untidy_directories_have_none_either(tmp_path, caplog):
    files = {
        "wav.scp": "c  c.wav\r\na\ta.wav \r\n\r\nb b.wav",
        "utt2lang": b"\xef\xbb\xbfb fra\nc eng\na eng\n",
    }
    assert faults_of(write_files(tmp_path, {**PLAIN, **files, "lang2utt": "fra  b\neng c a\n"})) == []
    assert caplog.text.count("corrected while reading") == 3


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        (PLAIN, {"utt2lang": None}, ["utt2lang: does not exist (write"]),
        (PLAIN, {"wav.scp": None}, ["wav.scp: does not exist (write"]),
        (
            PLAIN,
            {"utt2langs": "b fra:1 eng:2\na eng:0\nc eng spa\n"},
            [
                "utt2langs:2: 'a eng:0': a weight is not positive and finite (e.g.",
                "utt2langs:1: 'b': 'fra' in utt2lang is not the main language of 'fra:1 eng:2' (write",
            ],
        ),
        (PLAIN, {"utt2langs": "a eng\nb fra\n"}, ["wav.scp:3: utterance 'c' is not in utt2langs ("]),
        (PLAIN, {"lang2utt": None}, []),  # made from utt2lang where it is needed
        (
            PLAIN,
            {"utt2lang": "a eng\nb ENG\nc fra\n", "lang2utt": "ENG b\neng a\nfra c\n"},
            [
                "utt2lang:1: 'a': language 'eng' also occurs in another case (write",
                "utt2lang:2: 'b': language 'ENG'",
            ],
        ),
        (PLAIN, {"utt2lang": ""}, ["utt2lang: has no rows", "wav.scp:1: utterance 'a' is not in utt2lang"]),
        (
            PLAIN,
            {"wav.scp": "b b.wav\na a.wav\nb x.wav\nc c.wav\na a.wav\n"},
            [
                "wav.scp:3: duplicate key 'b' (first in line 1) (remove one of them)",
                "wav.scp:5: duplicate key 'a' (first in line 2) (remove one of them)",
            ],
        ),
        (
            PLAIN,
            {"utt2lang": "a eng\nc eng\nd deu\n", "lang2utt": "deu d\neng a c\n"},
            [
                "wav.scp:2: utterance 'b' is not in utt2lang (",
                "utt2lang:3: utterance 'd' is not in wav.scp (",
            ],
        ),
        (
            PLAIN,
            {"utt2lang": "a eng\nb\nc eng\n", "lang2utt": "eng a c\n"},
            [
                "utt2lang:2: key 'b' has no value (add one, or remove the line)",
                "wav.scp:2: utterance 'b' is not in utt2lang",
            ],
        ),
        (
            PLAIN,
            {"utt2lang": "a eng\nb fra deu\nc eng\n", "lang2utt": "eng a c\nfra b\n"},
            [
                "utt2lang:2: 'b': 'fra deu' is not a single label",
                "lang2utt: 'b' is missing under 'fra deu'",
                "lang2utt:2: ",
            ],
        ),
        (
            PLAIN,
            {"lang2utt": "deu a\neng b c\neng x\n"},
            [
                "lang2utt:3: duplicate key 'eng'",
                "lang2utt:2: lists 'b' under 'eng', but utt2lang does not (fix_data_dir.py",
                "lang2utt: 'b' is missing under 'fra'",
                "lang2utt:1: utt2lang has no utterance of 'deu'",
            ],
        ),
        (PLAIN, {"lang2utt": "eng a a c\nfra b\n"}, ["lang2utt:1: lists an utterance twice under 'eng'"]),
        (PLAIN, {"lang2utt": "eng c\nfra b\n"}, ["lang2utt:1: 'a' is missing under 'eng'"]),
        (
            SEGMENTED,
            {"segments": "a r1 1.5 0\nb r9 0 1\nc r2 0\n"},
            [
                "segments:3: 'c r2 0' is not 'utt recording start end [channel]' (e.g. ",
                "segments:2: 'b': wav.scp has no recording 'r9' (",
                "segments:1: 'a' starts at 1.5 s and ends at 0 s (times must be 0 <= start < end)",
            ],
        ),
        (SEGMENTED, {"utt2spk": "a s\nb s\n"}, ["segments:3: utterance 'c' is not in utt2spk"]),
        (
            PLAIN,
            {"utt2lang": b"a eng\nb \xff\nc eng\n"},
            ["utt2lang:2: not UTF-8", "wav.scp:2: ", "lang2utt:2: "],
        ),
        (
            PLAIN,
            {"utt2speed": "c 1e0\nb nan\na 0\n"},
            [
                "utt2speed:3: 'a': '0' is not a positive number (repeat the speed perturbation)",
                "utt2speed:2: 'b': 'nan' is not a positive number (",
            ],
        ),
        (
            PLAIN,
            {"utt2speed": "a -1\nb inf\nc fast\n"},
            [
                f"utt2speed:{line}: '{key}': '{value}' is not a positive number ("
                for line, key, value in ((1, "a", "-1"), (2, "b", "inf"), (3, "c", "fast"))
            ],
        ),
        (
            PLAIN,
            {"utt2num_samples": "c 1.1\nb 0\na -1\n"},
            [
                "utt2num_samples:3: 'a': '-1' is not a positive number of samples (repeat the formatting)",
                "utt2num_samples:2: 'b': '0' is not",
                "utt2num_samples:1: 'c': '1.1' is not",
            ],
        ),
        (
            PLAIN,
            {"utt2num_samples": f"a {10**18}\nb {10**18 - 1}\nc 1 2\n"},
            ["utt2num_samples:1: 'a': '1000000000000000000' is not", "utt2num_samples:3: 'c': '1 2' is not"],
        ),
        (PLAIN, {"utt2num_samples": "a 1\nb 1\n"}, ["wav.scp:3: utterance 'c' is not in utt2num_samples"]),
    ],
)
def test_faults_are_named(tmp_path, base, changes, expected):
    found = faults_of(write_files(tmp_path, {**base, **changes}))
    if "utt2lang" in changes and not changes["utt2lang"]:
        found = found[: len(expected)]
    assert len(found) == len(expected), found
    for message, beginning in zip(found, expected, strict=True):
        assert message.startswith(beginning)


def test_faults_are_counted_by_kind(tmp_path):
    path = write_files(tmp_path, {**PLAIN, "utt2lang": "a eng\nb\nc\n", "lang2utt": None})
    assert counted(scan_dir(path).faults) == "4 faults: 2 empty value, 2 key in one table only"
    with pytest.raises(LidError, match="does not exist"):
        scan_dir(tmp_path / "none")


TABLES = ["wav.scp", "utt2lang", "lang2utt", "segments", "utt2spk", "utt2speed"]
NAMES = st.sampled_from(TABLES)
LINES = st.lists(st.text("abr1 \t\r\0é.-e", max_size=12), max_size=5).map("\n".join).map(str.encode)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(NAMES, LINES | st.binary(max_size=20)))
def test_any_files_give_faults_or_can_be_read(tmp_path_factory, files):
    path = write_files(tmp_path_factory.mktemp("set"), files)
    messages = faults_of(path)
    assert all(message.split(":")[0] in TABLES for message in messages)
    message = str(path)
    try:
        read_data_dir(path)
    except LidError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert messages or message == str(path)
