"""Every front end, encoder and pooling, so small that all their combinations are tried."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import torch

from lid_toolkit.models.build import build_model
from lid_toolkit.models.classifiers import LinearSoftmax
from lid_toolkit.models.lid_model import LidModel

BANDS = 16
CLASSES = 3
LOG_MEL = {"n_fft": 64, "hop_length": 80, "n_mels": BANDS}
FRONTENDS: dict[str | None, dict[str, Any]] = {
    "default": LOG_MEL,
    "melspec_torch": {"n_fft": 64, "win_length": 64, "hop_length": 80, "n_mels": BANDS, "log": True},
    "sliding_window": {"win_length": BANDS, "hop_length": 80},
    "fused": {
        "frontends": [
            {"frontend_type": "default", **LOG_MEL},
            {"frontend_type": "sliding_window", "win_length": 100, "hop_length": 120},
        ],
        "proj_dim": BANDS // 2,
    },
    "speechbrain_fbank": {"n_fft": 64, "hop_length": 80, "n_mels": BANDS},
    None: {},
}
TDNN = {"ndim": 8, "model_scale": 2, "output_size": 6}
ENCODERS: dict[str, dict[str, Any]] = {
    "ecapa_tdnn": TDNN,
    "xvector": {"ndim": 8, "output_size": 6},
    "rawnet3": TDNN,
    "ska_tdnn": {**TDNN, "ska_dim": 2},
    "mfaconformer": {
        "output_size": 4,
        "attention_heads": 2,
        "linear_units": 4,
        "num_blocks": 2,
        "cnn_module_kernel": 5,
        "dropout_rate": 0.0,
        "positional_dropout_rate": 0.0,
    },
    "identity": {},
    "speechbrain_ecapa": {"channels": [8, 8, 8, 8, 6], "res2net_scale": 2, "se_channels": 4},
}
POOLINGS: dict[str, dict[str, Any]] = {
    "chn_attn_stat": {},
    "stats": {},
    "mean": {},
    "speechbrain_asp": {"attention_channels": 4},
}
PROJECTORS: dict[str, dict[str, Any]] = {
    "rawnet3": {"output_size": 5},
    "ska_tdnn": {"output_size": 5},
    "xvector": {"output_size": 16},  # of fewer, its rectifier may leave none
    "identity": {},
}
LOSSES: dict[str, dict[str, Any]] = {
    "aamsoftmax_sc_topk": {"K": 2, "k_top": 1},
    "aamsoftmax": {},
    "softmax": {},
    "dnn_softmax": {"lin_neurons": 4},
    "linear_softmax": {},
}
NORMALISERS = ("utterance_mvn", None, "global_mvn")
PRETRAINED = {"transformers", "s3prl", "whisper_language"}  # tested with checkpoints of their own
COMBINATIONS = tuple(itertools.product(FRONTENDS, ENCODERS, POOLINGS))


def description(frontend: str | None, encoder: str, pooling: str) -> dict[str, Any]:
    """Describe a model; projectors, losses and normalisers take turns."""
    turn = COMBINATIONS.index((frontend, encoder, pooling))
    loss = list(LOSSES)[turn % len(LOSSES)]
    normaliser = NORMALISERS[turn % len(NORMALISERS)]
    if encoder == "identity" and normaliser == "utterance_mvn":
        normaliser = None  # the pooled means would be rounding errors, which batch norm then magnifies
    projector = list(PROJECTORS)[(turn // 2) % len(PROJECTORS)]
    return {
        "frontend": frontend,
        "frontend_conf": FRONTENDS[frontend],
        "input_size": BANDS if frontend is None else None,
        "normalize": normaliser,
        "encoder": encoder,
        "encoder_conf": ENCODERS[encoder],
        "pooling": pooling,
        "pooling_conf": POOLINGS[pooling],
        "projector": projector,
        "projector_conf": PROJECTORS[projector],
        "loss": loss,
        "loss_conf": LOSSES[loss],
    }


@functools.cache
def untrained(frontend: str | None, encoder: str, pooling: str) -> LidModel:
    """Build a model whose batch-norm statistics and classifier are not those of untrained ones."""
    torch.manual_seed(COMBINATIONS.index((frontend, encoder, pooling)))
    model = build_model(description(frontend, encoder, pooling), CLASSES).eval()
    for name, value in model.named_buffers():
        if name.endswith(("running_mean", "normalize.mean")):
            value.copy_(0.3 * torch.randn_like(value))
        elif name.endswith(("running_var", "normalize.std")):
            value.copy_(0.5 + torch.rand_like(value))
    if isinstance(model.loss, LinearSoftmax):  # it begins at zero
        torch.nn.init.xavier_uniform_(model.loss.weight)
    return model
