"""The library's three lines: the same answer in any batch, one record for each input, clear refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, beeps, vowel

import lid_toolkit
from lid_toolkit.audio.reader import AudioError
from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.training.device import named_device


@pytest.fixture(scope="module")
def lid(model_file):
    return LanguageIdentifier.from_pretrained(model_file, "cpu", policy=DecisionPolicy(min_seconds=0))


@pytest.fixture
def wave():
    return (np.round(beeps("low", 16000, 3) * 32768) / 32768).astype(np.float32)


def test_a_part_of_a_recording_and_another_rate(lid, wave, tmp_path):
    soundfile.write(tmp_path / "a.flac", wave, RATE)
    part = lid.identify((str(tmp_path / "a.flac"), 0.25, 0.75), vad="none")
    assert part.duration == 0.5
    assert part.scores == pytest.approx(lid.identify(wave[4000:12000], vad="none").scores, abs=1e-4)
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
    records = lid.identify(waves, vad="none")
    for one, other in zip(records, lid.identify(waves, batch_size=2, vad="none"), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_restricted_languages_and_top_k(lid, wave):
    every = lid.identify(wave, vad="none")
    assert lid.languages == LANGUAGES
    assert list(every.scores.values()) == sorted(every.scores.values(), reverse=True)
    assert sum(every.scores.values()) == pytest.approx(1)
    assert (every.status, every.windows, every.vad, every.duration) == ("ok", 1, "none", 1.0)
    two = lid.identify(wave, languages=["low", "high"], vad="none")
    total = every.scores["low"] + every.scores["high"]
    assert two.scores == pytest.approx({k: every.scores[k] / total for k in ("low", "high")}, abs=1e-6)
    assert list(lid.identify(wave, top_k=1, vad="none").scores) == [every.language]
    assert len(lid.identify(wave, top_k=99, vad="none").scores) == 3
    chosen = lid.identify(wave, policy=DecisionPolicy(candidates=("high",)), vad="none")
    assert (chosen.language, chosen.score) == ("high", 1.0)
    assert lid.identify(wave, 16, ["low"], vad="none").language == "low"


def test_nothing_in_nothing_out(lid):
    assert lid.identify([]) == []
    assert list(lid.identify(iter(()))) == []
    assert lid.embed([]).shape == (0, 8)


@pytest.mark.parametrize(
    "speech",
    [("/none.wav", "/other.wav"), 5, None, {"audio": []}, ("a.wav", "0", "1")],
)
def test_what_is_no_speech_is_refused(lid, speech):
    for use in (lid.identify, lid.embed):
        with pytest.raises(LidError, match=r"speech: \w+ is not supported \(give a path, samples"):
            use(speech)


def test_bad_arguments_are_refused_before_any_work(lid, wave):
    for arguments, message in (
        ({"languages": ["lov"]}, r"languages: the model does not know 'lov' \(did you mean 'low'"),
        ({"languages": "low"}, "candidates: 'low' is not a list"),
        ({"languages": []}, "the list is empty"),
        ({"top_k": 0}, "top_k: must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size: must be at least 1, not 0"),
        ({"window": 0}, "window: must be above 0 s"),
        ({"vad": "webrtc"}, "unknown speech detector 'webrtc'"),
        ({"policy": DecisionPolicy(fallback="eng")}, "fallback: the model does not know 'eng'"),
        ({"sample_rate": 0}, "sample_rate: 0 is not a rate in Hz"),
    ):
        for speech in (wave, iter([wave])):
            with pytest.raises(LidError, match=message):
                lid.identify(speech, **arguments)
    with pytest.raises(LidError, match="batch_size: must be at least 1, not 0"):
        lid.embed(wave, batch_size=0)


def test_loading(model_file, tmp_path):
    assert lid_toolkit.LanguageIdentifier.from_pretrained(model_file.parent, "cpu").rate == RATE
    with pytest.raises(LidError, match="does not exist"):
        LanguageIdentifier.from_pretrained(tmp_path)
    with pytest.raises(LidError, match="'tpu' is not supported"):
        LanguageIdentifier.from_pretrained(model_file, "tpu")
    (tmp_path / "valid.loss.best.pth").write_bytes(model_file.read_bytes())
    assert LanguageIdentifier.from_pretrained(tmp_path, "cpu").languages == LANGUAGES


def test_no_signal_gets_no_answer(lid, wave, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1), RATE)
    soundfile.write(tmp_path / "b.flac", np.zeros(RATE), RATE)
    cancelled = np.stack([wave, -wave], axis=1)
    for speech in (np.zeros(RATE), np.full(RATE, 0.25), tmp_path / "b.flac"):
        for vad in ("none", "energy"):
            record = lid.identify(speech, vad=vad)
            assert (record.status, record.language, record.score, record.windows) == (
                "no_speech",
                None,
                None,
                0,
            )
            assert record.reason == "no signal: it is silent throughout (remove it)"
            assert (record.duration, record.vad) == (1.0, vad)
            assert record.speech_seconds == (None if vad == "none" else 0.0)
        with pytest.raises(AudioError, match="no signal"):
            lid.embed(speech)
    for speech in (tmp_path / "a.wav", cancelled, (cancelled, RATE)):
        message = r"mean of its 2 channels is silent \(if they cancel.*choose one"
        with pytest.raises(AudioError, match=message):
            lid.embed(speech)
        assert re.search(message, lid.identify(speech).reason)
    quiet = wave / np.abs(wave).max() * np.float32(2e-4)
    assert lid.identify([quiet], vad="none")[0].status == "ok"


def test_a_detector_that_finds_nothing_abstains_and_one_that_does_says_how_much(lid, wave):
    """A steady hum is no speech by energy; half a second of a louder sound is."""
    steady = np.sin(np.arange(2 * RATE) * 0.1).astype(np.float32) * 0.1
    record = lid.identify(steady, vad="energy")
    assert (record.status, record.reason, record.speech_seconds) == ("no_speech", "no speech was found", 0.0)
    spoken = lid.identify(vowel(3.0), vad="energy")
    assert spoken.status == "ok"
    assert 1 < spoken.speech_seconds < 2.5
    limit = DecisionPolicy(min_speech_seconds=2.9)
    assert lid.identify(vowel(3.0), vad="energy", policy=limit).status == "no_speech"
    assert lid.identify(wave, vad="none", policy=limit).status == "ok"


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
