"""Named pipes and devices: read where a person gives one, else refused without being opened."""

import os
import threading

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio import references
from lid_toolkit.audio.reader import AudioError, Reading, audio_info, read_audio
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.prepare.check_recordings import read_recordings, recording_faults

RATE = 16000
STREAMS = Reading(allow_streams=True)


@pytest.fixture
def wave():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 100_000).astype(np.float32)


def test_a_pipe_is_read_to_its_end(tmp_path, wave):
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    for number, data in enumerate(
        [(tmp_path / "a.wav").read_bytes(), (tmp_path / "a.wav").read_bytes()[:1044]]
    ):
        begin, end = os.pipe()
        writer = threading.Thread(
            target=lambda end=end, data=data: (os.write(end, data[:1000]), write_rest(end, data))
        )
        writer.start()
        try:
            if number:
                with pytest.raises(AudioError, match="truncated"):
                    read_audio(f"/dev/fd/{begin}", reading=STREAMS)
            else:
                found, rate = read_audio(f"/dev/fd/{begin}", reading=STREAMS)
                assert rate == RATE
                np.testing.assert_allclose(found, wave, atol=1e-4)
        finally:
            writer.join(timeout=10)
            os.close(begin)


def write_rest(end, data):
    left = memoryview(data)[1000:]
    while left:
        left = left[os.write(end, left) :]
    os.close(end)


def test_a_stream_without_end_or_data(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "LARGEST_STREAM", 1 << 20)
    with pytest.raises(AudioError, match=r"/dev/zero: gives more than 1 MiB \(save the audio to a file"):
        audio_info("/dev/zero", STREAMS)
    with pytest.raises(AudioError, match=r"/dev/null: gave no data \(check the command"):
        audio_info("/dev/null", STREAMS)
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: an answer, not a wait
    with pytest.raises(AudioError, match="pipe: gave no data"):
        audio_info(str(tmp_path / "pipe"), STREAMS)


def test_in_tables_they_are_refused_unopened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    opened = []
    monkeypatch.setattr(references.os, "open", lambda *_: opened.append(1))
    for ref, kind in ((tmp_path / "pipe", "pipe"), ("/dev/zero", "device"), (f"{tmp_path}/pipe:5", "pipe")):
        for reading in (Reading(), STREAMS) if str(ref).endswith(":5") else (Reading(),):
            with pytest.raises(AudioError, match=rf"is a {kind}, not a file \(save the audio to a file\)"):
                audio_info(str(ref), reading)
    assert not opened


def test_validation_names_them(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    write_table(tmp_path / "wav.scp", [("a", f"{tmp_path}/pipe"), ("b", "/dev/null"), ("c", str(tmp_path))])
    write_table(tmp_path / "utt2lang", [(key, "eng") for key in "abc"])
    scanned = scan_dir(tmp_path)
    faults = recording_faults(scanned, read_recordings(scanned.scans["wav.scp"].table, "decode"))
    assert {group.kind for group in faults} == {"not a file"}
    text = " ".join(str(fault) for group in faults for fault in group)
    assert all(word in text for word in ("is a pipe", "is a device", "is a directory"))
