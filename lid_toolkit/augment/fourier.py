"""Fourier transforms of real signals at sizes that are fast, and convolution by them.

All transforms have the norm ``ortho``, which divides both directions by the square root of the size. With
NumPy's default norm, the forward transform of float32 takes several times as long.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]

LARGEST_EXPONENT = 32
SMALLEST_BLOCK = 4096


def spectrum(wave: Wave, size: int) -> Spectra:
    """Return the transform (..., size // 2 + 1) of float32 samples (..., T), zero-padded to ``size`` >= T."""
    return np.fft.rfft(wave, size, norm="ortho").astype(np.complex64, copy=False)


def waveform(spectra: Spectra, size: int) -> Wave:
    """Return the float32 samples (..., size) of :func:`spectrum`."""
    return np.fft.irfft(spectra, size, norm="ortho").astype(np.float32, copy=False)


def convolve(wave: Wave, response: Wave, first: int = 0) -> Wave:
    """Return samples ``first`` to ``first + T`` of the linear convolution of (T,) and (K,) samples.

    ``first`` is less than K. Blocks of the waveform are convolved and their results added where they overlap
    (Stockham, 1966): many short transforms are faster than a long one.
    """
    whole = fast_size(len(wave) + len(response) - 1)
    size = min(whole, max(SMALLEST_BLOCK, 1 << (2 * len(response) - 1).bit_length()))
    step = size - len(response) + 1
    blocks = np.zeros((-(-len(wave) // step), step), dtype=np.float32)
    blocks.reshape(-1)[: len(wave)] = wave
    product = spectrum(blocks, size)
    product *= spectrum(response, size) * np.float32(np.sqrt(size))
    added = np.zeros(blocks.size + size, dtype=np.float32)
    for number, part in enumerate(waveform(product, size)):
        added[number * step : number * step + size] += part
    return added[first : first + len(wave)]


def fast_size(samples: int) -> int:
    """Return the smallest even size >= ``samples`` and >= 2 without prime factors above 5, as is fast."""
    sizes = _fast_sizes()
    return int(sizes[np.searchsorted(sizes, samples)])


@functools.cache
def _fast_sizes() -> npt.NDArray[np.int64]:
    two, three, five = (base ** np.arange(LARGEST_EXPONENT / np.log2(base)) for base in (2, 3, 5))
    sizes = 2 * np.multiply.outer(np.multiply.outer(two, three), five).ravel()
    return np.unique(sizes[sizes <= 2**LARGEST_EXPONENT]).astype(np.int64)
