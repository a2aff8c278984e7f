"""Whisper's checkpoints identify languages by their language tokens, as transformers computes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from importers.test_transformers_models import our_posteriors
from models.pretrained_encoders import tiny
from safetensors.torch import load_file, save_file

from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import open_model

WINDOW = 16000
START, FIRST = 50258, 50259
REAL = Path(os.environ.get("LID_WHISPER_BASE", "none"))
REASON = "set LID_WHISPER_BASE to a folder with openai/whisper-base"


def write_whisper(folder: Path, words: int = 51865, with_head: bool = True) -> Any:
    """Save a tiny Whisper with windows of 1 s; return it with the head that scores words."""
    base = tiny("whisper", vocab_size=words, max_source_positions=50, decoder_start_token_id=START)
    model = transformers.WhisperForConditionalGeneration(base.config).eval()
    model.model.load_state_dict(base.state_dict())
    (model if with_head else model.model).save_pretrained(folder)
    return model


def wave(samples: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=samples) * np.sin(np.arange(samples) / 2000) / 4).astype(np.float32)


@torch.no_grad()
def their_posteriors(model: Any, samples: np.ndarray, languages: int = 99) -> torch.Tensor:
    """Return the softmax over the language tokens after the start token, for one window."""
    extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
    mel = extractor(samples, sampling_rate=16000, return_tensors="pt")["input_features"]
    logits = model(mel, decoder_input_ids=torch.tensor([[START]])).logits[0, -1]
    return logits[FIRST : FIRST + languages].log_softmax(dim=0)


@pytest.mark.parametrize("with_head", [True, False])
def test_posteriors_are_those_of_the_language_tokens(with_head, tmp_path):
    model = write_whisper(tmp_path, with_head=with_head)
    saved = open_model(tmp_path)
    batch = [wave(9000), wave(WINDOW, 1), wave(300, 2)]
    expected = torch.stack([their_posteriors(model, each) for each in batch])
    assert torch.allclose(our_posteriors(saved, batch), expected, atol=1e-5)
    assert torch.allclose(our_posteriors(saved, batch[2:]), expected[2:], atol=1e-5)
    assert expected.exp().max() > 0.015  # not all 0.0101, or nothing was compared


def test_labels_are_codes_in_the_order_of_the_tokens(tmp_path):
    write_whisper(tmp_path)
    languages = open_model(tmp_path).languages
    tokens = ["en", "zh", "he", "no", "nn", "jw", "haw", "su"]
    places = [list(transformers.models.whisper.tokenization_whisper.LANGUAGES).index(t) for t in tokens]
    assert [languages[place] for place in places] == [
        *("eng", "cmn", "heb", "nor", "nno", "jav", "haw", "sun")
    ]
    assert len(set(languages)) == len(languages) == 99


def test_the_vocabulary_of_version_3_has_cantonese(tmp_path):
    model = write_whisper(tmp_path, words=51866)
    saved = open_model(tmp_path)
    assert (len(saved.languages), saved.languages[99]) == (100, "yue")
    ours = our_posteriors(saved, [wave(9000)])[0]
    assert torch.allclose(ours, their_posteriors(model, wave(9000), 100), atol=1e-5)


def test_a_model_for_english_is_refused(tmp_path):
    write_whisper(tmp_path, words=51864)
    with pytest.raises(LidError, match="this Whisper model is for English only"):
        open_model(tmp_path)


def test_longer_recordings_are_cut_into_windows_whose_evidence_is_weighted(tmp_path):
    """Two windows of 1 s and one of 0.25 s: log posteriors weighted by 4, 4 and 1, and normalised."""
    model = write_whisper(tmp_path)
    parts = [wave(WINDOW, 1), wave(WINDOW, 2), wave(WINDOW // 4, 3)]
    logs = [their_posteriors(model, part) for part in parts]
    expected = ((4 * logs[0] + 4 * logs[1] + logs[2]) / 9).log_softmax(dim=0)
    batch = [np.concatenate(parts), wave(5000)]
    ours = our_posteriors(open_model(tmp_path), batch)
    assert torch.allclose(ours[0], expected, atol=1e-5)
    assert torch.allclose(ours[1], their_posteriors(model, batch[1]), atol=1e-5)


def test_the_embedding_ends_with_the_mean_of_what_the_encoder_heard(tmp_path):
    model = write_whisper(tmp_path)
    samples = wave(8000)
    extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
    mel = extractor(samples, sampling_rate=16000, return_tensors="pt")["input_features"]
    with torch.no_grad():
        heard = model.model.encoder(mel).last_hidden_state[0, :25].mean(dim=0)
        embedding = open_model(tmp_path).model.embed(torch.from_numpy(samples)[None], torch.tensor([8000]))[0]
    assert torch.allclose(embedding[99:], heard, atol=1e-5)
    assert torch.allclose(embedding[:99], their_posteriors(model, samples), atol=1e-5)


def test_weights_that_are_not_whispers_are_one_line(tmp_path):
    write_whisper(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    del weights["model.encoder.conv1.weight"]
    save_file(weights, file)
    with pytest.raises(
        LidError, match=r"do not fit config\.json, such as frontend\.upstream\.encoder\.conv1"
    ):
        open_model(tmp_path)
    save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(LidError, match=r"the weights lack decoder\.embed_tokens\.weight"):
        open_model(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason=REASON)
def test_the_real_checkpoint_answers_as_transformers_does():
    """One second; its window of 30 s takes seconds to compute. Scores are some 10, with 1e-5 of rounding."""
    theirs = transformers.WhisperModel.from_pretrained(REAL, dtype=torch.float32).eval()
    samples = wave(16000, 5)
    mel = transformers.WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        states = theirs(mel["input_features"], decoder_input_ids=torch.tensor([[START]])).last_hidden_state
        logits = states[0, 0] @ theirs.decoder.embed_tokens.weight[FIRST : FIRST + 99].T
    ours = our_posteriors(open_model(REAL), [samples])[0]
    assert torch.allclose(ours, logits.log_softmax(dim=0), atol=1e-4)
