"""Recordings are read, checked and compared; a source with sounds of another language is refused."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from local_sounds import spoken

from lid_toolkit.audio.fingerprint import RATE
from lid_toolkit.errors import LidError
from local.takes import Take, choose, listen, read, refuse_unreadable

TEXTS = (
    "one two three four five",
    "press one to hear your messages",
    "the number is not in service",
    "good evening",
)


def take(tmp_path, name, wave=None, language="eng", source="a", suffix=".wav", gain=0.9):
    path = tmp_path / f"{source}-{name}{suffix}"
    if wave is not None:
        soundfile.write(path, gain * wave, RATE)
    return Take(f"{source}-{name}", language, source, source, path, tmp_path / f"{source}-{name}.copy.wav")


def heard(tmp_path, texts, language="eng", source="a", voice="en-us+m3", gain=0.9):
    return [
        listen(take(tmp_path, str(number), spoken(text, voice), language, source, gain=gain), 0.5)
        for number, text in enumerate(texts)
    ]


def test_headerless_formats_are_copied_to_wav(tmp_path):
    wave = spoken(TEXTS[0])
    one = take(tmp_path, "x", suffix=".ALS")
    at_11k = np.interp(np.arange(0, len(wave), RATE / 11025), np.arange(len(wave)), wave)
    one.path.write_bytes(np.round(127 * at_11k + 128).astype(np.uint8).tobytes())
    found = listen(one, 0.5)
    assert (found.fault, found.utterance.audio) == ("", one.converted)
    assert found.utterance.duration == pytest.approx(len(wave) / RATE, abs=0.01)
    copied, rate = read(one.converted)
    assert rate == 11025
    assert np.abs(copied - read(one.path)[0]).max() < 1e-4


def test_durations_and_names_drop_recordings(tmp_path):
    wave = spoken(TEXTS[0])
    assert listen(take(tmp_path, "x", wave[: RATE // 3]), 0.5).fault == "too short (0.33 s)"
    assert listen(take(tmp_path, "x", np.tile(wave, 20)), 0.5).fault.startswith("too long")


def test_broken_recordings_are_listed_and_many_are_refused(tmp_path):
    (tmp_path / "a-bad.wav").write_bytes(b"RIFF no wave")
    good, bad = listen(take(tmp_path, "good", spoken(TEXTS[0])), 0.5), listen(take(tmp_path, "bad"), 0.5)
    assert good.fault == ""
    assert choose([good, bad])[1].keys() == {"a-bad"}
    refuse_unreadable([good] * 99 + [bad], tmp_path)
    with pytest.raises(LidError, match=r"2 of 99 recordings cannot be read, e\.g\. .*bad.wav"):
        refuse_unreadable([good] * 97 + [bad] * 2, tmp_path)


def test_a_copy_within_a_language_is_dropped_and_one_across_languages_on_both_sides(tmp_path):
    one = heard(tmp_path, TEXTS)
    again = heard(tmp_path, TEXTS[:1], source="b", gain=0.1)
    many = heard(
        tmp_path, [f"{7 * number} {number} and {3 * number}" for number in range(10, 19)], "fra", "c"
    )
    other = [*many, *heard(tmp_path / "", TEXTS[1:2], "fra", "c2", gain=0.3)]
    kept, dropped = choose([*one, *again, *many, *[replace_source(h, "c") for h in other[len(many) :]]])
    assert dropped == {
        "b-0": "duplicate (of a-0)",
        "a-1": "in several languages (also c2-0)",
        "c2-0": "in several languages (also a-1)",
    }
    assert len(kept) == 3 + 9


def replace_source(found, source):
    return type(found)(found.utterance, source, found.fault, found.fingerprint)


def test_a_source_that_copies_another_language_is_refused_and_the_first_is_kept(tmp_path):
    original = heard(tmp_path, TEXTS)
    translation = heard(
        tmp_path, [*TEXTS[:2], "something else entirely", "and more of it"], "ita", "b", gain=0.2
    )
    kept, dropped = choose([*original, *translation])
    assert [utterance.key for utterance in kept] == [f"a-{number}" for number in range(4)]
    assert dropped == {
        f"b-{number}": "source refused (2 of 4 recordings are the same as in a)" for number in range(4)
    }
