"""Sounds without speech: what each detector promises about them in docs/speech_activity.md."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.nonspeech_sounds import KINDS, LEVELS_DB, RATE, SECONDS, noises, silences, sounds
from lid_toolkit.audio.speech_activity import detector, speech_seconds

LEAST_S = 0.2
"""The default of a decision: less speech than this is none."""


@pytest.fixture(scope="module")
def made():
    return list(sounds(1))


def test_silero_takes_no_sound_for_speech(made):
    using = detector("silero")
    speech = {name: speech_seconds(wave, RATE, using) for _, name, wave in made}
    assert {name: seconds for name, seconds in speech.items() if seconds >= LEAST_S} == {}


def test_energy_takes_no_steady_sound_for_speech(made):
    using = detector("energy")
    steady = [
        (name, wave) for kind, name, wave in made if kind in ("silence", "noise") and "wind" not in name
    ]
    assert len(steady) == 5 + 3 * len(LEVELS_DB)
    speech = {name: speech_seconds(wave, RATE, using) for name, wave in steady}
    assert {name: seconds for name, seconds in speech.items() if seconds} == {}


def test_sounds_are_what_they_are_called(made):
    assert {kind for kind, _, _ in made} == set(KINDS)
    for _, name, wave in made:
        assert (wave.dtype, len(wave)) == (np.float32, SECONDS * RATE), name
    for (_, name, wave), (_, again, same) in zip(made[:10], sounds(1), strict=False):
        assert name == again
        np.testing.assert_array_equal(wave, same)
    for name, make in noises(np.random.default_rng(0)).items():
        if name.endswith("dB"):
            level = float(name.split()[-2])
            assert 10 * np.log10(np.mean(make() ** 2)) == pytest.approx(level, abs=0.01)
    assert not silences(np.random.default_rng(0))["digital zero"]().any()
