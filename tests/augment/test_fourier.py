"""Convolution by transforms is convolution, and sizes are even, sufficient and have small prime factors."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.augment.fourier import convolve, fast_size, spectrum, waveform


def largest_prime_factor(number):
    factor = 2
    while factor < number:
        if number % factor:
            factor += 1
        else:
            number //= factor
    return number


@pytest.mark.parametrize(("samples", "size"), [(1, 2), (2, 2), (3, 4), (7, 8), (11, 12), (48000, 48000)])
def test_sizes_by_hand(samples, size):
    assert fast_size(samples) == size


def test_sizes_are_even_and_fast_and_hardly_longer():
    for samples in (13, 1001, 16001, 55999, 959_999, 10_000_001):
        size = fast_size(samples)
        assert samples <= size < 1.1 * samples + 4
        assert size % 2 == 0
        assert largest_prime_factor(size) <= 5


@pytest.mark.parametrize(
    ("samples", "taps", "first"), [(1, 1, 0), (5, 3, 0), (5, 3, 1), (3, 7, 3), (4000, 1023, 511)]
)
def test_convolution_against_the_direct_sum(samples, taps, first):
    rng = np.random.default_rng(0)
    wave, response = (rng.standard_normal(size).astype(np.float32) for size in (samples, taps))
    found = convolve(wave, response, first)
    expected = np.convolve(wave.astype(np.float64), response)[first : first + samples]
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_transform_is_unitary_and_inverted():
    wave = np.random.default_rng(0).standard_normal((3, 60)).astype(np.float32)
    spectra = spectrum(wave, 60)
    assert spectra.dtype == np.complex64
    assert np.allclose(spectra, np.fft.rfft(wave) / np.sqrt(60), atol=1e-5)
    assert np.allclose(waveform(spectra, 60), wave, atol=1e-6)
