"""Rate and speed conversion: lengths, frequencies, pass band and aliasing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.audio.resample import change_speed, resample, resampled_length


def sine(frequency, rate, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def peak(wave, rate):
    """Frequency of the highest peak of the spectrum, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return np.argmax(spectrum) * rate / len(wave)


def level_db(wave):
    """Level of the middle of a waveform relative to the 0.5 sine's, dB."""
    middle = wave[len(wave) // 4 : -len(wave) // 4]
    return 20 * np.log10(np.sqrt(np.mean(middle**2)) / (0.5 / np.sqrt(2)) + 1e-12)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 5000),
    st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    st.sampled_from([0.9, 1.0, 1.1]),
)
def test_length_is_the_duration_to_a_sample(samples, rate, speed):
    converted = resample(np.zeros(samples, np.float32), rate * speed, 16000)
    assert len(converted) == resampled_length(samples, rate * speed, 16000)
    assert abs(len(converted) - samples * 16000 / (rate * speed)) <= 0.5 + 1e-6
    assert converted.dtype == np.float32


def test_ties_round_up():
    assert resampled_length(1, 16000, 8000) == 1
    assert resampled_length(3, 16000, 8000) == 2
    assert resampled_length(2, 0.8, 1.0) == 3


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_pass_band_is_flat(rate):
    for frequency in (100, 1000, 0.42 * min(rate, 16000)):
        converted = resample(sine(frequency, rate), rate, 16000)
        assert abs(level_db(converted)) < 0.05
        assert peak(converted, 16000) == pytest.approx(frequency, abs=2)


def test_what_would_alias_is_gone():
    for frequency in (8500, 12000, 20000):
        assert level_db(resample(sine(frequency, 48000), 48000, 16000)) < -90


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_a_sweep_passes_whole_below_and_not_at_all_above(rate):
    """A sweep to half the source's rate: flat to 7.2 kHz, gone from 8 kHz on, between them nothing louder."""
    seconds = 8.0
    time = np.arange(int(rate * seconds)) / rate
    wave = (0.5 * np.sin(np.pi * rate / 2 / seconds * time**2)).astype(np.float32)
    converted = resample(wave, rate, 16000)
    frames = converted[: len(converted) // 800 * 800].reshape(-1, 800)  # 50 ms
    level = 20 * np.log10(np.sqrt(np.mean(frames**2, axis=1)) / (0.5 / np.sqrt(2)) + 1e-12)
    frequency = (np.arange(len(frames)) + 0.5) * 0.05 * rate / 2 / seconds
    passed, stopped = (frequency > 300) & (frequency < 7200), frequency > 8000 + rate / 2 / seconds * 0.05
    assert np.abs(level[passed]).max() < 0.1
    assert level[stopped].max() < -90
    assert level.max() < 0.2


def test_phase_is_kept():
    np.testing.assert_allclose(
        resample(sine(440, 48000), 48000, 16000)[1000:-1000], sine(440, 16000)[1000:-1000], atol=1e-4
    )


def test_same_rate_is_untouched():
    wave = sine(440, 16000)
    assert resample(wave, 16000, 16000.0) is wave


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.5])
def test_speed_moves_pitch_and_length_like_sox(factor):
    changed = change_speed(sine(440, 16000), factor)
    assert len(changed) == round(16000 / factor)
    assert peak(changed, 16000) == pytest.approx(440 * factor, abs=2)
    assert abs(level_db(changed)) < 0.05
