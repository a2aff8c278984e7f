"""The same numbers as ESPnet 202511 from the same weights and waveforms, stage by stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models.espnet import arrays, description, tiny_model, waves

from lid_toolkit.models.build import build_model
from lid_toolkit.models.frontends.log_mel import LogMelFrontend

THEIRS = arrays("tiny_sc_topk")
CLOSE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def alone(wave):
    return wave[None], torch.tensor([len(wave)])


@torch.no_grad()
def embeddings(model):
    return torch.cat([model.embed(*alone(wave)) for wave in waves()])


def test_mel_filters(model):
    assert np.allclose(model.frontend.filters_fm, THEIRS["sd/frontend.logmel.melmat"], atol=1e-7)


@pytest.mark.parametrize("number", range(3))
@torch.no_grad()
def test_every_part_of_the_model(model, number):
    feats, frames = model.frontend(*alone(waves()[number]))
    assert np.allclose(feats[0], THEIRS[f"logmel{number}"], **CLOSE)
    feats = model.normalize(feats, frames)
    assert np.allclose(feats[0], THEIRS[f"feats_mvn{number}"], **CLOSE)
    encoded, frames = model.encoder(feats, frames)
    if number == 0:
        assert np.allclose(encoded[0], THEIRS["encoder_out0"], **CLOSE)
    pooled = model.pooling(encoded, frames)
    assert np.allclose(pooled[0], THEIRS[f"pooled{number}"], **CLOSE)
    assert np.allclose(model.projector(pooled)[0], THEIRS["embeddings"][number], **CLOSE)


@pytest.mark.parametrize(
    ("win_length", "name"), [(None, "logmel80_default_wav0"), (400, "logmel80_win400_wav0")]
)
def test_window_lengths(win_length, name):
    frontend = LogMelFrontend(win_length=win_length, hop_length=160, n_mels=80)
    feats, _ = frontend(*alone(waves()[0]))
    assert np.allclose(feats[0], THEIRS[name], **CLOSE)


@torch.no_grad()
def test_cosines_and_decisions(model):
    cosines = model.loss.cosines(embeddings(model))
    assert np.allclose(cosines, THEIRS["max_cosines"], **CLOSE)
    assert cosines.argmax(dim=1).tolist() == THEIRS["pred_ids"].tolist()


@pytest.mark.parametrize(("penalty", "name"), [(0.0, "loss"), (0.15, "loss_after_update_call")])
@torch.no_grad()
def test_loss_with_sub_centres_without_and_with_the_penalty(model, penalty, name):
    configured = model.loss.penalty
    model.loss.penalty = penalty
    loss, _ = model.loss(embeddings(model), torch.from_numpy(THEIRS["labels"]))
    model.loss.penalty = configured
    assert np.allclose(loss, THEIRS[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["aamsoftmax", "softmax"])
@torch.no_grad()
def test_other_heads(head):
    theirs = arrays("tiny_other_heads")
    loss = build_model(description(head), 5).loss
    loss.weight.copy_(torch.from_numpy(theirs[f"{head}/loss.weight"]))
    values, cosines = loss(torch.from_numpy(theirs[f"{head}/embeddings"]), torch.from_numpy(theirs["labels"]))
    assert np.allclose(cosines, theirs[f"{head}/cosines"], **CLOSE)
    assert np.allclose(values, theirs[f"{head}/loss"], **CLOSE)
    assert np.allclose(values.mean(), theirs[f"{head}/loss_batch_of_3_embeddings"], **CLOSE)
