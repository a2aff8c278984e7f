"""Whisper's answer and what it heard, as one vector: transformers' own numbers, in every batch."""

from __future__ import annotations

import pytest
import torch
from models.frontends.pretrained.test_frontend import LENGTHS, check_batch
from models.pretrained_encoders import save_tiny, tiny
from models.test_masking import batch
from transformers import WhisperForConditionalGeneration

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_component, build_frontend, with_architecture
from lid_toolkit.models.frontends.pretrained.lora import Lora
from lid_toolkit.models.frontends.pretrained.whisper_language import WhisperLanguageFrontend

VOCABULARY = {"vocab_size": 51865, "decoder_start_token_id": 50258}
ENGLISH, FRENCH, CZECH = 50259, 50265, 50283
PICKED = ["ces", "fr", "English"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"), "whisper", **VOCABULARY)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def make(folder, **conf):
    return WhisperLanguageFrontend(str(folder), **conf).eval()


@torch.no_grad()
def test_posteriors_and_mean_are_those_of_transformers(folder):
    """Only the configured window is accepted by transformers: it is configured to the utterance's length."""
    samples, before, after = 16000, 3200, 6400
    wave = batch([samples])[0][0]
    frontend = make(folder, languages=PICKED, silence=(0.2, 0.4))
    feats, frames = frontend(wave[None], torch.tensor([samples]))

    longer = torch.nn.functional.pad(wave, (before, after))
    mel, _ = frontend.inputs(longer[None], torch.tensor([len(longer)]))
    size = len(longer) // 320
    theirs = WhisperForConditionalGeneration(tiny("whisper", **VOCABULARY, max_source_positions=size).config)
    weights = tiny("whisper", **VOCABULARY).state_dict()
    weights["encoder.embed_positions.weight"] = weights["encoder.embed_positions.weight"][:size]
    theirs.model.load_state_dict(weights)
    output = theirs.eval()(mel, decoder_input_ids=torch.tensor([[50258]]))
    logits = output.logits[0, 0, [CZECH, FRENCH, ENGLISH]]
    mean = output.encoder_last_hidden_state[0, before // 320 : (before + samples) // 320].mean(dim=0)

    assert frames.tolist() == [1]
    assert torch.allclose(feats[0, 0, :3], logits.log_softmax(dim=0), atol=1e-4)
    assert torch.allclose(feats[0, 0, 3:], mean, atol=1e-4)

    both = make(folder, languages=PICKED, silence=(0.2, 0.4), vectors=["state", "mean"])
    more, _ = both(wave[None], torch.tensor([samples]))
    assert torch.equal(more[0, 0, :-32], feats[0, 0])
    heard = theirs.model.decoder(
        torch.tensor([[50258]]), encoder_hidden_states=output.encoder_last_hidden_state
    )
    assert torch.allclose(more[0, 0, -32:] * 32**0.5, heard.last_hidden_state[0, 0], atol=1e-4)


@pytest.mark.parametrize("silence", [(0.5, 3.0), (0.0, 0.0), (0.3, 0.0)])
@pytest.mark.parametrize("spare", [0, 700])
def test_features_are_the_same_alone_and_in_a_batch(spare, silence, folder):
    check_batch(make(folder, languages=PICKED, silence=silence), LENGTHS, spare)


def test_so_they_are_where_some_are_longer_than_whispers_window(tmp_path):
    folder = save_tiny(tmp_path, "whisper", max_source_positions=20, **VOCABULARY)
    check_batch(make(folder, silence=(0.1, 0.1)), [16000, 6400, 500], 0)


def test_the_decoders_state_gives_the_posteriors(folder):
    frontend = make(folder, whole_windows=True, vectors=["state"])
    _, padded, counts = batch([5000, 16000])
    feats_b1d, _ = frontend(padded, counts)
    logits_b1k = 32**0.5 * feats_b1d[..., 99:] @ frontend.tokens_kd.T
    assert torch.allclose(feats_b1d[..., :99], logits_b1k.log_softmax(dim=2), atol=1e-5)


def test_without_a_list_they_are_all_of_whispers_languages(folder):
    every, picked = make(folder), make(folder, languages=PICKED)
    assert len(every.posteriors_of) == 99
    assert every.posteriors_of[0] == "eng"
    assert every.output_size == 99 + 32
    assert torch.equal(picked.tokens_kd, every.tokens_kd[[CZECH - ENGLISH, FRENCH - ENGLISH, 0]])


def test_nothing_of_it_is_trained(folder):
    frontend = make(folder, languages=PICKED)
    _, padded, counts = batch([5000, 3000])
    before = frontend(padded, counts)[0]
    assert torch.equal(frontend.train()(padded, counts)[0], before)
    assert not any(parameter.requires_grad for parameter in frontend.parameters())
    states, ones = frontend.frozen_states(padded, counts)
    assert torch.equal(frontend(states, ones)[0], before)


@pytest.mark.parametrize("more", [{}, {"lora": {"rank": 2}}])
def test_a_model_file_needs_no_pretrained_folder(more, tmp_path):
    folder = save_tiny(tmp_path, "whisper", **VOCABULARY)
    description = {
        "frontend": "whisper_language",
        "frontend_conf": {"path_or_url": str(folder), "languages": PICKED, **more},
    }
    frontend = build_frontend(description)
    folder.rename(tmp_path / "gone")
    again = build_frontend(with_architecture(description, frontend))
    again.load_state_dict(frontend.state_dict())
    _, padded, counts = batch([5000, 3000])
    assert torch.equal(again(padded, counts)[0], frontend(padded, counts)[0])


def adapted(folder, **conf):
    """A front end with adapters that have learnt something."""
    frontend = make(folder, languages=PICKED, vectors=["mean", "state"], lora=Lora(rank=2, alpha=4), **conf)
    torch.manual_seed(0)
    for name, value in frontend.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.5)
    return frontend


@torch.no_grad()
def test_new_adapters_change_nothing(folder):
    plain = make(folder, languages=PICKED, vectors=["mean", "state"])
    frontend = make(folder, languages=PICKED, vectors=["mean", "state"], lora=Lora(rank=2))
    _, padded, counts = batch([5000, 16000])
    feats_b1d, frames_b = frontend(padded, counts)
    posteriors_b1k, corrections_b1k, vectors_b1d = feats_b1d.tensor_split([3, 6], dim=2)
    assert frames_b.tolist() == [1, 1]
    assert feats_b1d.shape[2] == frontend.output_size
    assert corrections_b1k.abs().max() < 1e-5
    expected_b1d = plain(padded, counts)[0]
    assert torch.allclose(torch.cat((posteriors_b1k, vectors_b1d), dim=2), expected_b1d, atol=1e-6)


@torch.no_grad()
def test_adapters_add_a_low_rank_map_to_the_decoders_attention(folder):
    """The same weights, each with its map added: W + alpha / r B A (Hu et al., 2022, equation 3)."""
    frontend = adapted(folder)
    plain = make(folder, languages=PICKED, vectors=["mean", "state"])
    for layer, theirs in zip(plain.upstream.decoder.layers, frontend.upstream.decoder.layers, strict=True):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            adapter = getattr(theirs.encoder_attn, name)
            a_rd, b_dr = adapter.lora_A["default"].weight, adapter.lora_B["default"].weight
            getattr(layer.encoder_attn, name).weight += 4 / 2 * b_dr @ a_rd
    _, padded, counts = batch([5000, 16000])
    posteriors_b1k, corrections_b1k, vectors_b1d = frontend(padded, counts)[0].tensor_split([3, 6], dim=2)
    merged_b1d = plain(padded, counts)[0]
    assert torch.allclose(posteriors_b1k + corrections_b1k, merged_b1d[..., :3], atol=1e-5)
    assert torch.allclose(vectors_b1d, merged_b1d[..., 3:], atol=1e-5)
    assert corrections_b1k.abs().max() > 1e-3
    original_b1d = make(folder, languages=PICKED)(padded, counts)[0]
    assert torch.allclose(posteriors_b1k, original_b1d[..., :3], atol=1e-5)


def test_with_adapters_features_are_the_same_alone_and_in_a_batch(folder):
    check_batch(adapted(folder, silence=(0.1, 0.1)), LENGTHS, 700)


def test_only_adapters_are_trained_and_all_of_them(folder):
    frontend = adapted(folder).train()
    _, padded, counts = batch([5000, 3000])
    states, frames = frontend.frozen_states(padded, counts)
    assert states.shape[2] == frontend.states_size
    stored = frontend(states, frames)[0]
    assert torch.equal(stored, frontend(padded, counts)[0])
    stored.sum().backward()
    trained = {name for name, value in frontend.named_parameters() if value.requires_grad}
    assert trained == {name for name, value in frontend.named_parameters() if value.grad is not None}
    assert len(trained) == 2 * 4 * len(frontend.upstream.decoder.layers)
    assert all("decoder" in name and "encoder_attn" in name and "lora_" in name for name in trained)


@torch.no_grad()
def test_a_frozen_adapter_stays_frozen(folder):
    frontend = adapted(folder)
    frontend.requires_grad_(False)
    frontend(*batch([5000])[1:])
    assert not any(value.requires_grad for value in frontend.parameters())


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"lora": {"rank": 2, "frozen": False}}, "frozen: false is not supported"),
        ({"lora": {"rank": 2}, "whole_windows": True}, "lora is not supported with whole_windows"),
        ({"lora": {"target_modules": ["query"]}}, "query is not part"),
        ({"lora": {"ranks": 2}}, "lora"),
        ({"languages": ["ces", "qqq"]}, "unknown language 'qqq'"),
        ({"languages": ["ces", "grc"]}, "Whisper does not know 'grc'"),
        ({"languages": ["ces", "fra", "cs"]}, "'cs' is listed twice"),
        ({"languages": ["ces"]}, "languages"),
        ({"vectors": []}, "vectors"),
        ({"vectors": ["means"]}, "vectors"),
        ({"silence": [0.5]}, "silence"),
        ({"silence": [-1, 0]}, "silence"),
        ({"language": ["ces"]}, "did you mean 'languages'?"),
    ],
)
def test_what_is_wrong_is_told(conf, words, folder):
    with pytest.raises(LidError) as caught:
        build_component("frontend", "whisper_language", {"path_or_url": str(folder), **conf}, {})
    assert words in str(caught.value)


@pytest.mark.parametrize(("kind", "words"), [("xlsr", "is not Whisper"), ("whisper", "for English only")])
def test_only_a_multilingual_whisper_will_do(kind, words, tmp_path):
    with pytest.raises(LidError, match=words):
        make(save_tiny(tmp_path, kind))


def test_whole_windows_take_no_silence_and_are_only_whispers(folder, tmp_path):
    with pytest.raises(LidError, match="silence has no effect with whole_windows"):
        make(folder, whole_windows=True, silence=(0.0, 1.0))
    assert make(folder, whole_windows=True).added_samples == 0
    other = save_tiny(tmp_path, "hubert")
    with pytest.raises(LidError, match="an encoder of type 'hubert' has no windows"):
        build_component("frontend", "transformers", {"path_or_url": str(other), "whole_windows": True}, {})


def test_whole_windows_are_the_same_alone_and_in_a_batch(tmp_path):
    folder = save_tiny(tmp_path, "whisper", max_source_positions=20, **VOCABULARY)
    check_batch(make(folder, whole_windows=True, vectors=["mean", "state"]), [16000, 6400, 500], 100)
