"""MP3s that do not tell their length, made of ones that do by taking that frame out."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.mp3 import mp3_streams
from lid_toolkit.audio.reader import AudioError, audio_info, read_audio
from lid_toolkit.audio.references import opened

RATES = (8000, 11025, 16000, 22050, 44100, 48000)
ID3V2 = b"ID3\4\0\0\0\0\2\1" + bytes(257)
ID3V1 = b"TAG" + bytes(125)


def save(path, rate, mode, channels=1, seconds=6):
    """Write a tone, then noise: frames of few bytes, then of many."""
    time = np.arange(seconds * rate) / rate
    noise = np.random.default_rng(0).normal(0, 0.2, len(time))
    wave = np.where(time < seconds / 3, 0.3 * np.sin(2000 * time), noise)
    wave = np.stack([wave] * channels, axis=1)
    soundfile.write(path, wave, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return len(wave)


def without_length(path):
    """Take out the first frame, up to the next one's start."""
    data = path.read_bytes()
    assert b"Xing" in data[:64] or b"Info" in data[:64]
    path.write_bytes(ID3V2 + data[data.index(data[:2], 4) :] + ID3V1)


def counted(path):
    with opened(str(path), allow_pipes=False) as entry:
        (stream,) = mp3_streams(entry)
        return stream.samples, stream.is_whole


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_frames_are_counted(tmp_path, rate, channels):
    path = tmp_path / "a.mp3"
    samples = save(path, rate, "VARIABLE", channels)
    assert counted(path) == (0, False)
    assert audio_info(str(path)).num_samples == samples
    without_length(path)
    frames, is_whole = counted(path)
    assert is_whole
    assert samples <= frames <= samples + 3 * 1152  # the encoder's delay, and its last frame's padding
    path.write_bytes(path.read_bytes()[: -len(ID3V1)] + b"junk" * 100)
    assert counted(path) == (frames, False)


@pytest.mark.parametrize("rate", RATES)
def test_what_libsndfile_would_cut_is_refused(tmp_path, rate):
    path = tmp_path / "a.mp3"
    save(path, rate, "VARIABLE")
    without_length(path)
    guess = soundfile.info(path).frames
    with pytest.raises(AudioError, match=f"only {guess} of {counted(path)[0]} samples.*ffmpeg"):
        audio_info(str(path))


@pytest.mark.parametrize("rate", RATES)
def test_constant_bitrate_needs_no_length(tmp_path, rate):
    """The guess of libsndfile may be up to a few frames too high where not all frames are of one size."""
    path = tmp_path / "a.mp3"
    samples = save(path, rate, "CONSTANT")
    without_length(path)
    wave, _ = read_audio(str(path))
    assert len(wave) == audio_info(str(path)).num_samples
    assert 0.99 * samples < len(wave) <= samples + 3 * 1152
    np.testing.assert_array_equal(wave, soundfile.read(path, dtype="float32")[0][: len(wave)])


def joined(path, *parts):
    """Write files one after the other; return their waveforms, as one."""
    waves = []
    for number, data in enumerate(parts):
        one = path.with_name(f"{number}.mp3")
        one.write_bytes(data)
        waves.append(read_audio(str(one))[0])
    path.write_bytes(b"".join(parts))
    return np.concatenate(waves)


@pytest.mark.parametrize(
    "between", [b"", ID3V1, ID3V1 + ID3V2, b"APETAGEX" + bytes([0, 0, 0, 0, 40]) + bytes(59)]
)
@pytest.mark.parametrize("lengths", ["known", "unknown", "first known", "second known"])
def test_joined_files_are_read_whole(tmp_path, between, lengths):
    """Of two files that say their length, libsndfile reads the first; of others it guesses the length."""
    path = tmp_path / "a.mp3"
    parts = []
    for number, seconds in enumerate((2, 3)):
        save(path, 16000, "CONSTANT", seconds=seconds)
        if lengths not in ("known", ("first known", "second known")[number]):
            data = path.read_bytes()
            path.write_bytes(data[data.index(data[:2], 4) :])
        parts.append(path.read_bytes())
    expected = joined(path, parts[0] + between, parts[1])
    wave, rate = read_audio(str(path))
    assert audio_info(str(path)).num_samples == len(wave)
    assert len(wave) >= 5 * rate
    if between or lengths != "unknown":  # else nothing tells where the second begins
        np.testing.assert_array_equal(wave, expected)
        np.testing.assert_allclose(read_audio(str(path), 20000, 50000)[0], expected[20000:50000], atol=1e-6)


def test_a_cut_file_that_says_its_length_is_truncated(tmp_path):
    path = tmp_path / "a.mp3"
    save(path, 16000, "VARIABLE")
    data = path.read_bytes()
    path.write_bytes(data[:-5000])
    with pytest.raises(AudioError, match="truncated: the last 5000 bytes are missing"):
        audio_info(str(path))
