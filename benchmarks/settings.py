"""The model that the toolkits are compared with: ECAPA-TDNN on log-mel features, in ESPnet's keys."""

from __future__ import annotations

from typing import Any

ECAPA_512: dict[str, Any] = {
    "frontend": "default",
    "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80},
    "normalize": "utterance_mvn",
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"model_scale": 8, "ndim": 512, "output_size": 1536},
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 192},
    "loss": "aamsoftmax_sc_topk",
    "loss_conf": {"margin": 0.5, "scale": 30, "K": 3, "mp": 0.06, "k_top": 5},
}
