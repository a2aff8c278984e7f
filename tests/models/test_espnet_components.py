"""The same numbers as ESPnet 202511 from the same weights, for each component on its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from models.espnet import arrays

from lid_toolkit.importers.espnet_names import rename
from lid_toolkit.models.build import build_component
from lid_toolkit.models.frontends.log_mel import LogMelFrontend
from lid_toolkit.models.normalize import GlobalMVN
from lid_toolkit.models.protocols import pool

THEIRS = arrays("tiny_components")
CONFS = json.loads(str(THEIRS["conf_json"]))
FEATS = torch.from_numpy(THEIRS["feats"])[None]
FRAMES = torch.tensor([FEATS.shape[1]])
WAVE = torch.from_numpy(THEIRS["wav"].astype(np.float32) / 32768)[None]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def build(key: str, **sizes: int) -> torch.nn.Module:
    """Return a component with ESPnet's weights, in evaluation mode."""
    kind, name, conf = (CONFS[key][part] for part in ("component", "name", "conf"))
    component = build_component(kind, name, conf, sizes).eval()
    state = {
        name.removeprefix(f"{key}/sd/"): torch.from_numpy(value)
        for name, value in THEIRS.items()
        if name.startswith(f"{key}/sd/")
    }
    renamed = rename({f"{kind}.{name}": value for name, value in state.items()})
    state = {name.removeprefix(f"{kind}."): value for name, value in renamed.items()}
    counters = {k: v for k, v in component.state_dict().items() if k.endswith("num_batches_tracked")}
    component.load_state_dict({**state, **counters})
    return component


def of_kind(kind: str) -> list[str]:
    return [key for key, conf in CONFS.items() if conf["component"] == kind]


@pytest.mark.parametrize("key", of_kind("encoder"))
@torch.no_grad()
def test_encoders(key):
    encoded, frames = build(key, input_size=FEATS.shape[2])(FEATS, FRAMES)
    assert frames.tolist() == [encoded.shape[2]]
    assert np.allclose(encoded[0], THEIRS[f"{key}/out"], **CLOSE)


@torch.no_grad()
def test_espnets_legacy_positions_take_no_notice_of_zero_triu():
    conf = {**CONFS["mfa_legacy"]["conf"], "zero_triu": True}
    encoder = build_component("encoder", "mfaconformer", conf, {"input_size": FEATS.shape[2]}).eval()
    encoder.load_state_dict(build("mfa_legacy", input_size=FEATS.shape[2]).state_dict())
    assert np.allclose(encoder(FEATS, FRAMES)[0][0], THEIRS["mfa_legacy/out"], **CLOSE)


@pytest.mark.parametrize("key", of_kind("pooling"))
def test_poolings(key):
    """Some have an input of their own: variances that are limited, and fewer frames than the features."""
    x = torch.from_numpy(THEIRS.get(f"{key}/x", THEIRS["feats"].T))[None]
    steps = torch.tensor([x.shape[2]])
    frames = torch.tensor([int(THEIRS.get(f"{key}/frames", x.shape[2]))])
    pooled = pool(build(key, input_size=x.shape[1]), x, steps, frames)
    assert np.allclose(pooled[0].detach(), THEIRS[f"{key}/out"], **CLOSE)


@pytest.mark.parametrize("key", of_kind("projector"))
@torch.no_grad()
def test_projectors(key):
    pooled = torch.from_numpy(THEIRS["pooled"])[None]
    embedding = build(key, input_size=pooled.shape[1])(pooled)
    assert np.allclose(embedding[0], THEIRS[f"{key}/out"], **CLOSE)


@pytest.mark.parametrize("key", of_kind("frontend"))
def test_front_ends(key):
    feats, frames = build(key)(WAVE, torch.tensor([WAVE.shape[1]]))
    assert frames.tolist() == [feats.shape[1]]
    assert np.allclose(feats[0], THEIRS[f"{key}/out"], **CLOSE)


def test_global_normalisation():
    normalise = GlobalMVN(FEATS.shape[2])
    normalise.set_statistics(
        *(torch.as_tensor(THEIRS[f"global_mvn/{name}"]) for name in ("count", "sum", "sum_square"))
    )
    assert np.allclose(normalise(FEATS + 0.5, FRAMES)[0], THEIRS["global_mvn/out"], **CLOSE)


def test_skipped_dimensions_are_left_as_they_are():
    skipping = build_component("normalize", "global_mvn", {"skip": 2}, {"input_size": FEATS.shape[2]})
    for normalise in (skipping, plain := GlobalMVN(FEATS.shape[2])):
        normalise.set_statistics(
            *(torch.as_tensor(THEIRS[f"global_mvn/{name}"]) for name in ("count", "sum", "sum_square"))
        )
    assert torch.equal(skipping(FEATS, FRAMES)[..., :2], FEATS[..., :2])
    assert torch.equal(skipping(FEATS, FRAMES)[..., 2:], plain(FEATS, FRAMES)[..., 2:])


def test_fused_front_ends_are_projected_to_the_rate_of_the_finest_and_cut_to_the_shortest():
    parts = [
        {"frontend_type": "default", "n_mels": 20, "hop_length": 160},
        {"frontend_type": "sliding_window", "win_length": 400, "hop_length": 240},
    ]
    fused = build_component("frontend", "fused", {"frontends": parts, "proj_dim": 3}, {})
    length = torch.tensor([WAVE.shape[1]])
    feats, frames = fused(WAVE, length)
    mel, _ = LogMelFrontend(n_mels=20, hop_length=160)(WAVE, length)
    windows = WAVE.unfold(1, 400, 240)
    assert (fused.hop_length, fused.output_size, fused.rate) == (80, 6, 16000)
    assert frames.tolist() == [feats.shape[1]] == [min(2 * mel.shape[1], 3 * windows.shape[1])]
    for t in range(feats.shape[1]):
        from_mel = fused.projection_layers[0](mel[0, t // 2])[3 * (t % 2) :][:3]
        from_windows = fused.projection_layers[1](windows[0, t // 3])[3 * (t % 3) :][:3]
        assert torch.allclose(feats[0, t], torch.cat((from_mel, from_windows)), atol=1e-5)
