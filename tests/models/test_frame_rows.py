"""Frames as rows: the same numbers and gradients as convolutions and sums of each utterance alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lid_toolkit.models.compiled import compiled
from lid_toolkit.models.encoders.ecapa_tdnn import EcapaTdnnEncoder
from lid_toolkit.models.frame_rows import FrameRows, convolve

CPU = torch.device("cpu")
LENGTHS = [[5, 1, 3], [4, 4], [1], [2, 7]]


def grid(lengths, channels=3, spare=0):
    """Noise (B, T, C), not a number beyond each utterance."""
    torch.manual_seed(0)
    x = torch.full((len(lengths), max(lengths) + spare, channels), torch.nan, dtype=torch.float64)
    for row, length in enumerate(lengths):
        x[row, :length] = torch.randn(length, channels)
    return x, FrameRows.of(torch.tensor(lengths), x.shape[1], CPU)


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_packing_and_back(lengths, spare):
    x, rows = grid(lengths, spare=spare)
    packed = rows.pack(x)
    assert torch.equal(packed, torch.cat([x[row, :length] for row, length in enumerate(lengths)]))
    unpacked = rows.unpack(packed)
    assert unpacked.shape == x.shape
    assert torch.isfinite(unpacked).all()
    assert torch.equal(rows.pack(unpacked), packed)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_means_and_their_spread(lengths):
    x, rows = grid(lengths)
    means = rows.mean(rows.pack(x))
    for row, length in enumerate(lengths):
        assert torch.allclose(means[row], x[row, :length].mean(dim=0))
    assert torch.equal(rows.spread(means), means.repeat_interleave(torch.tensor(lengths), dim=0))


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_convolution_is_that_of_each_utterance_alone(lengths, kernel, dilation):
    x, rows = grid(lengths, spare=1)
    conv = nn.Conv1d(3, 2, kernel, dilation=dilation, padding=kernel // 2 * dilation).double()
    packed = rows.pack(x).requires_grad_()
    ours = convolve(conv, packed, rows.conv_neighbours(conv) if kernel > 1 else None)
    theirs = torch.cat([conv(part.t()).t() for part in packed.split(lengths)])
    assert torch.allclose(ours, theirs)
    weights = torch.randn_like(ours)
    inputs = packed, conv.weight, conv.bias
    for one, other in zip(
        *(torch.autograd.grad((y * weights).sum(), inputs) for y in (ours, theirs)), strict=True
    ):
        assert torch.allclose(one, other)


def test_gradients_of_every_move_between_rows():
    x, rows = grid([4, 1, 2])
    packed = rows.pack(x).requires_grad_()
    conv = nn.Conv1d(3, 3, 3, padding=1)
    moves = rows.unpack, rows.mean, rows.conv_neighbours(conv).apply, lambda y: rows.spread(rows.mean(y))
    # The padding of what is unpacked passes on no gradient by design.
    for move in moves[1:]:
        assert torch.autograd.gradcheck(move, (packed,))
    assert torch.autograd.gradcheck(lambda y: rows.pack(moves[0](y)), (packed,))
    finite = x.nan_to_num(7.0).requires_grad_()
    assert torch.autograd.gradcheck(rows.pack, (finite,))


def test_bfloat16_autocast_reaches_the_weights_and_stays_near():
    torch.manual_seed(0)
    encoder = EcapaTdnnEncoder(6, model_scale=2, ndim=8, output_size=4).train()
    feats, lengths = torch.randn(3, 9, 6), torch.tensor([9, 4, 6])
    outcomes = []
    for narrow in (False, True):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            encoded, _ = encoder(feats, lengths)
        encoded[0].sum().backward()
        outcomes.append((encoded.detach().float(), encoder.layer4.weight.grad.clone()))
    for wide, narrow in zip(*outcomes, strict=True):
        assert torch.isfinite(narrow).all()
        assert (wide - narrow).norm() < 0.1 * wide.norm()


def test_compiled_the_encoder_gives_the_same_gradients(monkeypatch):
    make = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **named: make(f, **named, backend="aot_eager", fullgraph=True)
    )
    torch.manual_seed(0)
    encoder = EcapaTdnnEncoder(6, model_scale=1, ndim=8, output_size=4).double().train()
    feats, lengths = torch.randn(3, 9, 6, dtype=torch.float64), torch.tensor([9, 4, 6])
    weights = torch.randn(4, 9, dtype=torch.float64)
    gradients = []
    for forward in (encoder, compiled(encoder, "", "")):
        encoder.zero_grad()
        (forward(feats, lengths)[0][0] * weights).sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters()])
    for eager, fast in zip(*gradients, strict=True):
        assert torch.allclose(eager, fast, atol=1e-9)


def test_the_example_of_the_module():
    rows = FrameRows.of(torch.tensor([1, 3]), 3, torch.device("cpu"))
    assert rows.row_bt.tolist() == [[0, 4, 4], [1, 2, 3]]
    assert rows.slot_n.tolist() == [0, 3, 4, 5]
    assert rows.utterance_n.tolist() == [0, 1, 1, 1]
    neighbours = rows.conv_neighbours(torch.nn.Conv1d(1, 1, 3, padding=1))
    assert neighbours.there.index_mr.view(4, 3).tolist() == [[4, 0, 4], [4, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert neighbours.back.index_mr[2].tolist() == [9, 7, 5]  # read by rows 3, 2 and 1
