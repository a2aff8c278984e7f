"""Recordings in blocks and from file objects: the same samples as at once and from files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from lid_toolkit.audio import references
from lid_toolkit.audio.reader import AudioError, open_content, read_audio
from lid_toolkit.audio.resample import resample, resample_blocks


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(8000, 16000), (44100, 16000), (16000, 16000), (11025, 16000)]
)
@pytest.mark.parametrize("samples", [1, 300, 50_001])
def test_blocks_resampled_are_the_whole_resampled(from_rate, to_rate, samples):
    wave = np.random.default_rng(0).normal(0, 0.2, samples).astype(np.float32)
    for size in (997, 20_000):
        blocks = (wave[begin : begin + size] for begin in range(0, samples, size))
        joined = np.concatenate(list(resample_blocks(blocks, from_rate, to_rate)))
        whole = resample(wave, from_rate, to_rate)
        assert len(joined) == len(whole)
        np.testing.assert_allclose(joined, whole, atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_file_object_gives_the_samples_of_its_file(name, tmp_path):
    wave = np.random.default_rng(0).normal(0, 0.1, (9000, 2))
    soundfile.write(tmp_path / name, wave, 16000)
    expected, rate = read_audio(str(tmp_path / name))
    with open_content(io.BytesIO((tmp_path / name).read_bytes()), "upload") as recording:
        assert (recording.info.rate, recording.info.channels) == (rate, 2)
        assert np.array_equal(recording.read(0, len(expected)), expected)


def test_a_file_object_without_an_end_is_refused(monkeypatch):
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

        def seekable(self):
            return False

    monkeypatch.setattr(references, "LARGEST_STREAM", 1 << 20)
    with (
        pytest.raises(AudioError, match=r"^upload: gives more than 1 MiB"),
        open_content(Endless(), "upload"),
    ):
        pass
