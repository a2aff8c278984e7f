"""What is trained of pretrained encoders, and what is masked and left out in training only."""

from __future__ import annotations

import pytest
import torch
from models.pretrained_encoders import KINDS, make, save_tiny, switch_dropout_off
from models.test_masking import batch

from lid_toolkit.models.frontends.pretrained.adapt import Lora
from lid_toolkit.models.frontends.pretrained.hidden_states import span_mask

LENGTHS = [16000, 9000, 1, 401, 7123, 720]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny(root, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_encoder_stays_as_it_is(kind, folders):
    frontend = make(folders[kind], frozen=True)
    _, padded, counts = batch(LENGTHS)
    with torch.no_grad():
        before = frontend(padded, counts)[0]
    frontend.train()
    feats = frontend(padded, counts)[0]
    assert torch.equal(feats.detach(), before)
    feats.sum().backward()
    trained = {name for name, parameter in frontend.named_parameters() if parameter.grad is not None}
    assert trained == {"weights"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "w2v-bert"])
def test_the_convolutions_alone_can_be_frozen(kind, folders):
    frontend = make(folders[kind], freeze_extractor=True).train()
    frontend(*batch([5000, 3000])[1:])[0].sum().backward()
    trained = {name for name, parameter in frontend.named_parameters() if parameter.grad is not None}
    assert not any("feature_extractor" in name or ".conv1." in name for name in trained)
    assert any("layers.0" in name for name in trained)


def test_the_encoder_rests_for_the_first_batches(folders):
    frontend = make(folders["xlsr"], freeze_steps=2).train()
    _, padded, counts = batch([5000, 3000])
    moved = []
    for _ in range(4):
        frontend.zero_grad()
        frontend(padded, counts)[0].sum().backward()
        moved.append(any(p.grad is not None for p in frontend.upstream.parameters()))
        with torch.no_grad():
            frontend.eval()(padded, counts)  # validation does not count
        frontend.train()
    assert moved == [False, False, True, True]
    assert int(frontend.state_dict()["batches_seen"]) == 4


@pytest.mark.parametrize("layers", [[0], [1], "last", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_batch_trains_all_that_is_trained(kind, layers, folders):
    """Where it does not, DDP fails: it waits for every gradient."""
    for extra in ({}, {"mask_time_prob": 0.01}, {"freeze_extractor": True} if kind != "w2v-bert" else {}):
        frontend = make(folders[kind], layers=layers, **extra).train()
        assert not frontend.skips_parameters
        frontend(*batch([5000, 3000])[1:])[0].sum().backward()
        assert not _without_gradient(frontend)


def test_the_language_token_trains_all_that_is_trained(tmp_path):
    for layers in ([1], "last", "all"):
        frontend = make(save_tiny(tmp_path, "whisper", decoder_layers=2), layers=layers, language_token=True)
        frontend.train()(*batch([5000, 3000])[1:])[0].sum().backward()
        assert not _without_gradient(frontend)


def _without_gradient(frontend):
    return [name for name, p in frontend.named_parameters() if p.requires_grad and p.grad is None]


def test_batches_that_train_less_are_announced(folders):
    frontend = make(folders["xlsr"], freeze_steps=2).train()
    for waiting in (True, True, False):
        assert frontend.skips_parameters == waiting
        frontend(*batch([5000])[1:])[0].sum().backward()
        assert bool(_without_gradient(frontend)) == waiting
    assert make(folders["whisper"], layerdrop=0.1).skips_parameters
    assert not make(folders["whisper"], layerdrop=None).skips_parameters  # 0 by its configuration
    assert not make(folders["xlsr"], layerdrop=None, frozen=True).skips_parameters


@pytest.mark.parametrize("kind", KINDS)
def test_lora_trains_adapters_alone_and_starts_without_effect(kind, folders):
    _, padded, counts = batch([5000, 3000])
    plain, adapted = make(folders[kind]), make(folders[kind], lora=Lora(rank=2))
    with torch.no_grad():
        assert torch.allclose(adapted(padded, counts)[0], plain(padded, counts)[0], atol=1e-6)
    adapted.train()(padded, counts)[0].square().sum().backward()
    trained = {name for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    assert trained - {"weights"}
    assert all("lora_" in name for name in trained - {"weights"})
    moved = [p for n, p in adapted.named_parameters() if "lora_B" in n]
    assert all(parameter.grad.any() for parameter in moved)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_layer_drop_act_in_training_only_and_follow_the_seed(kind, folders):
    conf = {"mask_time_prob": 0.3, "mask_time_length": 3, "mask_feature_prob": 0.3, "mask_feature_length": 4}
    _, padded, counts = batch([9000, 5000])
    plain = make(folders[kind])
    for extra in (conf, {"layerdrop": 0.6}):
        frontend = make(folders[kind], **extra)
        switch_dropout_off(frontend)
        with torch.no_grad():
            assert torch.allclose(frontend(padded, counts)[0], plain(padded, counts)[0], atol=1e-5)
            drawn = []
            for seed in (3, 3, 4, 5, 6):
                torch.manual_seed(seed)
                drawn.append(frontend.train()(padded, counts)[0])
        assert torch.equal(drawn[0], drawn[1])
        assert not all(torch.allclose(drawn[0], other, atol=1e-3) for other in drawn[2:])


@pytest.mark.parametrize("length", [2400, 16000])
@pytest.mark.parametrize("kind", KINDS)
def test_where_no_span_is_drawn_nothing_is_masked(kind, length, folders):
    """Transformers would then draw at least two spans, from numpy, and fail on what is shorter than one."""
    _, padded, counts = batch([length])
    feats = []
    for share in (0.0, 1e-9):
        frontend = make(folders[kind], mask_time_prob=share, mask_feature_prob=share).train()
        switch_dropout_off(frontend)
        feats.append(frontend(padded, counts)[0])
    assert torch.allclose(*feats, atol=1e-6)
    feats[1].sum().backward()  # the vector that masks is trained in every batch: DDP waits for each gradient
    assert all(p.grad is not None for n, p in frontend.named_parameters() if n.endswith("masked_spec_embed"))


def test_spans_are_as_long_beside_an_utterance_that_gets_more_of_them():
    for seed in range(20):
        torch.manual_seed(seed)
        hidden = span_mask(torch.tensor([40, 4000]), 4000, probability=0.25, width=10)
        assert hidden[0].sum() == 10  # one span: 0.25 * 40 / 10


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_changes_no_gradient(kind, folders):
    grads = []
    for extra in ({}, {"gradient_checkpointing": True}):
        frontend = make(folders[kind], layerdrop=0.3, **extra).train()
        torch.manual_seed(5)
        feats, frames = frontend(*batch([9000, 4000])[1:])
        sum(feats[row, : frames[row]].square().sum() for row in range(2)).backward()
        grads.append([p.grad for p in frontend.parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1]) > 20
    for one, other in zip(*grads, strict=True):
        assert (one - other).norm() <= 1e-4 * one.norm().clamp(min=1e-3)
