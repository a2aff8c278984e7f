"""Recordings that are missing, empty, undecodable, or too short for their segments are named."""

import numpy as np
import pytest
import soundfile
from datadir.directories import write_files

from lid_toolkit.audio.reader import Reading
from lid_toolkit.datadir import check, datadir
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.fix import fix_data_dir
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.prepare.check_recordings import (
    broken_utterances,
    long_ids,
    read_recordings,
    recording_faults,
)


@pytest.fixture
def mixed(tmp_path):
    """A directory of one sound recording and several that are not."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / "good.wav", samples, 8000, subtype="PCM_16")
    whole = (tmp_path / "good.wav").read_bytes()
    (tmp_path / "short.wav").write_bytes(whole[:5000])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no audio at all, whatever the name says")
    samples[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 8000, subtype="FLOAT")
    names = ["empty", "good", "missing", "nan", "short", "text"]
    files = {
        "wav.scp": "".join(f"{name} {tmp_path}/{name}.wav\n" for name in names) + "zpipe cat x |\n",
        "utt2lang": "".join(f"{name} eng\n" for name in [*names, "zpipe"]),
        "lang2utt": f"eng {' '.join(names)} zpipe\n",
    }
    return write_files(tmp_path / "set", files)


def faults_of(path, check, **options):
    scanned = scan_dir(path)
    assert not scanned.faults
    recordings = read_recordings(scanned.scans["wav.scp"].table, check, **options)
    return [
        (group.kind, int(line)) for group in recording_faults(scanned, recordings) for line in group.lines
    ]


HEADER = [
    ("missing recording", 3),
    ("empty recording", 1),
    ("undecodable recording", 5),
    ("undecodable recording", 6),
    ("command", 7),
]


def test_broken_recordings_are_named_by_kind_and_line(mixed):
    assert sorted(faults_of(mixed, "header")) == sorted(HEADER)
    decoded = sorted([*HEADER, ("undecodable recording", 4)])
    assert sorted(faults_of(mixed, "decode")) == decoded
    assert sorted(faults_of(mixed, "decode", num_jobs=2)) == decoded
    allowed = faults_of(mixed, "header", reading=Reading(allow_pipes=True))
    assert ("undecodable recording", 7) in allowed


def test_messages_name_recording_file_and_reason(mixed):
    scanned = scan_dir(mixed)
    recordings = read_recordings(scanned.scans["wav.scp"].table)
    messages = [str(fault) for group in recording_faults(scanned, recordings) for fault in group]
    assert messages[0] == (
        f"{mixed}/wav.scp:3: 'missing': {mixed.parent}/missing.wav: does not exist (fix its path in wav.scp)"
    )
    assert messages[-1].endswith("'zpipe': cat x |: is a command (set allow_pipes to true if you trust it)")
    assert recordings.seconds[1] == 1.0


def test_segments_outside_their_recording(tmp_path):
    soundfile.write(tmp_path / "r.wav", np.zeros(16000), 16000)
    segments = ["a r 0 1", "b r 0.5 1.5", "c r 0.5 1.6", "d r 1 1.2", "e r 0.2 -1", "f gone 0 1"]
    files = {
        "wav.scp": f"gone {tmp_path}/gone.wav\nr {tmp_path}/r.wav\n",
        "segments": "".join(f"{line}\n" for line in segments),
        "utt2lang": "".join(f"{line[0]} eng\n" for line in segments),
        "lang2utt": "eng a b c d e f\n",
    }
    path = write_files(tmp_path / "set", files)
    assert faults_of(path, "header") == [
        ("missing recording", 1),
        ("segment outside its recording", 3),
        ("segment outside its recording", 4),
    ]
    reasons = broken_utterances(scan_dir(path), "header", Reading(), 1)
    assert reasons == {
        "c": "outside its recording",
        "d": "outside its recording",
        "f": "recording 'gone': does not exist",
    }


def test_mending_removes_broken_recordings(mixed):
    backup = fix_data_dir(mixed, lambda scanned: broken_utterances(scanned, "decode", Reading(), 1))
    assert list(read_table(mixed / "wav.scp").keys()) == ["good"]
    assert set(read_table(backup / "removed").keys()) == {"empty", "missing", "nan", "short", "text", "zpipe"}


@pytest.fixture
def calls(tmp_path):
    """Recordings of two speakers, whose channels cancel or of which one is dead, and segments of channels."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    for name, other in (("cancels", -wave), ("dead", 0 * wave)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([wave, other], axis=1), 16000)
    segments = (
        "a cancels 0 1 0",
        "b cancels 0 1 1",
        "c cancels 0 1",
        "d dead 0 1 0",
        "e dead 0 1 1",
        "f dead 0 1 2",
    )
    files = {
        "wav.scp": "".join(f"{name} {tmp_path}/{name}.wav\n" for name in ("cancels", "dead")),
        "segments": "\n".join(segments) + "\n",
        "utt2lang": "".join(f"{name[0]} eng\n" for name in segments),
        "lang2utt": "eng a b c d e f\n",
    }
    return write_files(tmp_path / "set", files)


