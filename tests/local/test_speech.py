"""Speech is kept; tones, noise and silence are named."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from local_sounds import noise, spoken, tone

from lid_toolkit.audio.fingerprint import RATE, to_8k
from local.mini.languages import LANGUAGES
from local.speech import fault, measure

GREETING = "Please leave a message after the tone. Thank you for calling."


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.label)
def test_speech_of_any_language_is_speech(language):
    assert fault(measure(spoken("1 2 3 4 5 6 7 8 9 10 11 12", f"{language.voice}+f2"))) == ""


@pytest.mark.parametrize("gain", [0.02, 0.1, 1.0])
def test_the_verdict_on_speech_does_not_depend_on_its_level(gain):
    assert fault(measure(gain * spoken(GREETING))) == ""


@pytest.mark.parametrize("snr_db", [30, 20])
def test_speech_with_some_noise_is_speech(snr_db):
    speech = spoken(GREETING)
    hiss = noise(len(speech) / RATE, level=float(np.sqrt((speech**2).mean())) * 10 ** (-snr_db / 20))
    assert fault(measure(speech + hiss[: len(speech)])) == ""


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (tone(440), "tone"),
        (tone(350, 440, 620), "tone"),
        (tone(1000) + tone(1400), "tone"),
        (np.concatenate([tone(800, seconds=0.4), np.zeros(8000, np.float32)]), "tone"),
        (noise(), "noise"),
        (noise(level=0.0005), "silence"),
        (np.zeros(8000, np.float32), "silence"),
        (np.zeros(3, np.float32), "silence"),
    ],
)
def test_what_is_not_speech_is_named(sound, reason):
    assert fault(measure(sound)).startswith(reason)


def test_measures_are_those_of_their_definitions():
    """A sine of amplitude 0.3 has power 0.045, a tonality near 1 and repeats after each period."""
    measures = measure(tone(200))
    assert measures.level_db == pytest.approx(10 * np.log10(0.045), abs=0.3)
    assert measures.tonality > 0.99
    assert measures.voicing > 0.8


def test_a_recording_is_measured_alike_at_any_rate():
    at_22k = soxr.resample(spoken(GREETING), RATE, 22050)
    one, other = measure(spoken(GREETING)), measure(to_8k(at_22k, 22050))
    assert one.level_db == pytest.approx(other.level_db, abs=0.5)
    assert one.tonality == pytest.approx(other.tonality, abs=0.02)
    assert one.voicing == pytest.approx(other.voicing, abs=0.02)
