"""ESPnet's ``s3prl``: upstreams by name, what is trained of them, and what is refused.

``tests/importers/test_espnet_names.py`` compares the features with s3prl's own.
"""

from __future__ import annotations

import re
import socket

import pytest
import torch
import torchaudio
from models.pretrained_encoders import WAVE_KINDS, make, save_tiny
from models.test_masking import batch

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_component
from lid_toolkit.models.frontends.pretrained import adapt, s3prl_names
from lid_toolkit.models.frontends.pretrained import frontend as frontend_module
from lid_toolkit.models.frontends.pretrained.families import FAMILIES
from lid_toolkit.models.frontends.pretrained.hidden_states import span_mask
from lid_toolkit.models.frontends.pretrained.lora import Lora
from lid_toolkit.models.frontends.pretrained.s3prl import s3prl
from lid_toolkit.models.frontends.pretrained.s3prl_names import UPSTREAMS, checkpoint_name
from lid_toolkit.package.licences import encoders, licence_of

# The same checkpoints in torchaudio, whose authors converted them from fairseq and WavLM too.
TORCHAUDIO = {
    "facebook/hubert-base-ls960": "HUBERT_BASE",
    "facebook/hubert-large-ll60k": "HUBERT_LARGE",
    "facebook/wav2vec2-base": "WAV2VEC2_BASE",
    "facebook/wav2vec2-large": "WAV2VEC2_LARGE",
    "facebook/wav2vec2-large-lv60": "WAV2VEC2_LARGE_LV60K",
    "facebook/wav2vec2-large-xlsr-53": "WAV2VEC2_XLSR53",
    "facebook/wav2vec2-xls-r-1b": "WAV2VEC2_XLSR_1B",
    "facebook/wav2vec2-xls-r-2b": "WAV2VEC2_XLSR_2B",
    "facebook/wav2vec2-xls-r-300m": "WAV2VEC2_XLSR_300M",
    "microsoft/wavlm-base": "WAVLM_BASE",
    "microsoft/wavlm-base-plus": "WAVLM_BASE_PLUS",
    "microsoft/wavlm-large": "WAVLM_LARGE",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny(root, kind) for kind in WAVE_KINDS}


@pytest.mark.parametrize("name", UPSTREAMS)
def test_upstreams_are_encoders_that_can_be_loaded(name):
    upstream = UPSTREAMS[name]
    assert upstream.family in FAMILIES
    if upstream.hub is None:
        assert name.endswith("_custom")
        return
    assert re.fullmatch(r"(facebook|microsoft)/[a-z0-9-]+", upstream.hub)
    assert upstream.family in upstream.hub
    assert licence_of(upstream.hub) != "other"
    assert checkpoint_name({"upstream": name}) == upstream.hub
    assert checkpoint_name({"upstream": name, "path_or_url": "elsewhere"}) == "elsewhere"
    if upstream.hub in TORCHAUDIO:
        bundle = getattr(torchaudio.pipelines, TORCHAUDIO[upstream.hub])
        assert (upstream.wave_norm == "layer_norm") == bundle._normalize_waveform


