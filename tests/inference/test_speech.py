"""Every kind of input gets the same answer, and a bad one a record that says why."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import RATE, beeps

from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier


@pytest.fixture(scope="module")
def lid(model_file):
    return LanguageIdentifier.from_pretrained(model_file, "cpu")


@pytest.fixture
def wave():
    return (np.round(beeps("low", 16000, 3) * 32768) / 32768).astype(np.float32)


@pytest.fixture
def path(wave, tmp_path):
    soundfile.write(tmp_path / "ä b.wav", wave, RATE, subtype="PCM_16")
    return tmp_path / "ä b.wav"


def test_every_kind_of_input_gets_the_same_answer(lid, wave, path):
    integers = (wave * 32768).astype(np.int16)
    content = path.read_bytes()
    inputs = [
        path,
        str(path),
        (path, 0.0, 1.0),
        (wave, RATE),
        wave.astype(np.float64),
        wave.astype(np.float16),
        integers,
        integers.astype(np.int32) << 16,
        np.stack((integers, integers), axis=1),
        wave[None],
        torch.from_numpy(wave),
        torch.from_numpy(wave)[None].requires_grad_(),
        torch.from_numpy(integers),
        (torch.from_numpy(integers), RATE),
        content,
        bytearray(content),
        memoryview(content),
        io.BytesIO(content),
        path.open("rb"),
        (io.BytesIO(content), 0.0, 1.0),
        {"array": wave, "sampling_rate": RATE},
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(path)},
    ]
    records = lid.identify(inputs, vad="none")
    expected = lid.identify(wave, vad="none")
    assert expected.duration == 1.0
    for item, record in zip(inputs, records, strict=True):
        assert record.status == "ok", (item, record.reason)
        assert record.scores == pytest.approx(expected.scores, abs=1e-3), item
    coarse = np.round(wave * 127 + 128).astype(np.uint8)
    exact = lid.identify((coarse.astype(np.float32) - 128) / 128, vad="none")
    assert lid.identify(coarse, vad="none").scores == exact.scores
    rough = lid.identify(torch.from_numpy(wave).bfloat16(), vad="none")
    assert rough.language == expected.language


def test_a_file_object_is_read_from_its_position_and_its_name_counts(lid, wave, tmp_path):
    soundfile.write(tmp_path / "a.flac", wave, RATE)
    content = io.BytesIO(b"12345678" + (tmp_path / "a.flac").read_bytes())
    content.seek(8)
    record = lid.identify(content, vad="none")
    assert (record.status, record.duration) == ("ok", 1.0)
    (tmp_path / "a.sln16").write_bytes((wave * 32768).astype("<i2").tobytes())
    with (tmp_path / "a.sln16").open("rb") as headerless:
        assert lid.identify(headerless, vad="none").duration == 1.0


class Broken(io.RawIOBase):
    def read(self, _size=-1):
        raise OSError(5, "Input/output error")

    def seekable(self):
        return True


@pytest.mark.parametrize(
    ("speech", "reason"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.array([0.1, np.nan]), "samples are not finite"),
        (np.array([0.1, 30000.0]), "the largest sample is 30000 (scale floats"),
        (np.zeros(5, np.int64), "type int64 is not supported (give floats, int16, int32, uint8)"),
        (np.zeros(5, bool), "type bool is not supported"),
        (np.zeros(5, complex), "type complex128 is not supported"),
        (np.zeros((2, 5), np.float32), "shape (2, 5) is not supported (give (samples,)"),
        (np.zeros((5, 2, 2), np.float32), "shape (5, 2, 2)"),
        (torch.tensor(0.5), "shape () is not supported"),
        ((np.zeros(5), -8000), "-8000 is not a rate in Hz"),
        ((np.zeros(5), "8000"), "'8000' is not a rate in Hz"),
        ((np.zeros(5), True), "True is not a rate in Hz"),
        ("/none.wav", "does not exist (check the path)"),
        ("/none\0.wav", "embedded null byte"),
        ("/", "is a directory"),
        (("/none.wav", 2.0, 1.0), "no audio from 2.0 s to 1.0 s"),
        (("/none.wav", float("nan"), 1.0), "no audio from nan s"),
        (b"", "empty file"),
        (b"not audio at all, only text", "cannot be decoded"),
        (io.BytesIO(b""), "empty file"),
        (io.StringIO("text"), "cannot be read"),
        (Broken(), "cannot be read: Input/output error"),
        ({"bytes": None, "path": None}, "no audio"),
        ({"array": None, "path": "/none.wav"}, "does not exist"),
    ],
)
def test_a_bad_input_among_good_ones_is_a_failed_record(lid, wave, speech, reason):
    first, bad, last = lid.identify([wave, speech, wave], vad="none")
    assert (first.status, last.scores) == ("ok", first.scores)
    assert (bad.status, bad.language, bad.score, dict(bad.scores)) == ("failed", None, None, {})
    assert reason in bad.reason
    if not hasattr(speech, "read"):
        assert lid.identify(speech, vad="none") == bad
        with pytest.raises(LidError):
            lid.embed([wave, speech])


@pytest.mark.parametrize("item", [None, 5, ["a.wav"], ("a.wav", "b.wav"), {"text": "a"}])
def test_what_is_no_speech_is_a_failed_record_in_a_list(lid, wave, item):
    bad, good = lid.identify([item, wave], vad="none")
    assert bad.status == "failed"
    assert bad.reason.endswith("several in a list)")
    assert good.status == "ok"


def test_times_beyond_the_end_are_told_in_seconds(lid, path):
    record = lid.identify((path, 0.5, 1.5))
    assert record.reason == "no audio from 0.5 s to 1.5 s: it lasts 1.000 s (correct the times)"


def test_arrays_of_another_rate(lid, wave):
    """Taken for the model's rate, half the samples would be speech played twice as fast."""
    half = wave[::2].copy()
    expected = lid.identify((half, RATE // 2), vad="none")
    assert expected.duration == pytest.approx(1.0)
    assert lid.identify(half, sample_rate=8000, vad="none").scores == expected.scores
    assert lid.identify([half], sample_rate=np.float64(8000.0), vad="none")[0].scores == expected.scores
    mixed = lid.identify([(half, 8000), wave, (wave, RATE)], sample_rate=RATE)
    assert [record.duration for record in mixed] == pytest.approx([1.0] * 3)
    assert lid.identify(half).duration == pytest.approx(0.5)
    assert np.allclose(lid.embed((half, 8000)), lid.embed(half, sample_rate=8000))
