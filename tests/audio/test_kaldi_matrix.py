"""Waveforms in Kaldi matrices and vectors, as kaldiio writes them."""

from __future__ import annotations

from pathlib import Path

import kaldiio
import numpy as np
import pytest

from lid_toolkit.audio.reader import AudioInfo, Reading, audio_info, read_audio
from lid_toolkit.audio.references import AudioError

TWO_BYTE_AUTO, TWO_BYTE_SIGNED_INTEGER = 3, 4
SAMPLES = 5000


def save(tmp_path, array, **how):
    """Write an archive of one entry after another; return its reference."""
    first = np.zeros(3, np.float32) if not how else np.zeros((3, 1), np.float32)
    kaldiio.save_ark(f"{tmp_path}/a.ark", {"first": first, "wave": array}, scp=f"{tmp_path}/scp", **how)
    return Path(tmp_path, "scp").read_text().splitlines()[1].split(" ", 1)[1]


@pytest.fixture
def wave():
    return np.random.default_rng(0).uniform(-0.9, 0.9, SAMPLES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(SAMPLES,), (SAMPLES, 1), (1, SAMPLES)])
def test_floats_are_samples_as_they_are(tmp_path, wave, dtype, shape):
    ref = save(tmp_path, wave.astype(dtype).reshape(shape))
    assert audio_info(ref) == AudioInfo(SAMPLES, 16000, 1)
    np.testing.assert_array_equal(read_audio(ref)[0], wave.astype(np.float32))
    np.testing.assert_array_equal(read_audio(ref, 100, 333)[0], wave.astype(np.float32)[100:333])


@pytest.mark.parametrize("rows_are_channels", [False, True])
def test_the_longer_dimension_is_time(tmp_path, wave, rows_are_channels):
    stereo = np.stack([wave, -0.5 * wave], axis=1).astype(np.float32)
    ref = save(tmp_path, stereo.T.copy() if rows_are_channels else stereo)
    assert audio_info(ref).channels == 2
    np.testing.assert_array_equal(read_audio(ref, 10, 99, Reading(channel=1))[0], stereo[10:99, 1])
    np.testing.assert_allclose(read_audio(ref)[0], stereo.mean(axis=1), atol=1e-7)


def test_16_bit_integers(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, (SAMPLES, 1)).astype(np.int16)
    ref = save(tmp_path, samples.astype(np.float32), compression_method=TWO_BYTE_SIGNED_INTEGER)
    np.testing.assert_allclose(read_audio(ref)[0] * 32768, samples[:, 0], atol=0.01)
    np.testing.assert_allclose(kaldiio.load_mat(ref)[:, 0], samples[:, 0], atol=0.01)


def test_two_bytes_of_any_range_are_samples_as_they_are(tmp_path, wave):
    ref = save(tmp_path, wave.astype(np.float32)[:, None], compression_method=TWO_BYTE_AUTO)
    np.testing.assert_allclose(read_audio(ref)[0], kaldiio.load_mat(ref)[:, 0], atol=1e-6)
    np.testing.assert_allclose(read_audio(ref)[0], wave, atol=1e-4)


def test_the_rate_is_what_the_reader_says(tmp_path, wave):
    assert read_audio(save(tmp_path, wave), reading=Reading(matrix_rate=8000))[1] == 8000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-10], "truncated: the header says 5000 samples, the file contains 4997"),
        (lambda data: data.replace(b"FV \4\x88\x13\0\0", b"FV \4\xff\xff\xff\x7f"), "truncated"),
        (lambda data: data.replace(b"FV \4\x88\x13\0\0", b"FV \4\xff\xff\xff\xff"), "truncated"),
        (lambda data: data.replace(b"FV \4\x88\x13\0\0", b"FV \4\0\0\0\0"), "contains no samples"),
        (lambda data: data.replace(b"wave \0BFV", b"wave \0BXY"), "a Kaldi object that is not a waveform"),
        (lambda data: data[: data.index(b"wave ") + 9], "a Kaldi object that is not a waveform"),
        (lambda data: data[:-4] + np.float32(np.nan).tobytes(), "contains NaN"),
        (lambda data: data[:-4] + np.float32(12345).tobytes(), "far outside.*divide them by 32768"),
    ],
)
def test_faults_are_named(tmp_path, wave, change, reason):
    ref = save(tmp_path, wave.astype(np.float32))
    path = tmp_path / "a.ark"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(AudioError, match=reason) as caught:
        read_audio(ref)
    assert caught.value.where == ref