@pytest.mark.parametrize("name", ["hubert_base", "wav2vec2_large_960", "wavlm_large"])
def test_an_upstream_is_loaded_by_its_name_and_from_the_cache_alone(name, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_: asked.append(host) or [])
    upstream = UPSTREAMS[name]
    kept = tmp_path / f"models--{upstream.hub.replace('/', '--')}"  # as the Hub's cache keeps it
    saved = save_tiny(kept / "snapshots", upstream.family, do_normalize=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(saved.name)
    conf = {"frontend_conf": {"upstream": name}, "download_dir": str(tmp_path), "multilayer_feature": True}
    frontend = build_component("frontend", "s3prl", conf, {}).eval()
    assert len(asked) <= 1  # the Hub's client asks once for a list of its own
    assert frontend.inputs.norm == upstream.wave_norm
    _, padded, counts = batch([5000, 3000])
    expected = make(saved, wave_norm=upstream.wave_norm, repeat_last=True)
    with torch.no_grad():
        assert torch.equal(frontend(padded, counts)[0], expected(padded, counts)[0])
    assert [encoder.name for encoder in encoders({"frontend_conf": conf})] == [upstream.hub]


def test_hubert_by_the_users_own_name(folders):
    conf = {"upstream": "hf_hubert_custom", "path_or_url": str(folders["hubert"])}
    assert s3prl(conf).upstream.config.model_type == "hubert"
    with pytest.raises(LidError, match="is of type 'hubert', but the upstream is of type 'wav2vec2'"):
        s3prl({**conf, "upstream": "hf_wav2vec2_custom"})


def test_frames_are_those_of_s3prl(folders):
    conf = {"upstream": "hf_wav2vec2_custom", "path_or_url": str(folders["xlsr"])}
    conf |= {"tile_factor": 1, "extra_conf": None}  # ESPnet's defaults, as its configurations may say
    frontend = build_component("frontend", "s3prl", {"frontend_conf": conf, "multilayer_feature": True}, {})
    waves, padded, counts = batch([16000, 5000, 321])
    with torch.no_grad():
        feats, frames = frontend.eval()(padded, counts)
        plain = make(folders["xlsr"])(waves[0][None], torch.tensor([16000]))[0]
    assert frames.tolist() == [50, 16, 2]
    assert torch.allclose(feats[0, :49], plain[0], atol=1e-5)
    assert torch.equal(feats[0, 49], feats[0, 48])
    assert torch.equal(feats[2, 1], feats[2, 0])


@pytest.mark.parametrize(("upstream", "masks"), [("hf_wav2vec2_custom", True), ("xls_r_300m", False)])
def test_masks_and_layer_drop_are_the_checkpoints_own_or_none(upstream, masks, tmp_path, monkeypatch):
    own = {"mask_time_prob": 0.2, "mask_time_length": 4, "mask_feature_prob": 0.3, "mask_feature_length": 2}
    folder, drawn = save_tiny(tmp_path, "xlsr", layerdrop=0.4, **own), []
    for module in (frontend_module, adapt):
        monkeypatch.setattr(module, "span_mask", lambda *given: drawn.append(given[2:]) or span_mask(*given))
    frontend = s3prl({"upstream": upstream, "path_or_url": str(folder)}).train()
    frontend(*batch([16000])[1:])
    assert sorted(drawn) == ([(0.2, 4), (0.3, 2)] if masks else [])
    assert frontend.drops == {"layerdrop": 0.4 if masks else 0.0}
    drawn.clear()
    make(folder, mask_time_prob=0.1, mask_feature_prob=None).train()(*batch([16000])[1:])
    assert sorted(drawn) == [(0.1, 10), (0.3, 10)]


def test_the_whole_encoder_is_trained(folders):
    frontend = s3prl(
        {"upstream": "wavlm_base", "path_or_url": str(folders["wavlm"])}, multilayer_feature=True
    )
    frontend.train()(*batch([5000, 3000])[1:])[0].sum().backward()
    assert all(parameter.grad is not None for parameter in frontend.parameters())


def test_linear_maps_may_have_the_names_of_s3prls_checkpoints(folders):
    lora = Lora(rank=2, target_modules=["fc1", "v_proj"])
    frontend = s3prl({"upstream": "hubert_base", "path_or_url": str(folders["hubert"])}, lora=lora)
    trained = {name.split(".")[-4] for name, p in frontend.upstream.named_parameters() if p.requires_grad}
    assert trained == {"intermediate_dense", "v_proj"}


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"upstream": "wavlm_larg"}, "'wavlm_larg' of s3prl is not supported (did you mean 'wavlm_large'?)"),
        ({"upstream": "xeus"}, f"'xeus' of s3prl is not supported ({s3prl_names.OTHERS})"),
        ({"path_or_url": "x"}, "upstream 'None' of s3prl is not supported"),
        ({"upstream": "hf_wav2vec2_custom"}, "upstream 'hf_wav2vec2_custom' needs path_or_url"),
        ({"upstream": "wavlm_base", "path_or_url": "{hubert}"}, "is of type 'hubert', but the upstream is"),
        ({"upstream": "hf_wav2vec2_custom", "path_or_url": "x", "normalise": True}, "'normalize'"),
        ({"upstream": "hubert", "tile_factor": 2}, "tile_factor 2 is not supported (leave it out)"),
        ({"upstream": "hubert", "extra_conf": {"a": 1}}, "extra_conf {'a'"),
    ],
)
def test_what_is_not_supported_is_said_in_one_line(conf, words, folders):
    if "path_or_url" in conf:
        conf = {**conf, "path_or_url": conf["path_or_url"].format(**folders)}
    with pytest.raises(LidError) as caught:
        build_component("frontend", "s3prl", {"frontend_conf": conf}, {})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
