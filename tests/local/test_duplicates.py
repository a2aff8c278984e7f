"""The same recording is found again behind another level, coding or margin; others are left alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from local_sounds import spoken

from local.prompts.duplicates import fingerprint, first_copies
from local.prompts.speech import RATE

ONE = "The number you have dialed is not in service."
OTHERS = ("The person at extension five is on the phone.", "Press one to hear your messages now.")


def through_mu_law(wave):
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format="WAV", subtype="ULAW")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda wave: wave,
        lambda wave: 0.1 * wave,
        lambda wave: np.pad(wave, (4000, 1000)),
        lambda wave: through_mu_law(0.5 * wave),
    ],
    ids=["same", "quieter", "padded", "mu-law"],
)
def test_a_copy_is_recognised(change):
    wave = spoken(ONE)
    assert fingerprint(wave) @ fingerprint(change(wave)) > 0.97


def test_other_texts_and_other_voices_are_no_copies():
    waves = [spoken(ONE), spoken(ONE, "en-us+f2"), *(spoken(text) for text in OTHERS)]
    assert (
        first_copies([fingerprint(wave) for wave in waves], [len(wave) / RATE for wave in waves])
        == [None] * 4
    )


def test_a_copy_points_to_the_earliest():
    prints = [fingerprint(spoken(text)) for text in (ONE, *OTHERS)]
    order = [0, 1, 0, 2, 1, 0]
    assert first_copies([prints[i] for i in order], [3.0] * 6) == [None, None, 0, None, 1, 0]


def test_recordings_of_unlike_length_are_no_copies():
    print_ = fingerprint(spoken(ONE))
    assert first_copies([print_, print_], [2.0, 3.0]) == [None, None]


def test_silence_copies_nothing():
    silent = fingerprint(np.zeros(8000, np.float32))
    assert first_copies([silent, silent], [1.0, 1.0]) == [None, None]


def test_nothing_has_no_copies():
    assert first_copies([], []) == []
