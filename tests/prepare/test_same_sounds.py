"""The same sound under two labels or in two sets is named; other sounds and broken files are not."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from commands import call
from local_sounds import spoken

from lid_toolkit.audio.fingerprint import RATE
from lid_toolkit.audio.reader import DEFAULT
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.datadir import write_data_dir
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.prepare.same_sounds import same_sound_faults

TEXTS = ("The number you have dialed is not in service.", "Press one to hear your messages now.", "Good bye.")


def data_dir(path, rows, segments=None):
    """Write utterances ``(key, language, wave)``."""
    path.mkdir()
    for key, _, wave in rows:
        soundfile.write(path / f"{key}.flac", wave, RATE)
    optional = {} if segments is None else {"segments": table_from_pairs(segments.items())}
    keys = [(key, label) for key, label, _ in rows]
    labels = (
        keys if segments is None else [(key, dict(keys)[value.split()[0]]) for key, value in segments.items()]
    )
    wav_scp = [(key, str(path / f"{key}.flac")) for key, *_ in rows]
    write_data_dir(path, wav_scp, table_from_pairs(labels), optional)
    return scan_dir(path)


@pytest.fixture
def sets(tmp_path):
    one, two, three = (spoken(text) for text in TEXTS)
    first = data_dir(tmp_path / "a", [("e1", "eng", one), ("e2", "eng", two), ("f1", "fra", 0.2 * one)])
    second = data_dir(
        tmp_path / "b", [("s1", "spa", np.pad(two, 900)), ("e3", "en", two), ("e4", "eng", three)]
    )
    return first, second


def messages(scans, scope, jobs=1):
    return [str(fault) for group in same_sound_faults(scans, scope, DEFAULT, jobs) for fault in group]


@pytest.mark.parametrize("jobs", [1, 2])
def test_sounds_under_two_labels_are_named_on_both_sides(sets, tmp_path, jobs):
    mend = "(listen to both: a label is wrong, or remove one)"
    found = messages(sets, "languages", jobs)
    assert found[0] == (
        f"{tmp_path}/a/utt2lang:1: 'e1', which is 'eng', is the same sound as 'f1', which is 'fra' in "
        f"{tmp_path}/a/utt2lang {mend}"
    )
    assert [message.split("'")[1] + message.split("'")[5] for message in found] == [
        "e1f1",
        "e2s1",
        "f1e1",
        "e3s1",
        "s1e2",
    ]


def test_sounds_in_two_sets_are_named_whatever_their_labels(sets):
    found = messages(sets, "sets")
    assert [message.split("'")[1] for message in found] == ["e1", "e2", "f1", "e3", "s1"]


def test_parts_of_recordings_are_compared(tmp_path):
    one, two, _ = (spoken(text) for text in TEXTS)
    cut = len(one) / RATE
    first = data_dir(
        tmp_path / "a",
        [("long", "eng", np.append(one, two))],
        {"u1": f"long 0 {cut}", "u2": f"long {cut} -1"},
    )
    second = data_dir(tmp_path / "b", [("x", "deu", two)])
    assert [message.split("'")[1] for message in messages([first, second], "languages")] == ["u2", "x"]


def test_the_command_listens_and_says_when_it_does_not(sets, tmp_path):
    done = call("validate_data_dir", *(one.path for one in sets), "--duplicates", "languages")
    assert done.returncode == 2
    assert "5 faults: 5 same sound" in done.stderr
    (tmp_path / "a/e1.flac").write_bytes(b"x")
    done = call("validate_data_dir", tmp_path / "a", "--duplicates", "languages", "--check_audio", "none")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{tmp_path}/a: no faults in 3 utterances")
    (tmp_path / "a/utt2lang").write_text("e1 eng\ne2\nf1 fra\n")
    done = call("validate_data_dir", tmp_path / "a", "--duplicates", "languages", "--check_audio", "none")
    assert "note: the same sounds were not looked for: mend the tables first" in done.stdout