def test_each_channel_that_segments_name_is_judged_by_itself(calls):
    scanned = scan_dir(calls)
    recordings = read_recordings(scanned.scans["wav.scp"].table, "decode", segments=scanned.parsed[0])
    assert {track: kind for track, (kind, _, _) in recordings.broken.items()} == {
        (0, -1): "no signal",  # the mean
        (1, 1): "no signal",
        (1, 2): "undecodable recording",  # there is no third channel
    }
    messages = [str(fault) for group in recording_faults(scanned, recordings) for fault in group]
    assert any("'dead', channel 1: " in message and "no signal" in message for message in messages)
    assert set(broken_utterances(scanned, "decode", Reading(), 1)) == {"c", "e", "f"}
    assert set(broken_utterances(scanned, "header", Reading(), 1)) == {"f"}
    assert set(broken_utterances(scanned, "decode", Reading(channel=1), 1)) == {"e", "f"}


def test_segments_are_parsed_once(calls, monkeypatch):
    parsed = []
    original = datadir.scan_segments
    for module in (check, datadir):
        monkeypatch.setattr(module, "scan_segments", lambda *tables: parsed.append(1) or original(*tables))
    scanned = scan_dir(calls)
    broken_utterances(scanned, "header", Reading(), 1)
    recording_faults(scanned, read_recordings(scanned.scans["wav.scp"].table, segments=scanned.parsed[0]))
    assert parsed == [1]


def test_the_selected_channel_is_judged(calls):
    (calls / "segments").unlink()
    for name in ("utt2lang", "lang2utt"):
        (calls / name).unlink()
    write_table(calls / "utt2lang", [("cancels", "eng"), ("dead", "eng")])
    scanned = scan_dir(calls)
    assert set(broken_utterances(scanned, "decode", Reading(), 1)) == {"cancels"}
    assert set(broken_utterances(scanned, "decode", Reading(channel=0), 1)) == set()
    assert set(broken_utterances(scanned, "decode", Reading(channel=1), 1)) == {"dead"}


def test_what_decoding_finds_and_what_would_mend_it(tmp_path):
    """Copying a file again does not help where converting does."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(tmp_path / "cancels.wav", np.stack([wave, -wave], axis=1), 16000)
    soundfile.write(tmp_path / "zeros.wav", 0 * wave, 16000)
    soundfile.write(tmp_path / "cut.flac", wave, 16000)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "cut.flac").read_bytes()[:9000])
    (tmp_path / "film.rm").write_bytes(b".RMF" + bytes(range(256)) * 20)
    (tmp_path / "text.wav").write_text("no audio at all " * 99)
    names = ("cancels.wav", "cut.flac", "film.rm", "text.wav", "zeros.wav")
    write_table(tmp_path / "wav.scp", [(name, f"{tmp_path}/{name}") for name in names])
    write_table(tmp_path / "utt2lang", [(name, "eng") for name in names])
    scanned = scan_dir(tmp_path)
    recordings = read_recordings(scanned.scans["wav.scp"].table, "decode")
    found = {
        f.lines[n]: (f.kind, str(f.error(n)))
        for f in recording_faults(scanned, recordings)
        for n in range(len(f))
    }
    kinds = [found[line][0] for line in range(1, 6)]
    assert kinds == ["no signal", *["undecodable recording"] * 3, "no signal"]
    for line, advice in enumerate(
        ("choose one channel)", "copy it again", "RealMedia: convert it", "(convert it"), 1
    ):
        assert advice in found[line][1]
        assert ("copy it again" in found[line][1]) == (line == 2)


def test_ids_that_are_too_long_for_a_file(tmp_path):
    keys = ("a" * 249, "b" * 251, "c%" * 70, "ü" * 126)
    write_table(tmp_path / "wav.scp", [(key, "x.wav") for key in keys])
    write_table(tmp_path / "utt2lang", [(key, "eng") for key in keys])
    (group,) = long_ids(scan_dir(tmp_path))
    assert group.lines.tolist() == [2, 3, 4]
    assert "is too long for a file name: 251 bytes (shorten it" in str(group.error(0))
