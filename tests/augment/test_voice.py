"""Another voice: the fundamental and the formants of a synthetic vowel move as asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from lid_toolkit.augment.voice import change_voice, envelope_basis, low_cepstrum, overlap_add, running_product

RATE = 16000
FUNDAMENTAL, FORMANT = 125.0, 1500.0


def vowel(seconds=1.0):
    """A pulse train through one resonance of 80 Hz bandwidth."""
    pulses = np.zeros(int(RATE * seconds))
    pulses[:: int(RATE / FUNDAMENTAL)] = 1.0
    radius = np.exp(-np.pi * 80 / RATE)
    poles = [1.0, -2 * radius * np.cos(2 * np.pi * FORMANT / RATE), radius**2]
    wave = lfilter([1.0], poles, pulses)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def middle_spectrum(wave):
    middle = wave[len(wave) // 4 : 3 * len(wave) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 16))
    return np.fft.rfftfreq(1 << 16, 1 / RATE), spectrum


def fundamental(wave):
    """The best spacing of harmonics, by the sum of log magnitudes at its multiples below 2.5 kHz."""
    frequencies, spectrum = middle_spectrum(wave)
    step = frequencies[1]
    candidates = np.arange(75, 200, 0.5)
    merits = [
        np.log(spectrum[np.round(np.arange(f, 2500, f) / step).astype(int)] + 1e-6).mean() for f in candidates
    ]
    return candidates[int(np.argmax(merits))]


def formant(wave):
    """The peak of the spectrum smoothed over a harmonic's width."""
    frequencies, spectrum = middle_spectrum(wave)
    width = int(300 / frequencies[1])
    smooth = np.convolve(spectrum**2, np.hanning(width), mode="same")
    below = frequencies < 4000
    return frequencies[below][int(np.argmax(smooth[below]))]


def test_the_measures_find_the_vowel():
    assert fundamental(vowel()) == pytest.approx(FUNDAMENTAL, rel=0.01)
    assert formant(vowel()) == pytest.approx(FORMANT, rel=0.05)


@pytest.mark.parametrize(
    ("pitch", "formants", "tempo"),
    [(1.0, 1.15, 1.0), (1.2, 1.0, 1.0), (0.85, 1.1, 1.2), (1.2, 0.87, 0.8), (1.5, 1.0, 1.5)],
)
def test_fundamental_formants_and_tempo_move_apart_from_each_other(pitch, formants, tempo):
    wave = vowel()
    changed = change_voice(wave, RATE, pitch, formants, tempo)
    assert len(changed) == round(len(wave) / tempo)
    assert fundamental(changed) == pytest.approx(FUNDAMENTAL * pitch, rel=0.02)
    assert formant(changed) == pytest.approx(FORMANT * formants, rel=0.04)


def test_factor_one_changes_nothing():
    wave = vowel(0.3)
    assert np.allclose(change_voice(wave, RATE, 1.0, 1.0), wave, atol=1e-4)


def test_tempo_moves_events_and_not_pitch():
    quiet = np.zeros(RATE // 2, dtype=np.float32)
    wave = np.concatenate((vowel(0.5), quiet, vowel(0.5)))
    changed = change_voice(wave, RATE, 1.0, 1.0, 1.25)
    level = np.convolve(np.abs(changed), np.ones(400) / 400, mode="same")
    silent_s = np.flatnonzero(level[800:-800] < 0.01)[[0, -1]] / RATE + 0.05
    assert silent_s == pytest.approx([0.4, 0.8], abs=0.04)
    assert fundamental(changed[: int(0.4 * RATE)]) == pytest.approx(FUNDAMENTAL, rel=0.02)


@pytest.mark.parametrize("samples", [1, 2, 127, 128, 511, 512, 513, 5000])
def test_length_type_and_determinism(samples):
    wave = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
    first, again = (change_voice(wave, RATE, 1.2, 1.1) for _ in range(2))
    assert first.dtype == np.float32
    assert len(first) == samples
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


def test_silence_stays_silent():
    assert np.abs(change_voice(np.zeros(4000, np.float32), RATE, 1.2, 0.9)).max() == 0.0


def test_the_envelope_keeps_slow_ripples_and_drops_fast_ones():
    bins = np.arange(257)
    slow, fast = np.cos(2 * np.pi * 3 * bins / 512), np.cos(2 * np.pi * 100 * bins / 512)
    cepstra = low_cepstrum((slow + fast)[None], kept=20)
    assert np.allclose(cepstra @ envelope_basis(bins, 257, 20), slow, atol=1e-5)


def test_low_cepstrum_against_the_inverse_fourier_transform():
    log_magnitude = np.random.default_rng(0).standard_normal((3, 257))
    assert np.allclose(low_cepstrum(log_magnitude, 40), np.fft.irfft(log_magnitude)[:, :40], atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9, 10, 350])
def test_a_running_product_against_that_of_numpy(frames):
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (frames, 5))
    factors = np.exp(1j * angles).astype(np.complex64)
    expected = np.cumprod(factors, axis=0, dtype=np.complex128)
    assert np.allclose(running_product(factors), expected, atol=1e-5)


def test_overlap_add_by_hand():
    frames = np.array([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    assert overlap_add(frames, 2).tolist() == [1.0, 2.0, 13.0, 24.0, 30.0, 40.0]
