"""Several recordings in one file: read whole, or refused; never only the first in silence."""

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio.reader import AudioError, audio_info, read_audio

RATE = 16000


def noise(samples, seed):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples)


def two(tmp_path, name, rates=(RATE, RATE), **how):
    """Write two files, and one that holds both; return the path of the latter, and the waveforms."""
    data, waves = [], []
    for seed, rate in enumerate(rates):
        one = tmp_path / f"{seed}{name}"
        soundfile.write(one, noise(30000 + 1000 * seed, seed), rate, **how)
        data.append(one.read_bytes())
        waves.append(read_audio(str(one))[0])
    (tmp_path / name).write_bytes(b"".join(data))
    return str(tmp_path / name), waves


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("between", [b"", b"some other bytes"])
def test_a_chained_ogg_is_read_whole(tmp_path, subtype, between):
    path, waves = two(tmp_path, "a.ogg", format="OGG", subtype=subtype)
    first, second = ((tmp_path / f"{seed}a.ogg").read_bytes() for seed in (0, 1))
    (tmp_path / "a.ogg").write_bytes(first + between + second + first)  # the first again: same serial number
    expected = np.concatenate([*waves, waves[0]])
    assert audio_info(path).num_samples == 91000
    np.testing.assert_array_equal(read_audio(path)[0], expected)
    for start, stop in ((29000, 32000), (60999, 61001), (30000, 61000), (90000, None)):
        crop = read_audio(path, start, stop)[0]
        np.testing.assert_allclose(crop, expected[start:stop], atol=2e-2 if subtype == "OPUS" else 1e-6)


def test_streams_of_different_rates_are_refused(tmp_path):
    path, _ = two(tmp_path, "a.ogg", (16000, 8000), format="OGG", subtype="VORBIS")
    with pytest.raises(AudioError, match=r"2 streams with different sampling rates.*convert"):
        audio_info(path)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.rf64", {"format": "RF64", "subtype": "PCM_16"}),
        ("a.sph", {"format": "NIST", "subtype": "PCM_16"}),
        ("a.flac", {}),
    ],
)
def test_other_joined_files_are_refused(tmp_path, name, how):
    path, waves = two(tmp_path, name, **how)
    assert len(waves[0]) == 30000
    with pytest.raises(AudioError, match=r"another recording follows.*join the samples"):
        read_audio(path)


def test_other_bytes_behind_a_recording_are_no_fault(tmp_path):
    for name in ("a.wav", "a.flac"):
        path = tmp_path / name
        soundfile.write(path, noise(3001, 0), RATE)
        path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
        assert len(read_audio(str(path))[0]) == 3001
