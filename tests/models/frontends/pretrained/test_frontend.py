"""Pretrained encoders as front ends: plain transformers alone, and the same in every batch."""

from __future__ import annotations

import pytest
import torch
from models.pretrained_encoders import KINDS, WAVE_KINDS, make, save_tiny, switch_dropout_off, tiny
from models.test_masking import batch
from transformers import SeamlessM4TFeatureExtractor

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_component, build_frontend, with_architecture
from lid_toolkit.models.frontends.pretrained.lora import Lora

LENGTHS = [16000, 9000, 1, 401, 7123, 720]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny(root, kind) for kind in KINDS}


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@torch.no_grad()
def plain_states(kind, wave):
    """Return the hidden states that transformers gives for one waveform: the reference."""
    if kind == "w2v-bert":
        inputs = SeamlessM4TFeatureExtractor()(wave.numpy(), sampling_rate=16000, return_tensors="pt")
        output = tiny(kind)(**inputs, output_hidden_states=True)
    elif kind in WAVE_KINDS:
        normal = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt() if kind == "xlsr" else wave
        output = tiny(kind)(normal[None], output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "whisper"])
def test_states_are_those_of_transformers(kind, folders):
    wave = batch([16000])[0][0]
    ours, frames = make(folders[kind], frozen=True).frozen_states(wave[None], torch.tensor([16000]))
    theirs = torch.cat(plain_states(kind, wave), dim=2)
    assert frames.tolist() == [theirs.shape[1]]
    assert torch.allclose(ours, theirs, atol=2e-4 if kind == "w2v-bert" else 1e-5)


