"""Distortions of a waveform for training: noise, rooms, channels, codecs and level.

A distortion takes float32 samples in [-1, 1] and returns as many float32 samples. Random values come from the
caller's generator.
"""

from __future__ import annotations

import io
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import soundfile

from lid_toolkit.audio.resample import resample

Wave = npt.NDArray[np.float32]

TELEPHONE_RATE = 8000
Codec = Literal["PCM_16", "ULAW", "ALAW", "GSM610", "IMA_ADPCM"]
TELEPHONE_CODECS: tuple[Codec, ...] = get_args(Codec)
SILENCE_POWER = 1e-10


def scaled_noise(wave: Wave, noise: Wave, snr_db: float) -> Wave:
    """Repeat or cut ``noise`` to the length of ``wave`` and scale it to a signal-to-noise ratio.

    The ratio refers to the whole waveform. Returns zeros if the waveform or the noise is silent.
    """
    noise = np.resize(noise, len(wave))
    power = float(np.mean(wave**2))
    noise_power = float(np.mean(noise**2))
    if power < SILENCE_POWER or noise_power < SILENCE_POWER:
        return np.zeros_like(wave)
    scaled: Wave = noise * np.float32(np.sqrt(power / noise_power * 10 ** (-snr_db / 10)))
    return scaled


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> Wave:
    """Return Gaussian noise of unit power; power spectrum 1 / f ** ``slope``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(fast_size(samples), dtype=np.float32))
    shape = np.arange(1, len(spectrum) + 1, dtype=np.float32) ** np.float32(-slope / 2)
    noise = np.fft.irfft(spectrum * shape)[:samples]
    return (noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12)).astype(np.float32)


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
    tail = rng.standard_normal(samples) * 10 ** (-3 * np.arange(samples) / samples)
    tail[0] = 0.0
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    response: Wave = tail.astype(np.float32)
    return response


def reverberate(wave: Wave, response: Wave) -> Wave:
    """Convolve with an impulse response, which must begin with the direct sound, and restore the power."""
    response = response[: len(wave)]
    size = fast_size(len(wave) + len(response) - 1)
    wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)[: len(wave)]
    power = float(np.mean(wet**2))
    if power < SILENCE_POWER:
        return wave
    result: Wave = (wet * np.sqrt(float(np.mean(wave**2)) / power)).astype(np.float32)
    return result


def equalise(wave: Wave, gains_db: npt.NDArray[np.floating]) -> Wave:
    """Apply gains at points from 0 to the Nyquist frequency, interpolated between the points.

    At 16 kHz the points are evenly spaced on the mel-like scale log(1 + f / 700 Hz); at other rates this
    scale is stretched. Random gains simulate microphones, rooms and lines. The filter has zero phase.
    """
    spectrum = np.fft.rfft(wave, fast_size(len(wave)))
    position = np.log1p(np.linspace(0.0, 11.4, len(spectrum))) / np.log1p(11.4)
    curve_db = np.interp(position, np.linspace(0.0, 1.0, len(gains_db)), gains_db)
    gains = (10 ** (curve_db / 20)).astype(np.float32)
    return np.fft.irfft(spectrum * gains)[: len(wave)].astype(np.float32)


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


def fast_size(samples: int) -> int:
    """Return the smallest power of two >= ``samples``, at least 2, because other FFT sizes can be slow."""
    return 1 << max(samples - 1, 1).bit_length()


def fit(wave: Wave, samples: int) -> Wave:
    """Cut or zero-pad to ``samples``."""
    return wave[:samples] if len(wave) >= samples else np.pad(wave, (0, samples - len(wave)))
