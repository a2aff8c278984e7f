"""One channel of several, and several files that are one recording."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.reader import AudioInfo, Reading, audio_info, read_audio
from lid_toolkit.audio.references import AudioError

RATE = 16000


@pytest.fixture
def three(tmp_path):
    """A stereo flac and a mono wav of the same length: paths and the (samples, 3) waveform."""
    wave = np.random.default_rng(0).integers(-9999, 9999, (20000, 3)).astype(np.int16)
    soundfile.write(tmp_path / "two.flac", wave[:, :2], RATE)
    soundfile.write(tmp_path / "one.wav", wave[:, 2], RATE)
    return f"{tmp_path}/two.flac", f"{tmp_path}/one.wav", wave.astype(np.float32) / 32768


@pytest.mark.parametrize("channel", [0, 1])
def test_one_channel_of_a_file(three, channel):
    stereo, _, wave = three
    read = read_audio(stereo, 5000, 9000, Reading(channel=channel))[0]
    np.testing.assert_array_equal(read, wave[5000:9000, channel])


def test_a_channel_that_is_not_there(three):
    with pytest.raises(AudioError, match=r"two\.flac: channel 2 does not exist: there are 2, counted from 0"):
        read_audio(three[0], reading=Reading(channel=2))


def test_several_files_are_one_recording(three):
    stereo, mono, wave = three
    ref, columns = f"{stereo} {mono}", Reading(multi_columns=True)
    assert audio_info(ref, columns) == AudioInfo(20000, RATE, 3)
    np.testing.assert_allclose(read_audio(ref, 7, 9000, columns)[0], wave[7:9000].mean(axis=1), atol=1e-6)
    last = Reading(multi_columns=True, channel=2)
    np.testing.assert_array_equal(read_audio(ref, 7, 9000, last)[0], wave[7:9000, 2])
    np.testing.assert_array_equal(read_audio(mono, 0, None, columns)[0], wave[:, 2])


def test_files_that_do_not_belong_together(three, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(19999), RATE)
    soundfile.write(tmp_path / "slow.wav", np.zeros(20000), 8000)
    for other in ("short.wav", "slow.wav"):
        with pytest.raises(AudioError, match="different lengths or sampling rates"):
            read_audio(f"{three[1]} {tmp_path}/{other}", reading=Reading(multi_columns=True))
    with pytest.raises(AudioError, match=rf"{tmp_path}/none\.wav: does not exist"):
        read_audio(f"{three[1]} {tmp_path}/none.wav", reading=Reading(multi_columns=True))
    with pytest.raises(AudioError, match="a command where several files"):
        read_audio(f"cat {three[1]} |", reading=Reading(multi_columns=True, allow_pipes=True))
