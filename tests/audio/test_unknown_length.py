"""Lengths that a header could not know, or gives a little too high."""

import struct

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.reader import AudioError, audio_info, read_audio

RATE = 16000
SUBTYPES = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8", "ULAW")


def noise(samples):
    return np.random.default_rng(0).uniform(-0.5, 0.5, samples)


def known_then_unknown(path, **how):
    """Write a wav and read it; return its bytes, the position of its data's size, and its waveform."""
    soundfile.write(path, noise(4802), RATE, **how)
    data = bytearray(path.read_bytes())
    return data, data.index(b"data") + 4, read_audio(str(path))[0]


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
def test_wav(tmp_path, subtype, size, riff_size):
    """0 is what a writer leaves that was stopped, or could not go back."""
    path = tmp_path / "a.wav"
    data, place, expected = known_then_unknown(path, subtype=subtype)
    struct.pack_into("<I", data, 4, riff_size)
    struct.pack_into("<I", data, place, size)
    path.write_bytes(data)
    assert audio_info(str(path)).num_samples == len(expected)
    np.testing.assert_array_equal(read_audio(str(path))[0], expected)
    np.testing.assert_array_equal(read_audio(str(path), 4000, 4802)[0], expected[4000:])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("size", [0, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("chunk_size", [0, 0xFFFFFFFF])
def test_rf64(tmp_path, subtype, size, chunk_size, capfd):
    path = tmp_path / "a"
    data, place, expected = known_then_unknown(path, format="RF64", subtype=subtype)
    assert data[12:16] == b"ds64"
    struct.pack_into("<QQQ", data, 20, size, size, size)
    struct.pack_into("<I", data, place, chunk_size)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_audio(str(path))[0], expected)
    assert "Traceback" not in capfd.readouterr().err


def test_a_wav_that_is_truly_empty(tmp_path):
    """Its size agrees with the file's, so what follows the samples is not audio."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(0), RATE)
    data = bytearray(path.read_bytes()) + b"LIST" + struct.pack("<I", 400) + bytes(400)
    struct.pack_into("<I", data, 4, len(data) - 8)
    for content in (path.read_bytes(), bytes(data)):
        path.write_bytes(content)
        with pytest.raises(AudioError, match="contains no samples"):
            audio_info(str(path))


def page_sum(page):
    """Return the checksum of an Ogg page whose own field is zero (polynomial 0x04c11db7)."""
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        remainder &= 0xFFFFFFFF
    return remainder


def longer(data, samples):
    """Raise the length that the last page of an Ogg stream gives."""
    begin = data.rindex(b"OggS\0")
    page = bytearray(data[begin:])
    struct.pack_into("<q", page, 6, struct.unpack_from("<q", page, 6)[0] + samples)
    struct.pack_into("<I", page, 22, 0)
    struct.pack_into("<I", page, 22, page_sum(page))
    return data[:begin] + page


@pytest.mark.parametrize(("subtype", "per_second"), [("OPUS", 48000), ("VORBIS", RATE)])
def test_an_ogg_whose_length_is_up_to_a_packet_too_high(tmp_path, subtype, per_second):
    """What lacks is silence. Example of ffmpeg's libopus: 191707 samples, of which 191568 are in packets."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(64321), RATE, format="OGG", subtype=subtype)
    data = path.read_bytes()
    path.write_bytes(longer(data, per_second // 50))
    length = 64321 + RATE // 50
    assert audio_info(str(path)).num_samples == length
    wave, _ = read_audio(str(path))
    assert len(wave) == length
    present = soundfile.read(path, dtype="float32")[0]
    assert 64321 <= len(present) < length
    np.testing.assert_array_equal(wave[: len(present)], present)
    assert not wave[len(present) :].any()
    assert not read_audio(str(path), length - 5)[0].any()
    np.testing.assert_allclose(read_audio(str(path), 60000)[0], wave[60000:], atol=2e-2)
    path.write_bytes(longer(data, per_second))
    with pytest.raises(AudioError, match=r"only \d+ of 80321 samples can be decoded") as caught:
        read_audio(str(path))
    assert "truncated" not in str(caught.value)
