"""Distortions of a waveform for training: noise, rooms, channels, codecs and level.

A distortion takes float32 samples in [-1, 1] and returns as many float32 samples. Random values come from the
caller's generator.
"""

from __future__ import annotations

import functools
import io
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import soundfile

from lid_toolkit.audio.resample import resample
from lid_toolkit.augment.fourier import Spectra, Wave, convolve, fast_size, waveform

TELEPHONE_RATE = 8000
Codec = Literal["PCM_16", "ULAW", "ALAW", "GSM610", "IMA_ADPCM"]
TELEPHONE_CODECS: tuple[Codec, ...] = get_args(Codec)
SILENCE_POWER = 1e-10
EQUALISER_TAPS = 1023


def scaled_noise(wave: Wave, noise: Wave, snr_db: float) -> Wave:
    """Repeat or cut ``noise`` to the length of ``wave`` and scale it to a signal-to-noise ratio.

    The ratio refers to the whole waveform. Returns zeros if the waveform or the noise is silent.
    """
    noise = np.resize(noise, len(wave))
    of_wave, of_noise = power(wave), power(noise)
    if of_wave < SILENCE_POWER or of_noise < SILENCE_POWER:
        return np.zeros_like(wave)
    scaled: Wave = noise * np.float32(np.sqrt(of_wave / of_noise * 10 ** (-snr_db / 10)))
    return scaled


def white_spectrum(samples: int, rng: np.random.Generator) -> Spectra:
    """Return the transform of white Gaussian noise of at least ``samples`` samples and unit power."""
    bins = fast_size(samples) // 2 + 1
    parts = rng.standard_normal(2 * bins, dtype=np.float32)
    parts[2:-2] *= np.float32(np.sqrt(0.5))  # the first and last number are real and stand only once
    white: Spectra = parts.view(np.complex64)
    return white


def coloured_noise(white: Spectra, slope: float, samples: int) -> Wave:
    """Return (samples,) noise of unit power; power spectrum 1 / f ** ``slope``: 0 white, 1 pink, 2 brown.

    Args:
        white: :func:`white_spectrum` of at least ``samples`` samples.
        slope: exponent of the frequency.
        samples: length of the noise.
    """
    shape = np.exp(log_bins(len(white)) * np.float32(-slope / 2))
    noise = waveform(white * shape, 2 * len(white) - 2)[:samples]
    coloured: Wave = noise / np.float32(max(np.sqrt(power(noise)), 1e-12))
    return coloured


@functools.lru_cache(maxsize=16)
def log_bins(bins: int) -> Wave:
    """Return the logarithms of 1 to ``bins``, float32."""
    return np.log(np.arange(1, bins + 1, dtype=np.float32))


def random_room(rate: int, decay_s: float, direct_db: float, rng: np.random.Generator) -> Wave:
    """Return an impulse response: a direct path and an exponentially decaying Gaussian tail.

    The statistical model of a diffuse room (Polack, 1988).

    Args:
        rate: samples per second.
        decay_s: reverberation time T60 in seconds, in which the tail falls by 60 dB.
        direct_db: ratio of the energy of the direct path to that of the tail.
        rng: generator for the tail.
    """
    samples = max(int(decay_s * rate), 2)
    decay = np.exp(np.arange(samples, dtype=np.float32) * np.float32(-3 * np.log(10) / samples))
    tail = rng.standard_normal(samples, dtype=np.float32) * decay
    tail[0] = 0.0
    tail *= np.float32(10 ** (-direct_db / 20) / np.sqrt(np.dot(tail, tail)))
    tail[0] = 1.0
    response: Wave = tail
    return response


def reverberate(wave: Wave, response: Wave) -> Wave:
    """Convolve with an impulse response, which must begin with the direct sound, and restore the power."""
    wet = convolve(wave, response[: len(wave)])
    of_wet = power(wet)
    if of_wet < SILENCE_POWER:
        return wave
    result: Wave = wet * np.float32(np.sqrt(power(wave) / of_wet))
    return result


def equaliser(gains_db: npt.NDArray[np.floating]) -> Wave:
    """Return a filter (EQUALISER_TAPS,) with gains at points from 0 to the Nyquist frequency.

    The gains in dB are interpolated between the points. At 16 kHz the points are evenly spaced on the
    mel-like scale log(1 + f / 700 Hz); at other rates this scale is stretched. Random gains simulate
    microphones, rooms and lines. The filter has zero phase: its middle tap is at time 0.
    """
    position = np.log1p(np.linspace(0.0, 11.4, EQUALISER_TAPS // 2 + 2)) / np.log1p(11.4)
    curve_db = np.interp(position, np.linspace(0.0, 1.0, len(gains_db)), gains_db)
    taps = np.fft.irfft(10 ** (curve_db / 20))
    return np.roll(taps, len(taps) // 2)[1:].astype(np.float32)


def equalise(wave: Wave, taps: Wave) -> Wave:
    """Apply a filter of :func:`equaliser`."""
    return convolve(wave, taps, len(taps) // 2)


def telephone(wave: Wave, rate: int, codec: str) -> Wave:
    """Simulate a telephone: resample to 8 kHz, encode and decode with ``codec``, and resample back.

    The codecs are libsndfile's: 16-bit PCM, G.711 mu-law and A-law, GSM 06.10 full rate, IMA ADPCM.
    """
    narrow = np.clip(resample(wave, rate, TELEPHONE_RATE), -1.0, 1.0)
    with io.BytesIO() as stream:
        soundfile.write(stream, narrow, TELEPHONE_RATE, format="WAV", subtype=codec)
        stream.seek(0)
        decoded, _ = soundfile.read(stream, dtype="float32")
    return fit(resample(decoded, TELEPHONE_RATE, rate), len(wave))


def change_level(wave: Wave, peak_db: float) -> Wave:
    """Scale so that the largest absolute sample is at ``peak_db`` dBFS; silence is not changed."""
    peak = float(np.abs(wave).max(initial=0.0))
    if peak**2 < SILENCE_POWER:
        return wave
    scaled: Wave = wave * np.float32(10 ** (peak_db / 20) / peak)
    return scaled


def power(wave: Wave) -> float:
    """Return the mean square of the samples."""
    return float(np.dot(wave, wave)) / len(wave)


def fit(wave: Wave, samples: int) -> Wave:
    """Cut or zero-pad to ``samples``."""
    return wave[:samples] if len(wave) >= samples else np.pad(wave, (0, samples - len(wave)))
