"""The library's three lines: every kind of input, the same answer in any batch, clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, beeps

import lid_toolkit
from lid_toolkit.audio.reader import AudioError
from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.training.device import named_device


@pytest.fixture
def lid(model_file):
    return LanguageIdentifier.from_pretrained(model_file, "cpu")


@pytest.fixture
def wave():
    return (np.round(beeps("low", 16000, 3) * 32768) / 32768).astype(np.float32)


def test_every_kind_of_input_gets_the_same_answer(lid, wave, tmp_path):
    soundfile.write(tmp_path / "ä b.wav", wave, RATE, subtype="PCM_16")
    integers = (wave * 32768).astype(np.int16)
    inputs = [
        tmp_path / "ä b.wav",
        str(tmp_path / "ä b.wav"),
        (tmp_path / "ä b.wav", 0.0, 1.0),
        wave,
        wave.astype(np.float64),
        integers,
        np.stack((integers, integers), axis=1),
    ]
    first, *rest = lid.identify(inputs)
    assert first.duration == 1.0
    assert first.score == max(first.scores.values()) == first.scores[first.language]
    assert sum(first.scores.values()) == pytest.approx(1)
    for answer in [*rest, lid.identify(inputs[0])]:
        assert answer.language == first.language
        assert answer.scores == pytest.approx(first.scores, abs=1e-5)


def test_a_part_of_a_recording_and_another_rate(lid, wave, tmp_path):
    soundfile.write(tmp_path / "a.flac", wave, RATE)
    part = lid.identify((str(tmp_path / "a.flac"), 0.25, 0.75))
    assert part.duration == 0.5
    assert part.scores == pytest.approx(lid.identify(wave[4000:12000]).scores, abs=1e-4)
    soundfile.write(tmp_path / "b.wav", wave[::2], RATE // 2)
    assert lid.identify(tmp_path / "b.wav").duration == pytest.approx(1.0)


def test_answers_and_embeddings_do_not_depend_on_the_batch(lid):
    waves = [beeps("high", samples, samples) for samples in (9, 200, 3000, 9001, 16000)]
    together, alone = lid.embed(waves, batch_size=5), lid.embed(waves, batch_size=1)
    assert together.shape == (5, 8)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(lid.embed(waves[2]), together[2:3], atol=1e-5)
    for one, other in zip(lid.identify(waves), lid.identify(waves, batch_size=2), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_restricted_languages_and_top_k(lid, wave):
    every = lid.identify(wave)
    assert lid.languages == LANGUAGES
    assert list(every.scores.values()) == sorted(every.scores.values(), reverse=True)
    two = lid.identify(wave, languages=["low", "high"])
    total = every.scores["low"] + every.scores["high"]
    assert two.scores == pytest.approx({k: every.scores[k] / total for k in ("low", "high")}, abs=1e-6)
    assert list(lid.identify(wave, top_k=1).scores) == [every.language]
    assert len(lid.identify(wave, top_k=99).scores) == 3


def test_nothing_in_nothing_out(lid):
    assert lid.identify([]) == []
    assert lid.embed([]).shape == (0, 8)


@pytest.mark.parametrize(
    ("speech", "message"),
    [
        (np.zeros(0, np.float32), "array 0: no samples"),
        (np.array([0.1, np.nan]), "array 0: samples are not finite"),
        (np.array([0.1, 30000.0]), r"array 0: the largest sample is 30000 \(scale floats"),
        (("/none.wav", "/other.wav"), "speech: tuple is not supported"),
        (torch.zeros(5), "speech: Tensor is not supported"),
        (np.zeros(5, np.int32), "type int32 is not supported"),
        (np.zeros((2, 5), np.float32), r"shape \(2, 5\)"),
        (np.zeros((5, 2, 2), np.float32), r"shape \(5, 2, 2\)"),
        ("/none.wav", r"/none\.wav: does not exist"),
        (("/none.wav", 2.0, 1.0), "from 2.0 s to 1.0 s"),
        (("/none.wav", float("nan"), 1.0), "from nan s"),
    ],
)
def test_bad_speech_is_refused_by_name(lid, speech, message):
    with pytest.raises(LidError, match=message):
        lid.identify(speech)


def test_bad_arguments_are_refused(lid, wave, tmp_path):
    with pytest.raises(LidError, match=r"does not know 'lov' \(did you mean 'low'"):
        lid.identify(wave, languages=["lov"])
    with pytest.raises(LidError, match="'low' is not a list"):
        lid.identify(wave, languages="low")
    with pytest.raises(LidError, match="the list is empty"):
        lid.identify(wave, languages=[])
    with pytest.raises(LidError, match="top_k: must be at least 1, not 0"):
        lid.identify(wave, top_k=0)
    with pytest.raises(LidError, match="batch_size: must be at least 1, not 0"):
        lid.embed(wave, batch_size=0)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    with pytest.raises(AudioError, match="cannot read samples"):
        lid.identify((tmp_path / "a.wav", 0.5, 1.5))


def test_loading(model_file, tmp_path):
    assert lid_toolkit.LanguageIdentifier.from_pretrained(model_file.parent, "cpu").rate == RATE
    with pytest.raises(LidError, match="does not exist"):
        LanguageIdentifier.from_pretrained(tmp_path)
    with pytest.raises(LidError, match="'tpu' is not supported"):
        LanguageIdentifier.from_pretrained(model_file, "tpu")
    (tmp_path / "valid.loss.best.pth").write_bytes(model_file.read_bytes())
    assert LanguageIdentifier.from_pretrained(tmp_path, "cpu").languages == LANGUAGES


def test_arrays_of_another_rate(lid, wave):
    """Taken for the model's rate, half the samples would be speech played twice as fast."""
    half = wave[::2].copy()
    expected = lid.identify((half, RATE // 2))
    assert expected.duration == pytest.approx(len(wave) / RATE)
    assert lid.identify(half, sample_rate=8000).scores == expected.scores
    assert lid.identify([half], sample_rate=np.float64(8000.0))[0].scores == expected.scores
    mixed = lid.identify([(half, 8000), wave, (wave, RATE)], sample_rate=RATE)
    assert [answer.duration for answer in mixed] == pytest.approx([len(wave) / RATE] * 3)
    assert lid.identify(half).duration == pytest.approx(len(half) / RATE)
    assert np.allclose(lid.embed((half, 8000)), lid.embed(half, sample_rate=8000))
    assert repr(lid) == "<LanguageIdentifier: 3 languages, arrays at 16000 Hz, on cpu>"
    for rate in (0, -8000, float("nan"), "8000", True, 10**12):
        with pytest.raises(LidError, match=r"sample_rate: .* is not a rate in Hz"):
            lid.identify((half, rate))


def test_no_signal_gets_no_answer(lid, wave, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1), RATE)
    soundfile.write(tmp_path / "b.flac", np.zeros(RATE), RATE)
    silent = (
        np.zeros(RATE),
        np.full(RATE, 0.25),
        np.stack([wave, -wave], axis=1),
        tmp_path / "a.wav",
        tmp_path / "b.flac",
    )
    for speech in silent:
        with pytest.raises(AudioError, match="no signal"):
            lid.identify(speech)
    for speech in (tmp_path / "a.wav", silent[2], (silent[2], RATE)):
        with pytest.raises(
            AudioError, match=r"mean of its 2 channels is silent \(if they cancel.*choose one"
        ):
            lid.embed(speech)
    quiet = wave / np.abs(wave).max() * np.float32(2e-4)
    assert lid.identify([quiet])[0].duration == 1.0


def test_devices(model_file, monkeypatch):
    for device in ("cpu", torch.device("cpu"), "auto"):
        assert LanguageIdentifier.from_pretrained(model_file, device).device.type in ("cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [named_device(name) for name in ("auto", "cuda", "cuda:1", torch.device("cuda", 1))] == [
        torch.device("cuda", number) for number in (0, 0, 1, 1)
    ]
    with pytest.raises(LidError, match=r"device cuda:2: this machine has 2 GPUs \(give cuda:1 or a lower"):
        named_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert named_device("auto") == torch.device("cpu")
    with pytest.raises(LidError, match=r"device cuda: this machine has no GPUs \(give cpu\)"):
        named_device("cuda")
    for there in (True, False):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there)
        if there:
            assert named_device("mps") == torch.device("mps")
        else:
            with pytest.raises(LidError, match="device mps: this machine has no Metal GPU"):
                named_device("mps")
    for name in ("tpu", "meta", "", None, 1.5):
        with pytest.raises(
            LidError, match=r"device: .* is not supported .*give auto, cpu, cuda, cuda:1 or mps"
        ):
            named_device(name)