@pytest.mark.parametrize("length", [3200, 16000])
@torch.no_grad()
def test_whisper_on_its_own_length_is_whisper_with_a_window_of_that_length(length, folders):
    """Any other window than the configured one is refused by transformers: it is configured here."""
    wave = batch([length])[0][0]
    frontend = make(folders["whisper"], frozen=True)
    ours, frames = frontend.frozen_states(wave[None], torch.tensor([length]))
    whole = tiny("whisper").encoder.state_dict()
    shorter = tiny("whisper", max_source_positions=length // 320).encoder
    positions = whole.pop("embed_positions.weight")[: length // 320]
    shorter.load_state_dict({**whole, "embed_positions.weight": positions})
    mel, _ = frontend.inputs(wave[None], torch.tensor([length]))
    output = shorter(mel, output_hidden_states=True)
    theirs = torch.cat([*output.hidden_states[:-1], output.last_hidden_state], dim=2)
    assert frames.tolist() == [length // 320]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_whisper_joins_windows_of_what_is_longer_than_one(tmp_path):
    frontend = make(save_tiny(tmp_path, "whisper", max_source_positions=20), layers="last")
    wave = batch([6400 * 2 + 3000])[0][0]
    with torch.no_grad():
        mel, mel_frames = frontend.inputs(wave[None], torch.tensor([len(wave)]))
        feats, frames = frontend(wave[None], torch.tensor([len(wave)]))
        parts = [
            frontend.family.states(frontend.upstream, part, torch.tensor([part.shape[2]]), lambda *_: None)[
                0
            ][-1]
            for part in mel.split(40, dim=2)
        ]
    assert frames.tolist() == [(int(mel_frames[0]) + 1) // 2] == [feats.shape[1]]
    assert torch.allclose(feats, torch.cat(parts, dim=1), atol=1e-5)


@torch.no_grad()
def test_the_language_token_is_what_whispers_decoder_makes_of_the_start(folders):
    wave = batch([16000])[0][0]
    frontend = make(folders["whisper"], frozen=True, language_token=True)
    ours, frames = frontend.frozen_states(wave[None], torch.tensor([16000]))
    heard = make(folders["whisper"], layers="last")(wave[None], torch.tensor([16000]))[0]
    output = tiny("whisper").decoder(
        input_ids=torch.tensor([[1]]), encoder_hidden_states=heard, output_hidden_states=True
    )
    assert frames.tolist() == [1]
    assert torch.allclose(
        ours, torch.cat([*output.hidden_states[:-1], output.last_hidden_state], dim=2), atol=1e-5
    )
    assert frontend.upstream.decoder.embed_tokens.weight.shape == (1, 32)
    check_batch(make(folders["whisper"], language_token=True), LENGTHS, 300)


def test_the_language_token_trains_encoder_and_decoder(folders):
    lora = make(folders["whisper"], language_token=True, lora=Lora(rank=2)).train()
    lora(*batch([5000, 3000])[1:])[0].sum().backward()
    adapted = {name for name, parameter in lora.named_parameters() if parameter.grad is not None}
    assert any("decoder" in name for name in adapted)
    assert any("encoder.layers" in name for name in adapted)


@pytest.mark.parametrize("spare", [0, 700])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_same_alone_and_in_a_batch(kind, spare, folders):
    frontend = make(folders[kind])
    check_batch(frontend, LENGTHS, spare)


def test_added_silence_is_zeros_at_the_end_of_the_recording(folders):
    waves, padded, counts = batch(LENGTHS, 300)
    for kind in ("whisper", "xlsr"):
        silent, plain = make(folders[kind], silence=0.1), make(folders[kind])
        check_batch(silent, LENGTHS, 300)
        with torch.no_grad():
            feats, frames = silent(padded, counts)
            longer = torch.nn.functional.pad(waves[0], (0, 1600))
            alone, own = plain(longer[None], torch.tensor([len(longer)]))
        assert frames[0] == own[0]
        assert torch.allclose(feats[0, : frames[0]], alone[0], atol=1e-4)


def test_long_and_short_utterances_in_one_batch_of_whisper(tmp_path):
    check_batch(make(save_tiny(tmp_path, "whisper", max_source_positions=20)), [16000, 6400, 6401, 500], 0)


def check_batch(frontend, lengths, spare):
    waves, padded, counts = batch(lengths, spare)
    with torch.no_grad():
        feats, frames = frontend(padded, counts)
        for row, wave in enumerate(waves):
            alone, own = frontend(wave[None], torch.tensor([len(wave)]))
            assert own[0] == frames[row] == alone.shape[1]
            scale = alone.abs().max().clamp(min=1.0)
            assert (feats[row, : own[0]] - alone[0]).abs().max() <= 1e-5 * scale, len(wave)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_gradient(kind, folders):
    def gradients(spare, fill):
        frontend = make(folders[kind]).train()
        switch_dropout_off(frontend)
        _, padded, counts = batch([9000, 4000, 700], spare, fill)
        feats, frames = frontend(padded, counts)
        sum(feats[row, : frames[row]].square().sum() for row in range(3)).backward()
        return {n: p.grad for n, p in frontend.named_parameters() if p.grad is not None}

    little, much = gradients(0, 0.0), gradients(900, 1e3)
    assert little.keys() == much.keys()
    assert any("layers.2" in name for name in little)
    for name, grad in little.items():
        assert (grad - much[name]).norm() <= 1e-3 * grad.norm().clamp(min=1e-2), name


def test_layers_are_weighted_chosen_and_left_out(folders):
    wave, counts = batch([5000])[1], torch.tensor([5000])
    every = make(folders["xlsr"], frozen=True)
    with torch.no_grad():
        states = every.frozen_states(wave, counts)[0].chunk(4, dim=2)
        assert torch.allclose(every(wave, counts)[0], torch.stack(states).mean(dim=0), atol=1e-6)
        every.weights.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
        shares = every.weights.softmax(dim=0)
        wanted = sum(share * state for share, state in zip(shares, states, strict=True))
        assert torch.allclose(every(wave, counts)[0], wanted, atol=1e-6)
        assert torch.allclose(make(folders["xlsr"], layers="last")(wave, counts)[0], states[3], atol=1e-6)
        second = make(folders["xlsr"], layers=[2])
        assert len(second.upstream.encoder.layers) == 2
        assert second.weights is None
        assert torch.allclose(second(wave, counts)[0], states[2], atol=1e-6)
        normed = make(folders["xlsr"], layers=[2], layer_norm=True)(wave, counts)[0]
        assert torch.allclose(normed, torch.nn.functional.layer_norm(states[2], (32,)), atol=1e-6)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_single_layer_is_the_one_among_all(kind, large, tmp_path):
    """The large ones normalise after their last layer: that is no part of the layers below."""
    sizes = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"} if large else {}
    folder = save_tiny(tmp_path, kind, **(sizes if kind in WAVE_KINDS else {}))
    wave, counts = batch([5000])[1], torch.tensor([5000])
    every = make(folder, frozen=True)
    states = every.frozen_states(wave, counts)[0].chunk(4, dim=2)
    for layer in range(4):
        single = make(folder, layers=[layer], frozen=True)
        assert torch.allclose(single(wave, counts)[0], states[layer], atol=1e-6), layer
        assert single.state_dict().keys() < every.state_dict().keys() | {"weights"}


def test_whether_waveforms_are_normalised_is_the_checkpoints_word(tmp_path):
    said = save_tiny(tmp_path, "wav2vec2", do_normalize=True)
    assert make(said).inputs.norm == "unit_variance"
    (said / "preprocessor_config.json").unlink()
    assert make(said).inputs.norm == "none"
    assert make(save_tiny(tmp_path, "xlsr")).inputs.norm == "unit_variance"
    assert make(save_tiny(tmp_path / "b", "xlsr", do_normalize=False)).inputs.norm == "none"


@pytest.mark.parametrize("kind", ["xlsr", "whisper", "w2v-bert"])
def test_attention_implementations_agree(kind, folders):
    _, padded, counts = batch([9000, 4000])
    with torch.no_grad():
        one, other = (make(folders[kind], attention=name)(padded, counts) for name in ("eager", "sdpa"))
    for row, frames in enumerate(one[1]):
        assert torch.allclose(one[0][row, :frames], other[0][row, :frames], atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_a_model_file_needs_no_pretrained_folder(fused, tmp_path):
    folder = save_tiny(tmp_path, "whisper")
    conf = {"path_or_url": str(folder), "layers": [1, 3]}
    description = {"frontend": "transformers", "frontend_conf": conf}
    if fused:
        parts = [{"frontend_type": "transformers", **conf}, {"frontend_type": "default", "hop_length": 160}]
        description = {"frontend": "fused", "frontend_conf": {"frontends": parts, "proj_dim": 4}}
    frontend = build_frontend(description)
    folder.rename(tmp_path / "gone")
    with pytest.raises(LidError):
        build_frontend(description)
    again = build_frontend(with_architecture(description, frontend))
    again.load_state_dict(frontend.state_dict())
    _, padded, counts = batch([5000, 3000])
    with torch.no_grad():
        assert torch.equal(again.eval()(padded, counts)[0], frontend.eval()(padded, counts)[0])


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"path_or_url": "./nowhere"}, "no usable model './nowhere'"),
        ({"path_or_url": "nobody/nothing"}, "no usable model 'nobody/nothing'"),
        ({"path_or_url": "{xlsr}", "layers": [4]}, "an encoder with 3 layers"),
        ({"path_or_url": "{xlsr}", "layers": []}, "list layers from 0 to 3"),
        ({"path_or_url": "{xlsr}", "frozen": True, "layerdrop": 0.1}, "only matters in training"),
        ({"path_or_url": "{wavlm}", "lora": {"target_modules": ["q_proj"]}}, "no effect in WavLM"),
        ({"path_or_url": "{xlsr}", "lora": {"target_modules": ["nothing"]}}, "not part of the encoder"),
        ({"path_or_url": "{xlsr}", "lora": {"ranks": 3}}, "lora"),
        ({"path_or_url": "{xlsr}", "language_token": True}, "is not Whisper"),
        ({"path_or_url": "{xlsr}", "attention": "fast"}, "attention"),
        ({"path_or_url": "{xlsr}", "attention": "flash_attention_2"}, "flash"),
        ({"path_or_url": "{xlsr}", "layer": 3}, "did you mean 'layers'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(conf, words, folders):
    conf = {**conf, "path_or_url": conf["path_or_url"].format(**folders)}
    with pytest.raises(LidError) as caught:
        build_component("frontend", "transformers", conf, {})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_lacks_weights_or_is_broken_is_named(tmp_path):
    from safetensors.torch import load_file, save_file

    path = save_tiny(tmp_path, "xlsr")
    weights = load_file(path / "model.safetensors")
    gone = weights.pop("encoder.layers.1.attention.q_proj.weight")
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LidError, match=r"1 weights are missing, such as encoder\.layers\.1"):
        make(path)
    weights["encoder.layers.1.attention.q_proj.weight"] = gone[:3].clone()
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LidError, match="no usable model"):
        make(path)
    (path / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(LidError, match="no usable model"):
        make(path)
    (path / "config.json").write_text("{")
    with pytest.raises(LidError, match="no usable model"):
        make(path)
    (path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(LidError, match="type 'bert' is not supported"):
        make(path)


@pytest.mark.parametrize("kind", ["xlsr", "hubert", "mhubert", "whisper"])
@torch.no_grad()
def test_attention_gets_no_mask_where_nothing_is_padded(kind, folders, monkeypatch):
    """A mask excludes PyTorch's flash kernel. w2v-BERT always adds its relative positions as a mask."""
    frontend = make(folders[kind], layers="last", attention="sdpa")
    masks = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(*arguments, attn_mask=None, **named):
        masks.append(attn_mask)
        return attend(*arguments, attn_mask=attn_mask, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    for lengths, padded in (([9000, 9000], False), ([9000, 4000], True)):
        masks.clear()
        frontend(*batch(lengths)[1:])
        assert masks
        assert all((mask is not None) is padded for mask in masks)
