"""Inputs of pretrained encoders against transformers' own feature extractors, alone and padded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models.test_masking import batch
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from lid_toolkit.models.frontends.pretrained.inputs import (
    KaldiFilterbank,
    NormalizedWave,
    WhisperLogMel,
    WhisperWindows,
)

LENGTHS = [16000, 9000, 560, 401, 7123, 31999]


def speech(length: int) -> np.ndarray:
    """Noise with an envelope, so that frames differ in energy."""
    generator = np.random.default_rng(length)
    wave = generator.normal(size=length) * np.exp(np.sin(np.arange(length) / 900.0) * 3 - 4)
    return wave.astype(np.float32)


@pytest.mark.parametrize("length", [800, 16000, 48161])
@pytest.mark.parametrize("normalize", [True, False])
def test_waveforms_are_normalised_as_transformers_does(length, normalize):
    wave = speech(length)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=normalize)(wave, sampling_rate=16000)["input_values"][0]
    inputs = NormalizedWave("unit_variance" if normalize else "none", 400)
    ours, lengths = inputs(torch.from_numpy(wave)[None], torch.tensor([length]))
    assert lengths.tolist() == [length]
    assert np.allclose(ours[0], theirs, atol=1e-5)


@pytest.mark.parametrize("level", [1e-3, 1e-1])
def test_waveforms_are_normalised_as_s3prl_does(level):
    wave = level * torch.from_numpy(speech(8000))
    ours, _ = NormalizedWave("layer_norm", 400)(wave[None], torch.tensor([8000]))
    assert torch.allclose(ours[0], torch.nn.functional.layer_norm(wave, wave.shape), atol=1e-5)


@pytest.mark.parametrize("length", [560, 720, 16000, 48161])
def test_filter_banks_are_those_of_transformers(length):
    wave = speech(length)
    made = SeamlessM4TFeatureExtractor()(wave, sampling_rate=16000, return_tensors="np")
    ours, frames = KaldiFilterbank()(torch.from_numpy(wave)[None], torch.tensor([length]))
    valid = int(made["attention_mask"].sum())
    assert frames.tolist() == [valid]
    # A band that hardly varies is divided by little: what float32 rounds away shows there.
    assert np.allclose(ours[0], made["input_features"][0, :valid], atol=2e-3)


@pytest.mark.parametrize("length", [400, 16000, 48161, 479700])
def test_log_mel_is_that_of_transformers_less_its_padding(length):
    wave = speech(length)
    theirs = WhisperFeatureExtractor()(wave, sampling_rate=16000)["input_features"][0]
    ours, frames = WhisperLogMel(80)(torch.from_numpy(wave)[None], torch.tensor([length]))
    assert frames.tolist() == [length // 160]
    assert np.allclose(ours[0], theirs[:, : length // 160], atol=1e-4)


@pytest.mark.parametrize("inputs", [NormalizedWave("layer_norm", 400), KaldiFilterbank(), WhisperLogMel(80)])
def test_padding_changes_no_input(inputs):
    waves, padded, counts = batch([*LENGTHS, 1], spare=500)
    made, lengths = inputs(padded, counts)
    time = 2 if isinstance(inputs, WhisperLogMel) else 1
    for row, wave in enumerate(waves):
        alone, own = inputs(wave[None], torch.tensor([len(wave)]))
        assert own[0] == lengths[row]
        assert torch.allclose(made[row].narrow(time - 1, 0, int(own[0])), alone[0], atol=1e-5)
        assert not made[row].narrow(time - 1, int(own[0]), made.shape[time] - int(own[0])).any()


@pytest.mark.parametrize("length", [300, 16000, 479900, 480000])
def test_whole_windows_are_those_of_transformers(length):
    wave = speech(length)
    theirs = WhisperFeatureExtractor()(wave, sampling_rate=16000)["input_features"][0]
    ours, frames = WhisperWindows(80, 480000)(torch.from_numpy(wave)[None], torch.tensor([length]))
    assert frames.tolist() == [3000]
    assert np.allclose(ours[0], theirs, atol=1e-4)


def test_whole_windows_of_longer_recordings_are_those_of_their_parts():
    window, long, short = 16000, speech(40000), speech(9000)
    inputs = WhisperWindows(80, window)
    padded = torch.zeros(2, 41000)
    padded[0, :40000], padded[1, :9000] = torch.from_numpy(long), torch.from_numpy(short)
    padded[1, 9000:] = 7.0
    ours, frames = inputs(padded, torch.tensor([40000, 9000]))
    assert frames.tolist() == [300, 100]
    for begin, row, part in ((0, 0, long[:16000]), (200, 0, long[32000:]), (0, 1, short)):
        alone, _ = inputs(torch.from_numpy(part)[None], torch.tensor([len(part)]))
        assert torch.equal(ours[row, :, begin : begin + 100], alone[0])
