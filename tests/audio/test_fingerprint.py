"""The same recording is found again behind another level, coding or margin; others are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import soxr
from local_sounds import spoken

from lid_toolkit.audio.fingerprint import RATE, SAME_ABOVE, fingerprint, same_sound, to_8k
from lid_toolkit.prepare.duplicates import ALIKE, SPREADS_WITHIN

ONE = "The number you have dialed is not in service."
OTHERS = ("The person at extension five is on the phone.", "Press one to hear your messages now.")


def through(wave, **coding):
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, **coding)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda wave: wave,
        lambda wave: 0.1 * wave,
        lambda wave: -wave,
        lambda wave: np.pad(wave, (4000, 1000)),
        lambda wave: through(0.5 * wave, format="WAV", subtype="ULAW"),
        lambda wave: through(0.5 * wave, format="WAV", subtype="GSM610"),
        lambda wave: through(0.5 * wave, format="OGG", subtype="VORBIS"),
        lambda wave: to_8k(soxr.resample(wave, RATE, 22050), 22050),
        lambda wave: wave - 0.9 * np.append(np.float32(0), wave[:-1]),
    ],
    ids=["same", "quieter", "inverted", "padded", "mu-law", "gsm", "vorbis", "22 kHz", "equaliser"],
)
def test_a_copy_is_recognised(change):
    wave = spoken(ONE)
    one, other = fingerprint(wave), fingerprint(change(wave).astype(np.float32))
    assert one.values @ other.values > ALIKE
    assert other.spread == pytest.approx(one.spread, rel=SPREADS_WITHIN)
    assert same_sound(wave, change(wave).astype(np.float32)) > SAME_ABOVE


def test_other_texts_and_other_voices_are_no_copies():
    wave = spoken(ONE)
    for other in (spoken(ONE, "en-us+f2"), *(spoken(text) for text in OTHERS)):
        assert same_sound(wave, other) < 0.7
        assert same_sound(wave, other) == pytest.approx(same_sound(other, wave), abs=1e-5)


def test_a_part_is_not_the_whole():
    wave = spoken(ONE)
    assert same_sound(wave, wave[: len(wave) // 2]) < SAME_ABOVE
    assert same_sound(wave, wave) == pytest.approx(1, abs=1e-5)


def test_silence_copies_nothing():
    silent = np.zeros(RATE, np.float32)
    assert fingerprint(silent).spread == 0
    assert not fingerprint(silent).values.any()
    assert same_sound(silent, silent) == same_sound(silent, spoken(ONE)) == 0
