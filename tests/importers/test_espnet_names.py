"""Parameters of ESPnet's models under this toolkit's names: s3prl's encoders give ESPnet's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models.combinations import COMBINATIONS, untrained
from models.pretrained_encoders import KINDS, save_tiny, tiny

from lid_toolkit.importers.espnet_names import rename, translate
from lid_toolkit.models.frontends.pretrained.s3prl import s3prl

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "s3prl" / "upstreams.npz"
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
UPSTREAMS = {
    "wav2vec2_base": ("wav2vec2_base_960", "wav2vec2", {}),
    "wav2vec2_large": ("xls_r_300m", "wav2vec2", {**LARGE, "conv_bias": True}),
    "hubert_base": ("hubert_base", "hubert", {}),
    "hubert_large": ("hubert_large_ll60k", "hubert", {**LARGE, "conv_bias": True}),
    "wavlm_base": ("wavlm_base_plus", "wavlm", {}),
    "wavlm_large": ("wavlm_large", "wavlm", LARGE),
}


@pytest.mark.parametrize("key", UPSTREAMS)
def test_an_upstream_of_s3prl_gives_the_features_of_espnet(key, tmp_path):
    name, kind, changes = UPSTREAMS[key]
    folder = save_tiny(tmp_path, kind, do_normalize=True, **SIZES, **changes)  # as the Hub's file may say
    conf = {"upstream": name, "path_or_url": str(folder)}
    frontend = s3prl(conf, multilayer_feature=True).eval()
    with np.load(FIXTURE) as stored:
        theirs = {
            f"frontend.{entry.removeprefix(f'{key}/sd/')}": torch.from_numpy(stored[entry])
            for entry in stored
            if entry.startswith(f"{key}/sd/")
        }
        waves = [torch.from_numpy(stored[f"wav{i}"].astype(np.float32) / 32768) for i in range(2)]
        expected = [stored[f"{key}/out{i}"] for i in range(2)]
    ours = translate(theirs, {f"frontend.{name}": value for name, value in frontend.state_dict().items()})
    frontend.load_state_dict({name.removeprefix("frontend."): value for name, value in ours.items()})
    with torch.no_grad():
        feats_btd, frames_b = frontend(
            torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(w) for w in waves])
        )
    assert frames_b.tolist() == [len(rows) for rows in expected]
    for row, wanted in enumerate(expected):
        assert np.allclose(feats_btd[row, : len(wanted)], wanted, atol=1e-4 * np.abs(wanted).max()), row


def test_names_of_this_toolkit_stay_as_they_are():
    names = {name for parts in COMBINATIONS[::7] for name in untrained(*parts).state_dict()}
    names |= {f"frontend.upstream.{name}" for kind in KINDS for name in tiny(kind).state_dict()}
    assert rename(dict.fromkeys(names, torch.zeros(1))).keys() == names


def test_only_what_the_features_do_not_need_is_left_out():
    ours = [f"frontend.upstream.encoder.layers.{n}.layer_norm.weight" for n in range(2)]
    needless = [
        f"frontend.upstream.upstream.model.{name}"
        for name in ("mask_emb", "quantizer.vars", "project_q.weight", "final_proj.bias", "label_embs_concat")
    ]
    above = "frontend.upstream.upstream.model.encoder.layers.2.self_attn_layer_norm.weight"
    kept = {
        "frontend.upstream.upstream.model.encoder.layers.1.self_attn_layer_norm.weight": ours[1],
        "frontend.upstream.upstream.model.encoder.layers.1.fc1.lora_A": (
            "frontend.upstream.encoder.layers.1.feed_forward.intermediate_dense.lora_A"
        ),
        "frontend.upstream.upstream.model.encoder.new.weight": "frontend.upstream.encoder.new.weight",
        "encoder.quantizer.vars": "encoder.quantizer.vars",
    }
    theirs = dict.fromkeys([*needless, above, "frontend.featurizer.weights", *kept], torch.zeros(1))
    assert list(translate(theirs, dict.fromkeys(ours))) == list(kept.values())
