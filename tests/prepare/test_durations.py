"""Durations come from tables where they can, from headers where they must."""

import numpy as np
import pytest
import soundfile
from datadir.directories import PLAIN, SEGMENTED, write_files

from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.durations import utterance_seconds
from lid_toolkit.prepare.speed import perturb_data_dir


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of 3 and 4 seconds."""
    for name, seconds in (("1", 3), ("2", 4)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(8000 * seconds), 8000)
    return {"wav.scp": f"r1 {tmp_path}/1.wav\nr2 {tmp_path}/2.wav\n"}


def test_segments_and_headers(tmp_path, recordings):
    data = read_data_dir(write_files(tmp_path / "set", {**SEGMENTED, **recordings}))
    assert utterance_seconds(data).tolist() == [1.5, 1.5, 1.0]
    closed = {"segments": "a r1 0 1.5\nb r1 1.5 2\nc r2 0 1\n", "wav.scp": "r1 gone\nr2 gone\n"}
    data = read_data_dir(write_files(tmp_path / "set", {**SEGMENTED, **closed}))
    assert utterance_seconds(data).tolist() == [1.5, 0.5, 1.0]


def test_speeds(tmp_path, recordings):
    write_files(tmp_path / "set", {**recordings, "utt2lang": "r1 eng\nr2 eng\n"})
    perturb_data_dir(tmp_path / "set", tmp_path / "sp", ("0.5", "1"))
    data = read_data_dir(tmp_path / "sp")
    assert utterance_seconds(data).tolist() == [3, 4, 6, 8]
    (tmp_path / "sp/utt2speed").write_text("r1 1\nr2 1\nsp0.5-r1 fast\nsp0.5-r2 1\n")
    for text in ("0", "-1", "nan", "inf"):
        (tmp_path / "sp/utt2speed").write_text(f"r1 1\nr2 1\nsp0.5-r1 {text}\nsp0.5-r2 1\n")
        with pytest.raises(LidError, match=f"utt2speed: '{text}' is not a positive number"):
            utterance_seconds(read_data_dir(tmp_path / "sp"))
    (tmp_path / "sp/utt2speed").write_text("r1 1\nr2 1\nsp0.5-r1 fast\nsp0.5-r2 1\n")
    with pytest.raises(LidError, match="utt2speed: 'fast' is not a positive number"):
        utterance_seconds(read_data_dir(tmp_path / "sp"))


def test_formatted_sets_need_no_audio(tmp_path):
    path = write_files(
        tmp_path / "set", {**PLAIN, "utt2num_samples": "a 8000\nb 16000\nc 4\n", "sampling_rate": "8000\n"}
    )
    assert utterance_seconds(read_data_dir(path)).tolist() == [1, 2, 0.0005]
    (path / "utt2num_samples").write_text("a 8000\n")
    with pytest.raises(LidError, match="utterances differ from those"):
        utterance_seconds(read_data_dir(path))


def test_unreadable_recordings_have_none(tmp_path):
    data = read_data_dir(write_files(tmp_path / "set", PLAIN))
    assert np.isnan(utterance_seconds(data)).all()
