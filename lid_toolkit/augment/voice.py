"""Change the voice of an utterance: pitch, formants and tempo, independently of each other.

A language classifier that is trained on few speakers of each language learns the speakers. Changing the
fundamental frequency and the formants (the vocal tract length) makes many speakers out of one.

Shapes: f frames, b frequency bins.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.resample import change_speed
from lid_toolkit.augment.distortions import fit
from lid_toolkit.augment.fourier import Spectra, Wave, spectrum, waveform

Floats = npt.NDArray[np.floating]

FRAME_S, FRAMES_OVERLAP = 0.032, 4
LIFTER_S = 0.0025  # a pitch period at 400 Hz; a shorter lifter would not move narrow formants of low voices
LARGEST_GAIN = 3.0  # natural logarithm: 26 dB
LOG_FLOOR = 1e-5


def change_voice(wave: Wave, rate: int, pitch: float, formants: float, tempo: float = 1.0) -> Wave:
    """Multiply the fundamental frequency by ``pitch``, the formants by ``formants``, the tempo by ``tempo``.

    Resampling multiplies all three by ``pitch``. A phase vocoder (Flanagan and Golden, 1966) then sets
    the tempo, and each frame's spectral envelope, smoothed in the cepstrum (Oppenheim and Schafer,
    1968), is stretched by ``formants / pitch``; the fine structure is kept.

    Returns:
        The waveform, :func:`changed_length` samples.
    """
    shifted = change_speed(wave, pitch)
    size = 1 << round(np.log2(FRAME_S * rate))
    spectra = stretch_time(short_time_spectra(shifted, size), tempo / pitch)
    spectra *= envelope_gains(spectra, formants / pitch, max(int(LIFTER_S * rate), 2))
    return overlapped(spectra, size, changed_length(len(wave), tempo))


def changed_length(samples: int, tempo: float) -> int:
    """Return the number of samples that :func:`change_voice` makes of ``samples``."""
    return round(samples / tempo)


def short_time_spectra(wave: Wave, size: int) -> Spectra:
    """Return Fourier transforms (frames, size // 2 + 1) of Hann-windowed frames that overlap by 3/4."""
    hop = size // FRAMES_OVERLAP
    padded = np.pad(wave, (size, size + hop - len(wave) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return spectrum(frames * _window(size), size)


def overlapped(spectra: Spectra, size: int, samples: int) -> Wave:
    """Return the waveform of :func:`short_time_spectra`, cut or zero-padded to ``samples``."""
    hop, window = size // FRAMES_OVERLAP, _window(size)
    added = overlap_add(waveform(spectra, size) * (window * (hop / np.sum(window**2))), hop)[size:]
    return fit(added, samples)


def stretch_time(spectra: Spectra, speed: float) -> Spectra:
    """Play frames ``speed`` times as fast (a phase vocoder); each bin's phase advances at its own frequency.

    The first frame, which is silent in :func:`short_time_spectra`, keeps its position.
    """
    if speed == 1.0:
        return spectra
    at_f = np.arange(0, len(spectra) - 1, speed)
    low_f, share_f1 = at_f.astype(int), (at_f % 1)[:, None].astype(np.float32)
    magnitude = np.abs(spectra)
    # A phase is kept as a number of length 1, so that advances are multiplied. No phase need be unwrapped:
    # whole turns change nothing.
    silent = magnitude == 0
    sounding = spectra * (1 / (magnitude + silent))
    sounding[silent] = 1
    advance = sounding[1:] * sounding[:-1].conj()
    stretched = running_product(np.concatenate((sounding[:1], advance[low_f[:-1]])))
    stretched *= magnitude[low_f] * (1 - share_f1) + magnitude[low_f + 1] * share_f1
    return stretched


def running_product(factors: Spectra) -> Spectra:
    """Return the product of each frame (frames, bins) with all frames before it.

    Frames are multiplied in a square of blocks: 2 sqrt(frames) products of long rows are several times as
    fast as one product for each frame.
    """
    side = math.isqrt(len(factors) - 1) + 1
    product = np.ones((side, side, factors.shape[1]), dtype=np.complex64)
    product.reshape(side * side, -1)[: len(factors)] = factors
    for place in range(1, side):
        product[:, place] *= product[:, place - 1]
    for block in range(1, side):
        product[block] *= product[block - 1, -1]
    return product.reshape(side * side, -1)[: len(factors)]


def envelope_gains(spectra: Spectra, factor: float, kept: int) -> Floats:
    """Return the gains that stretch each frame's envelope by ``factor`` along frequency."""
    bins = spectra.shape[1]
    cepstra = low_cepstrum(np.log(np.abs(spectra) + np.float32(LOG_FLOOR)), kept)
    stretched = np.minimum(np.arange(bins) / factor, bins - 1.0)
    change = cepstra @ (envelope_basis(stretched, bins, kept) - _basis_of_bins(bins, kept))
    gains: Floats = np.exp(np.clip(change, -LARGEST_GAIN, LARGEST_GAIN, out=change))
    return gains


def low_cepstrum(log_magnitude: Floats, kept: int) -> Floats:
    """Return the first ``kept`` real cepstral coefficients (frames, kept) of log spectra (frames, bins)."""
    # The inverse Fourier transform of the symmetric spectrum, but only for the first `kept` coefficients.
    bins = log_magnitude.shape[1]
    basis = _basis_of_bins(bins, kept) / (2 * bins - 2)
    basis[0] *= 2
    basis[:, [0, -1]] /= 2
    cepstra: Floats = log_magnitude @ basis.T
    return cepstra


def envelope_basis(position: npt.NDArray[np.float64], bins: int, kept: int) -> Floats:
    """Return the matrix (kept, positions) by which low cepstra (frames, kept) become smooth log spectra.

    Positions are given in (fractional) bins of spectra with ``bins`` bins.
    """
    basis = 2 * _cosines(position, bins, kept)
    basis[0] /= 2
    return basis


def overlap_add(frames: Floats, hop: int) -> Floats:
    """Sum frames (count, size) that start ``hop`` apart; ``size`` is a multiple of ``hop``."""
    count, size = frames.shape
    parts = frames.reshape(count, size // hop, hop)
    out = np.zeros((count + size // hop - 1, hop), dtype=frames.dtype)
    for part in range(size // hop):
        out[part : part + count] += parts[:, part]
    return out.reshape(-1)


@functools.cache
def _basis_of_bins(bins: int, kept: int) -> Floats:
    return envelope_basis(np.arange(bins, dtype=np.float64), bins, kept)


def _cosines(position: npt.NDArray[np.float64], bins: int, kept: int) -> Floats:
    return np.cos(np.pi / (bins - 1) * np.outer(np.arange(kept), position)).astype(np.float32)


def _window(size: int) -> Wave:
    return np.hanning(size + 1)[:-1].astype(np.float32)
