"""Padding is never seen: not by answers, losses, gradients or batch-norm statistics."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models.espnet import tiny_model
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.models.exporting import exporting
from lid_toolkit.models.masking import (
    MaskedBatchNorm1d,
    continue_by_zeros,
    masked_mean,
    padding_mask,
    time_sum,
)

MODEL = tiny_model()
GARBAGE = 1e4
SCALE = MODEL.loss.scale
LENGTHS = st.lists(
    st.one_of(st.integers(1, 700), st.integers(1, 6000), st.sampled_from([255, 256, 257, 258, 320])),
    min_size=1,
    max_size=5,
)


def batch(lengths, spare=0, fill=GARBAGE, seed=0):
    """Noise of the given lengths, ``fill`` beyond each and ``spare`` samples more."""
    generator = torch.Generator().manual_seed(seed)
    waves = [0.1 * torch.randn(length, generator=generator) for length in lengths]
    padded = pad_sequence(waves, batch_first=True, padding_value=fill)
    return waves, nn.functional.pad(padded, (0, spare), value=fill), torch.tensor(lengths)


@given(lengths=LENGTHS, spare=st.integers(0, 3000))
@settings(max_examples=15, deadline=None)
def test_an_answer_is_the_same_alone_and_in_any_batch(lengths, spare):
    waves, padded, counts = batch(lengths, spare)
    scores, embeddings = MODEL.identify(padded, counts)
    raw = MODEL.embed(padded, counts)
    for row, wave in enumerate(waves):
        alone = wave[None], torch.tensor([len(wave)])
        lone_scores, lone_embedding = MODEL.identify(*alone)
        assert torch.allclose(embeddings[row], lone_embedding[0], atol=1e-5, rtol=0)
        lone_raw = MODEL.embed(*alone)[0]
        # Rounding grows with the numbers: it is measured by the embedding's length.
        assert (raw[row] - lone_raw).abs().max() <= 1e-5 * lone_raw.norm()
        assert torch.allclose(scores[row] / SCALE, lone_scores[0] / SCALE, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [[1], [1, 1], [1, 2, 9], [3, 40, 1]])
@torch.no_grad()
def test_encoder_and_pooling_down_to_one_frame(frames):
    feats = [torch.randn(count, 40) for count in frames]
    padded = pad_sequence(feats, batch_first=True, padding_value=GARBAGE)
    counts = torch.tensor(frames)
    pooled = MODEL.pooling(*MODEL.encoder(padded, counts))
    for row, own in enumerate(feats):
        count = torch.tensor([len(own)])
        lone = MODEL.pooling(*MODEL.encoder(own[None], count))[0]
        assert torch.isfinite(lone).all()
        assert torch.allclose(pooled[row], lone, atol=1e-5, rtol=0)


def train_once(padded, counts):
    """Return loss, gradients and buffers after one forward and backward pass in training mode."""
    model = tiny_model().train()
    output = model(padded, counts, torch.arange(len(counts)) % 5)
    output.loss.backward()
    return output.loss, [p.grad for p in model.parameters()], list(model.buffers())


@pytest.mark.parametrize("lengths", [[9000, 4000, 1], [700, 8000], [3000, 3000]])
def test_what_stands_in_the_padding_changes_no_bit_of_a_training_step(lengths):
    silent, loud = (
        train_once(nn.functional.pad(padded, (0, 500), value=fill), counts)
        for fill in (0.0, GARBAGE)
        for _, padded, counts in [batch(lengths, fill=fill)]
    )
    assert torch.equal(silent[0], loud[0])
    for one, other in zip(silent[1] + silent[2], loud[1] + loud[2], strict=True):
        assert torch.equal(one, other)


def test_how_much_padding_there_is_changes_a_training_step_by_rounding_only():
    little, much = (train_once(*batch([9000, 4000, 1], spare)[1:]) for spare in (0, 5000))
    assert torch.allclose(little[0], much[0], atol=1e-5)
    for one, other in zip(little[1] + little[2], much[1] + much[2], strict=True):
        one, other = one.double(), other.double()
        assert (one - other).norm() <= 1e-3 * other.norm().clamp(min=1e-2)


@pytest.mark.parametrize("frames", [[7, 3, 1], [5, 5], [1, 6]])
def test_masked_batch_norm_is_batch_norm_of_the_valid_frames(frames):
    torch.manual_seed(0)
    masked, plain = MaskedBatchNorm1d(4), nn.BatchNorm1d(4)
    with torch.no_grad():
        masked.weight.copy_(torch.randn(4))
        masked.bias.copy_(torch.randn(4))
    plain.load_state_dict(masked.state_dict())
    padded = torch.randn(len(frames), 4, max(frames))
    mask = padding_mask(torch.tensor(frames), max(frames), padded.device)
    keep = torch.ones(len(frames), max(frames), dtype=torch.bool) if mask is None else mask[:, 0]
    packed = padded.transpose(1, 2)[keep].requires_grad_()
    padded.requires_grad_()

    ours = masked(padded, mask).transpose(1, 2)[keep]
    theirs = plain(packed)
    assert torch.allclose(ours, theirs, atol=1e-6)
    for name, value in plain.state_dict().items():
        assert torch.allclose(masked.state_dict()[name].float(), value.float(), atol=1e-6), name

    weights = torch.randn_like(theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    assert torch.allclose(padded.grad.transpose(1, 2)[keep], packed.grad, atol=1e-5)
    assert not padded.grad.transpose(1, 2)[~keep].any()
    assert torch.allclose(masked.weight.grad, plain.weight.grad, atol=1e-5)
    assert torch.allclose(masked.bias.grad, plain.bias.grad, atol=1e-5)


def test_gradient_of_masked_batch_norm_by_differences():
    torch.manual_seed(0)
    norm = MaskedBatchNorm1d(3).double().train()
    mask = padding_mask(torch.tensor([7, 3, 1]), 7, torch.device("cpu"))
    x = torch.randn(len(mask), 3, mask.shape[2], dtype=torch.float64, requires_grad=True)
    parameters = norm.weight, norm.bias

    def valid(x, *_):
        return norm(x, mask).masked_fill(~mask, 0.0)

    assert torch.autograd.gradcheck(valid, (x, *parameters))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_of_many_rows_keeps_its_digits(dtype):
    torch.manual_seed(0)
    norm, exact = MaskedBatchNorm1d(4), nn.BatchNorm1d(4).double()
    x = (torch.randn(20000, 4) + 1).to(dtype).requires_grad_()
    wide = x.detach().double().requires_grad_()
    weights = torch.randn(20000, 4)
    ours, theirs = norm(x), exact(wide)
    assert ours.dtype == dtype
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    near = 1e-6 if dtype == torch.float32 else 1e-2
    for one, other in (
        (ours, theirs),
        (x.grad, wide.grad),
        (norm.weight.grad, exact.weight.grad),
        (norm.running_var, exact.running_var),
    ):
        assert (one - other).norm() < near * other.norm()


def test_compiled_batch_norm_has_the_same_gradient():
    torch.manual_seed(0)
    mask = padding_mask(torch.tensor([5, 2]), 5, torch.device("cpu"))
    x, weights = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    gradients = []
    for forward in (MaskedBatchNorm1d(3), torch.compile(MaskedBatchNorm1d(3), backend="aot_eager")):
        own = x.clone().requires_grad_()
        (forward(own, mask) * weights * mask).sum().backward()
        gradients.append(own.grad)
    assert torch.allclose(*gradients, atol=1e-6)
    assert gradients[0].any()


def test_one_utterance_trains_with_the_running_statistics():
    norm = MaskedBatchNorm1d(3)
    norm.running_mean.fill_(2.0)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(1, 3, 1)
    assert torch.allclose(norm.train()(x), norm.eval()(x))
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
    loss, gradients, _ = train_once(*batch([4000])[1:])
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_short_utterances_are_continued_by_zeros():
    x_btd = torch.full((3, 4, 2), GARBAGE)
    longer_btd, lengths = continue_by_zeros(x_btd, torch.tensor([1, 4, 3]), 5)
    assert lengths.tolist() == [5, 5, 5]
    assert longer_btd.shape == (3, 5, 2)
    assert [(row[:, 0] != 0).sum().item() for row in longer_btd] == [1, 4, 3]
    same_btd, lengths = continue_by_zeros(x_btd, torch.tensor([2, 4, 3]), 2)
    assert same_btd is x_btd
    assert lengths.tolist() == [2, 4, 3]


@pytest.mark.parametrize("lengths", [[4096, 4096], [4096, 1000]])
def test_a_mean_of_bfloat16_has_the_digits_of_float32(lengths):
    x_bct = torch.full((2, 1, 4096), 1.0, dtype=torch.bfloat16)
    x_bct[..., ::2] += 2**-7
    mean_bc1 = masked_mean(x_bct, padding_mask(torch.tensor(lengths), 4096, x_bct.device))
    assert mean_bc1.dtype == torch.float32
    assert mean_bc1.flatten().tolist() == [1 + 2**-8] * 2


def test_nothing_is_learnt_from_the_gradient_at_padding():
    mask_b1t = padding_mask(torch.tensor([5, 2]), 5, torch.device("cpu"))
    x_bct, gradient_bct = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    found = []
    for gradient in (gradient_bct, gradient_bct.masked_fill(~mask_b1t, GARBAGE)):
        norm, input_bct = MaskedBatchNorm1d(3), x_bct.clone().requires_grad_()
        norm(input_bct, mask_b1t).backward(gradient)
        found.append((input_bct.grad, norm.weight.grad, norm.bias.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_sum_over_frames_of_an_exported_model_is_the_sum():
    x_btc = torch.arange(24.0).reshape(2, 3, 4)
    with exporting():
        assert torch.equal(time_sum(x_btc), x_btc.sum(dim=1))
    assert torch.equal(time_sum(x_btc), x_btc.sum(dim=1))
