"""Formats that PyAV reads: the samples that FFmpeg gives, exact lengths and positions, what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from audio.encode import decoded_by_ffmpeg, encoded

from lid_toolkit.audio import container
from lid_toolkit.audio.container import Container
from lid_toolkit.audio.foreign import Foreign
from lid_toolkit.audio.reader import AudioError, Reading, audio_info, open_audio, read_audio
from lid_toolkit.audio.references import opened

RATE, SAMPLES = 16000, 37000
FORMATS = {
    "aac.m4a": ("ipod", "aac", RATE, 1, 0),
    "alac.m4a": ("ipod", "alac", 44100, 2, 0),
    "film.mp4": ("mp4", "aac", 48000, 2, 0),
    "pcm.mov": ("mov", "pcm_s16be", RATE, 1, 0),
    "phone.3gp": ("3gp", "libopencore_amrnb", 8000, 1, 0),
    "a.aac": ("adts", "aac", RATE, 1, 0),
    "a.webm": ("webm", "libopus", 48000, 1, 0),
    "a.mkv": ("matroska", "flac", RATE, 2, 0),
    "a.amr": ("amr", "libopencore_amrnb", 8000, 1, 0),
    "a.wma": ("asf", "wmav2", RATE, 1, 32000),
    "a.flv": ("flv", "aac", 44100, 1, 0),
    "a.ac3": ("ac3", "ac3", 48000, 1, 0),
    "a.avi": ("avi", "mp2", RATE, 1, 0),
    "u8.avi": ("avi", "pcm_u8", RATE, 1, 0),
    "a.wv": ("wv", "wavpack", RATE, 1, 0),
    "a.mpg": ("mpeg", "mp2", 44100, 1, 0),
}
EXACT = ("aac.m4a", "alac.m4a", "film.mp4", "pcm.mov", "phone.3gp", "a.webm", "a.mkv", "a.wv")
"""Formats whose headers say how much the encoder added."""

TRUNCATED = ("aac.m4a", "film.mp4", "a.webm", "a.mkv", "a.wma", "a.avi")


@pytest.fixture(scope="module")
def wave():
    """Tones that rise, different in each channel."""
    time = np.arange(SAMPLES) / RATE
    phases = [300 * time + 200 * time**2, 500 * time + 100 * time**2]
    return np.stack([0.4 * np.sin(2 * np.pi * phase) for phase in phases]).astype(np.float32)


@pytest.fixture(scope="module")
def files(wave):
    made = {}
    for name, (form, codec, rate, channels, bit_rate) in FORMATS.items():
        made[name] = encoded(
            form, codec, wave[:channels], rate, bit_rate=bit_rate, picture=name == "film.mp4"
        )
    return made


def saved(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
def test_samples_are_those_of_ffmpeg(tmp_path, files, wave, name):
    _, _, rate, channels, _ = FORMATS[name]
    ref = saved(tmp_path, name, files[name])
    theirs = decoded_by_ffmpeg(files[name])
    ours, our_rate = read_audio(ref)
    assert our_rate == rate
    assert audio_info(ref).channels == channels
    np.testing.assert_allclose(ours, theirs.mean(axis=1)[: len(ours)], atol=1e-6)
    if name in EXACT:
        assert len(ours) == SAMPLES
    else:
        assert len(ours) == len(theirs)
        assert abs(len(ours) - SAMPLES) < 4096
    assert ours.std() == pytest.approx(wave[:channels].mean(axis=0).std(), rel=0.2)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "phone.3gp"])
def test_samples_are_not_shifted(tmp_path, files, wave, name):
    """What the encoder added at the start is left out. A shift of one sample would be a larger difference."""
    channels = FORMATS[name][3]
    ours, _ = read_audio(saved(tmp_path, name, files[name]))
    original = wave[:channels].mean(axis=0)

    def difference(shift):
        return np.abs(np.roll(ours, shift) - original)[2000:-2000].mean()

    assert min(range(-50, 51), key=difference) == 0


def test_lossless_is_lossless(tmp_path, files, wave):
    for name in ("alac.m4a", "a.mkv"):
        ref = saved(tmp_path, name, files[name])
        for channel in range(FORMATS[name][3]):
            ours, _ = read_audio(ref, reading=Reading(channel=channel))
            np.testing.assert_allclose(ours, wave[channel], atol=2**-15)


@pytest.mark.parametrize("name", FORMATS)
def test_any_range_of_a_long_recording(tmp_path, files, name, monkeypatch):
    ref = saved(tmp_path, name, files[name])
    whole, _ = read_audio(ref)
    monkeypatch.setattr(container, "KEPT_BYTES", 0)
    monkeypatch.setattr(container, "NEAR_S", 0.02)
    monkeypatch.setattr(container, "PREROLL_S", 0.3)
    seeks, seek = [], Container._seek
    monkeypatch.setattr(
        Container, "_seek", lambda self, sample: seeks.append(seek(self, sample)) or seeks[-1]
    )
    rng = np.random.default_rng(0)
    with open_audio(ref) as recording:
        for _ in range(8):
            start, stop = np.sort(rng.choice(len(whole), 2, replace=False)).tolist()
            np.testing.assert_allclose(recording.read(start, stop), whole[start:stop], atol=1e-3)
        np.testing.assert_allclose(recording.read(0, len(whole)), whole, atol=1e-6)
    assert any(seeks) == (FORMATS[name][1] in ("aac", "alac", "libopus", "flac", "pcm_s16be"))


def test_amr_wide_band(tmp_path):
    """FFmpeg has no encoder. Each frame of 23.85 kbit/s has a head, 60 bytes and 320 samples at 16 kHz."""
    rng = np.random.default_rng(0)
    data = b"#!AMR-WB\n" + b"".join(b"\x44" + rng.bytes(60) for _ in range(100))
    ours, rate = read_audio(saved(tmp_path, "a.amr", data))
    assert (len(ours), rate) == (100 * 320, 16000)
    np.testing.assert_allclose(ours, decoded_by_ffmpeg(data)[:, 0], atol=1e-6)


def test_archives_and_commands(tmp_path, files):
    data = files["aac.m4a"]
    path = saved(tmp_path, "a.m4a", data)
    whole, _ = read_audio(path)
    entry = b"AUDIO\x03" + len(data).to_bytes(3, "little") + data
    archive = saved(tmp_path, "a.ark", b"k1 " + entry + b"k2 " + entry)
    for offset in (3, 6 + len(entry)):
        np.testing.assert_array_equal(read_audio(f"{archive}:{offset}")[0], whole)
    np.testing.assert_array_equal(read_audio(f"cat {path} |", reading=Reading(allow_pipes=True))[0], whole)
    with pytest.raises(AudioError, match="archive that does not say its length"):
        read_audio(saved(tmp_path, "b.ark", b"k1 " + data) + ":3")


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated(tmp_path, files, name):
    for size in (len(files[name]) - 1, len(files[name]) * 4 // 5):
        with pytest.raises(AudioError, match=r"truncated: the last \d+ bytes are missing \(copy it again"):
            audio_info(saved(tmp_path, name, files[name][:size]))


def test_half_a_frame_is_no_end(tmp_path, files):
    with pytest.raises(AudioError, match=r"truncated or broken \(it is flv: copy it again"):
        audio_info(saved(tmp_path, "a.flv", files["a.flv"][:-100]))


def test_a_live_webm_has_no_length(tmp_path, wave):
    data = encoded("webm", "libopus", wave[:1], 48000, options={"live": "1"})
    assert audio_info(saved(tmp_path, "a.webm", data)).num_samples >= SAMPLES
    cut, _ = read_audio(saved(tmp_path, "b.webm", data[: len(data) * 4 // 5]))
    assert len(cut) < SAMPLES


@pytest.mark.parametrize("name", ["aac.m4a", "a.webm"])
def test_joined_files_are_refused(tmp_path, files, name):
    with pytest.raises(AudioError, match="another recording follows in the same file"):
        audio_info(saved(tmp_path, name, files[name] * 2))


def test_joined_aac_is_read_to_its_end_unless_its_rate_changes(tmp_path, files, wave):
    one = audio_info(saved(tmp_path, "a.aac", files["a.aac"])).num_samples
    assert audio_info(saved(tmp_path, "b.aac", files["a.aac"] * 2)).num_samples == 2 * one
    tagged = b"ID3\4\0\0\0\0\0\5abcde" + files["a.aac"]
    assert audio_info(saved(tmp_path, "c.aac", tagged)).num_samples == one
    other = encoded("adts", "aac", wave[:1], 8000)
    with pytest.raises(AudioError, match="sampling rate or number of channels changes"):
        audio_info(saved(tmp_path, "d.aac", files["a.aac"] + other))


def test_streams(tmp_path, wave):
    two = encoded("mp4", "aac", wave[:1], RATE, streams=2)
    with pytest.raises(AudioError, match=r"contains 2 audio streams \(it is m4a, mp4, mov or 3gp: save one"):
        audio_info(saved(tmp_path, "two.mp4", two))
    silent = encoded("mp4", "aac", wave[:1], RATE, streams=0, picture=True)
    with pytest.raises(AudioError, match=r"contains no audio stream \(.*: remove it\)"):
        audio_info(saved(tmp_path, "silent.mp4", silent))


def test_codecs_that_are_not_listed_are_not_run(tmp_path, wave):
    data = encoded("avi", "adpcm_ms", wave[:1], RATE)
    with pytest.raises(AudioError, match="the codec of its sound, adpcm_ms, is not supported"):
        audio_info(saved(tmp_path, "a.avi", data))


def test_days_of_silence_are_refused(tmp_path, files, monkeypatch):
    monkeypatch.setattr(container, "LONGEST_S", 1)
    with pytest.raises(AudioError, match=r"is longer than 0 hours \(.*cut it into parts\)"):
        audio_info(saved(tmp_path, "a.m4a", files["aac.m4a"]))


def test_without_pyav_the_error_names_the_extra(tmp_path, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        AudioError, match=r"cannot be decoded by libsndfile \(.* pip install 'lid_toolkit\[formats\]'"
    ):
        audio_info(saved(tmp_path, "a.m4a", files["aac.m4a"]))


def test_no_other_file_is_opened(tmp_path, files):
    """A playlist is not recognised. Even as the format that it is, it cannot open what it refers to."""
    saved(tmp_path, "secret.aac", files["a.aac"])
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{tmp_path}/secret.aac\n#EXT-X-ENDLIST\n"
    path = saved(tmp_path, "a.m4a", playlist.encode())
    with pytest.raises(AudioError, match="not recognised"):
        read_audio(path)
    with (
        opened(path) as byte_range,
        pytest.raises(AudioError, match=r"refers to another file, file://.*secret.aac"),
    ):
        Container(byte_range, Foreign("playlist", b"", demuxer="hls"))
