"""Distortions do what they are asked, keep the length, and follow the generator alone."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.augment import distortions

RATE = 16000
LENGTHS = (1, 2, 159, 16000)


def noise(samples=RATE, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def coloured(samples, slope, rng):
    return distortions.coloured_noise(distortions.white_spectrum(samples, rng), slope, samples)


def band_power(wave, low, high):
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    bins = np.fft.rfftfreq(len(wave), 1 / RATE)
    return spectrum[(bins >= low) & (bins < high)].sum()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(
    "distort",
    [
        lambda wave, rng: distortions.scaled_noise(wave, coloured(len(wave), 1.0, rng), 10.0),
        lambda wave, rng: distortions.reverberate(wave, distortions.random_room(RATE, 0.3, 3.0, rng)),
        lambda wave, rng: distortions.equalise(wave, distortions.equaliser(rng.uniform(-10, 10, 8))),
        lambda wave, rng: distortions.telephone(wave, RATE, str(rng.choice(distortions.TELEPHONE_CODECS))),
        lambda wave, rng: distortions.change_level(wave, rng.uniform(-30, 0)),
    ],
    ids=["noise", "room", "equaliser", "telephone", "level"],
)
def test_length_type_and_determinism(distort, samples):
    wave = noise(samples)
    kept = wave.copy()
    first, again = (distort(wave, np.random.default_rng(7)) for _ in range(2))
    assert first.dtype == np.float32
    assert first.shape == wave.shape
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert np.array_equal(wave, kept)


@pytest.mark.parametrize("snr_db", [0.0, 15.0, -5.0])
def test_noise_has_the_level_asked_for(snr_db):
    wave, added = noise(), noise(5000, seed=1)
    scaled = distortions.scaled_noise(wave, added, snr_db).astype(np.float64)
    measured = 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) / np.mean(scaled**2))
    assert measured == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize(("slope", "fall_db"), [(0.0, 0.0), (1.0, 9.03), (2.0, 18.06)])
def test_coloured_noise_falls_with_its_slope(slope, fall_db):
    wave = coloured(1 << 17, slope, np.random.default_rng(0))
    assert np.mean(wave**2) == pytest.approx(1.0, rel=1e-3)
    low, high = band_power(wave, 490, 510), band_power(wave, 3920, 4080) / 8
    assert 10 * np.log10(low / high) == pytest.approx(fall_db, abs=1.0)


@pytest.mark.parametrize("samples", [2, 3, 100, 5000])
def test_white_noise_has_unit_power_at_all_frequencies(samples):
    rng = np.random.default_rng(0)
    spectra = np.stack([distortions.white_spectrum(samples, rng) for _ in range(4000)])
    size = 2 * spectra.shape[1] - 2
    assert samples <= size
    waves = np.fft.irfft(spectra, norm="ortho")
    assert np.mean(waves**2) == pytest.approx(1.0, rel=0.03)
    assert np.mean(np.abs(np.fft.rfft(waves, norm="ortho")[:, [0, -1]]) ** 2, axis=0) == pytest.approx(
        1.0, rel=0.15
    )


def test_a_room_decays_by_60_db_in_its_reverberation_time():
    response = distortions.random_room(RATE, 0.5, 6.0, np.random.default_rng(0)).astype(np.float64)
    tail = response[1:]
    assert response[0] == 1.0
    assert 10 * np.log10(1.0 / np.sum(tail**2)) == pytest.approx(6.0, abs=0.01)
    first, last = np.sum(tail[:800] ** 2), np.sum(tail[-800:] ** 2)
    assert 10 * np.log10(first / last) == pytest.approx(54.0, abs=1.5)  # 0.45 s apart


def test_a_room_keeps_onset_and_power():
    wave = np.concatenate((np.zeros(1000, np.float32), noise(8000)))
    wet = distortions.reverberate(wave, distortions.random_room(RATE, 0.3, 3.0, np.random.default_rng(0)))
    assert np.abs(wet[:1000]).max() < 1e-4
    assert np.mean(wet**2) == pytest.approx(np.mean(wave**2), rel=1e-3)
    assert np.allclose(distortions.reverberate(wave, np.array([1.0, 0.0], np.float32)), wave, atol=1e-5)


def test_the_equaliser_applies_its_gains_at_its_points():
    gains_db = np.array([0.0, 0.0, 12.0, 12.0])
    wave = noise(1 << 15)
    bright = distortions.equalise(wave, distortions.equaliser(gains_db))
    for low, high, gain_db in ((0, 50, 0.0), (6000, 8000, 12.0)):
        measured = 10 * np.log10(band_power(bright, low, high) / band_power(wave, low, high))
        assert measured == pytest.approx(gain_db, abs=0.5)


@pytest.mark.parametrize("codec", distortions.TELEPHONE_CODECS)
def test_a_telephone_passes_nothing_above_4_khz(codec):
    wave = noise()
    narrow = distortions.telephone(wave, RATE, codec)
    assert band_power(narrow, 4200, 8000) < 1e-3 * band_power(wave, 4200, 8000)
    alike = np.corrcoef(narrow, distortions.telephone(wave, RATE, "PCM_16"))[0, 1]
    assert alike > (0.5 if codec == "GSM610" else 0.9)


@pytest.mark.parametrize("peak_db", [-30.0, -3.0, 0.0])
def test_the_level_is_that_of_the_peak(peak_db):
    assert np.abs(distortions.change_level(noise(), peak_db)).max() == pytest.approx(
        10 ** (peak_db / 20), rel=1e-5
    )


def test_silence_stays_silent():
    silence = np.zeros(800, np.float32)
    assert not distortions.change_level(silence, 0.0).any()
    assert not distortions.scaled_noise(silence, noise(800), 10.0).any()
    assert not distortions.scaled_noise(noise(800), silence, 10.0).any()
    assert not distortions.reverberate(silence, noise(100)).any()
