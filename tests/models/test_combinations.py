"""Every front end with every encoder and pooling: padding is seen neither by answers nor by training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models.combinations import (
    BANDS,
    CLASSES,
    COMBINATIONS,
    ENCODERS,
    FRONTENDS,
    POOLINGS,
    description,
    untrained,
)
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.models.build import build_model
from lid_toolkit.models.lid_model import LidModel

GARBAGE = 1e3


def utterances(frontend: str | None, lengths: list[int], seed: int = 0) -> list[Tensor]:
    """Return waveforms, or features of a 40th as many frames for a model without a front end."""
    generator = torch.Generator().manual_seed(seed)
    if frontend is None:
        return [torch.randn(length // 40 + 1, BANDS, generator=generator) for length in lengths]
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def padded(inputs: list[Tensor], spare: int = 0, fill: float = GARBAGE) -> tuple[Tensor, Tensor]:
    """Return the inputs as a batch with ``spare`` more steps, ``fill`` wherever there is no input."""
    batch = pad_sequence(inputs, batch_first=True, padding_value=fill)
    inner = (0, 0) * (batch.dim() - 2)
    return nn.functional.pad(batch, (*inner, 0, spare), value=fill), torch.tensor([len(x) for x in inputs])


@torch.no_grad()
def answers(model: LidModel, inputs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings and logits, both as multiples of their usual size."""
    embedding_bd = model.embed(inputs, lengths_b)
    size = embedding_bd.norm(dim=1, keepdim=True).clamp(min=1.0)
    return embedding_bd / size, model.loss.logits(embedding_bd) / getattr(model.loss, "scale", 1.0)


def assert_same_alone(combination: tuple[str | None, str, str], lengths: list[int], spare: int) -> None:
    assert_alone_as_together(untrained(*combination).eval(), utterances(combination[0], lengths), spare)


def assert_alone_as_together(model: LidModel, inputs: list[Tensor], spare: int) -> None:
    together = answers(model, *padded(inputs, spare))
    for row, one in enumerate(inputs):
        for batched, alone in zip(together, answers(model, *padded([one])), strict=True):
            assert torch.allclose(batched[row], alone[0], atol=1e-5, rtol=0), (len(one), row)


@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_an_answer_is_the_same_alone_and_in_a_batch(combination):
    assert_same_alone(combination, [1, 1900, 81, 700], spare=333)


VARIANTS: dict[str, dict[str, Any]] = {
    "frames that begin on multiples": {"frontend_conf": {**FRONTENDS["default"], "center": False}},
    "energies without logarithm or pre-emphasis": {
        "frontend": "melspec_torch",
        "frontend_conf": {**FRONTENDS["melspec_torch"], "preemp": False, "log": False, "normalize": "mn"},
    },
    "unit variance": {"normalize": "utterance_mvn", "normalize_conf": {"norm_vars": True, "eps": 0.1}},
    "unpadded layers": {
        "encoder": "xvector",
        "encoder_conf": {"ndim": 8, "output_size": 6, "paddings": [0, 2, 0, 0, 1]},
    },
    "uneven groups": {"encoder": "rawnet3", "encoder_conf": {"ndim": 7, "model_scale": 2, "output_size": 6}},
    "uneven groups of rows": {
        "encoder": "ecapa_tdnn",
        "encoder_conf": {"ndim": 7, "model_scale": 2, "output_size": 6},
    },
    "a single group": {
        "encoder_conf": {"ndim": 7, "model_scale": 1, "output_size": 6},
        "encoder": "ecapa_tdnn",
    },
    "latest positions": {"rel_pos_type": "latest", "macaron_style": True, "input_layer": "conv2d1"},
    "convolutional feed-forward": {
        "positionwise_layer_type": "conv1d",
        "normalize_before": False,
        "use_cnn_module": False,
        "input_layer": "conv2d8",
    },
    "half convolutional feed-forward": {
        "positionwise_layer_type": "conv1d-linear",
        "rel_pos_type": "latest",
        "zero_triu": True,
        "input_layer": "conv2d6",
    },
    "a short table of positions": {"max_pos_emb_len": 4, "input_layer": "conv2d"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_so_it_is_with_other_arguments(variant):
    changes = VARIANTS[variant]
    if "frontend_conf" not in changes and "normalize" not in changes and "encoder" not in changes:
        changes = {"encoder": "mfaconformer", "encoder_conf": {**ENCODERS["mfaconformer"], **changes}}
    torch.manual_seed(0)
    model = build_model({**description("default", "xvector", "stats"), **changes}, CLASSES)
    assert_alone_as_together(model.eval(), utterances("default", [1, 1900, 81, 700]), spare=333)


@given(
    combination=st.sampled_from(COMBINATIONS),
    lengths=st.lists(st.one_of(st.integers(1, 200), st.integers(1, 4000)), min_size=1, max_size=5),
    spare=st.integers(0, 2000),
)
@settings(max_examples=60, deadline=None)
def test_an_answer_is_the_same_alone_and_in_any_batch(combination, lengths, spare):
    assert_same_alone(combination, lengths, spare)


def train_once(model: LidModel, inputs: Tensor, lengths_b: Tensor) -> list[Tensor]:
    """Return gradients and buffers after a pass in training mode; leave the model as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train().zero_grad()
    model(inputs, lengths_b, torch.arange(len(lengths_b)) % CLASSES).loss.backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    buffers = [value.flatten().float() for value in model.buffers()]
    outcome = [torch.cat(gradients), torch.cat([torch.zeros(0), *buffers])]
    model.load_state_dict(before)
    return outcome


@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_padding_contributes_nothing_to_training(combination):
    model = untrained(*combination)
    inputs = utterances(combination[0], [1500, 800, 1100, 1])
    silent = train_once(model, *padded(inputs, fill=0.0))
    loud = train_once(model, *padded(inputs))
    longer = train_once(model, *padded(inputs, spare=500))
    for expected, same, close in zip(silent, loud, longer, strict=True):
        assert torch.equal(expected, same)
        assert (expected - close).norm() <= 3e-3 * expected.norm()  # sums of another length round otherwise


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("frontend", FRONTENDS)
def test_a_training_step_under_bfloat16_autocast(frontend, encoder):
    model = untrained(frontend, encoder, list(POOLINGS)[len(frontend or "") % len(POOLINGS)])
    inputs = padded(utterances(frontend, [1500, 800, 1]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gradients, statistics = train_once(model, *inputs)
    assert torch.isfinite(gradients).all()
    assert torch.isfinite(statistics).all()
