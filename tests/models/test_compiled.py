"""A compiled model: one graph for batches of all sizes, with the results of the model itself."""

from __future__ import annotations

import pytest
import torch

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model
from lid_toolkit.models.compiled import compiled

DESCRIPTION = {
    "frontend": "default",
    "frontend_conf": {"fs": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 8},
    "normalize": "utterance_mvn",
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"model_scale": 1, "ndim": 4, "output_size": 6},
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 5},
    "loss": "aamsoftmax_sc_topk",
    "loss_conf": {"margin": 0.5, "scale": 30, "K": 3, "mp": 0, "k_top": 2},
}
LENGTHS = ([3200, 2500, 1700], [4000, 4000], [1600, 900, 1600, 1300])  # the second has no padding
COMPILE = torch.compile


def test_one_graph_identifies_batches_of_all_sizes(monkeypatch):
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, **named: COMPILE(f, **named, backend=backend))
    torch.manual_seed(0)
    model = build_model(DESCRIPTION, 4).eval()
    identify = compiled(model.identify, "", "")
    for lengths_b in map(torch.tensor, LENGTHS):
        wave_bt = torch.randn(len(lengths_b), int(lengths_b.max())) / 10
        for ours, expected in zip(
            identify(wave_bt, lengths_b), model.identify(wave_bt, lengths_b), strict=True
        ):
            assert torch.allclose(ours, expected, atol=1e-5)
    assert len(graphs) == 1, "a graph break, or a graph for each size"


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    def broken(_graph, _inputs):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda f, **named: COMPILE(f, **named, backend=broken))
    with pytest.raises(LidError, match=r"^option: .*no C\+\+ compiler.*leave it out"):
        compiled(torch.neg, "option", "leave it out")(torch.zeros(2))
