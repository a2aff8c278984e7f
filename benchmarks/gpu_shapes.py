"""Models of known shapes with random weights, and batches for them: nothing is downloaded.

Shapes: b batch, t samples.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.models.build import build_model
from lid_toolkit.models.sealed import DRAWS
from lid_toolkit.training.config import TrainConfig, parse_config
from lid_toolkit.training.distributed import World, spread
from lid_toolkit.training.optimization import configured_optimizer
from lid_toolkit.training.precision import Precision
from lid_toolkit.training.state import Learner, Training

RATE = 16000
CLASSES = 107
LANGUAGES = tuple(f"l{number:02d}" for number in range(CLASSES))
LOG_MEL: Mapping[str, Any] = {
    "frontend": "default",
    "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80},
    "specaug": "specaug",
    "specaug_conf": {"apply_time_warp": False},
}
XLSR_300M = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
MMS_1B = {"hidden_size": 1280, "num_hidden_layers": 48, "num_attention_heads": 16, "intermediate_size": 5120}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SIZES: Mapping[str, Mapping[str, Any]] = {"xlsr-300m": XLSR_300M, "mms-1b": MMS_1B, "xlsr-small": SMALL}


class Undrawn(TorchDispatchMode):
    """Build a model without drawing initial weights: memory that is never touched costs nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in DRAWS else func(*args, **(kwargs or {}))


def encoder_config(sizes: Mapping[str, Any]) -> Any:
    """Return the configuration of an XLS-R encoder of these sizes; it drops no layer and masks no frame."""
    from transformers import Wav2Vec2Config

    fixed = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    return Wav2Vec2Config(layerdrop=0.0, mask_time_prob=0.0, mask_feature_prob=0.0, **fixed, **sizes)


def pretrained(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the front end of ``conf/mms_ecapa_bs3min_baseline.yaml`` with an encoder of these sizes."""
    config = encoder_config(sizes).to_dict()
    return {
        "frontend": "s3prl",
        "frontend_conf": {
            "frontend_conf": {"upstream": "hf_wav2vec2_custom", "path_or_url": "facebook/mms-1b"},
            "multilayer_feature": True,
            "architecture": {"config": config, "normalize_wave": True, "revision": None},
        },
    }


def channels_of(shape: str) -> int:
    """Return the number of channels of a shape's ECAPA-TDNN."""
    name, _, size = shape.partition("-")
    return int(size) if name == "ecapa" else 8 if size == "small" else 512


def configuration(shape: str) -> TrainConfig:
    """Return the training configuration of a shape.

    Shapes are ``ecapa-512`` and ``ecapa-1024`` on log-mel, ``xlsr-300m`` and ``mms-1b``; the small ones,
    ``ecapa-8`` and ``xlsr-small``, are for tests.
    """
    channels = channels_of(shape)
    front = pretrained(SIZES[shape]) if shape in SIZES else LOG_MEL
    return parse_config(
        {
            **copy.deepcopy(dict(front)),
            "normalize": "utterance_mvn",
            "encoder": "ecapa_tdnn",
            "encoder_conf": {"model_scale": min(8, channels), "ndim": channels, "output_size": 3 * channels},
            "pooling": "chn_attn_stat",
            "projector": "rawnet3",
            "projector_conf": {"output_size": 192},
            "loss": "aamsoftmax_sc_topk",
            "loss_conf": {"margin": 0.5, "scale": 30, "K": 3, "mp": 0, "k_top": 5},
            "optim": "adam",
            "optim_conf": {"lr": 5.0e-6},
            "grad_clip": 9999,
        },
        "benchmark",
    )


def make_training(shape: str, device: torch.device, precision: Precision) -> tuple[Training, Learner]:
    """Return a training without data, and its learner with random weights on the device."""
    config, world = configuration(shape), World(device)
    nothing: Any = None
    no_utterances = Utterances(table_from_pairs([]), np.zeros(0, np.int32), np.zeros(0, np.int64))
    training = Training(
        config=config,
        train=no_utterances,
        valid=nothing,
        picked_by="",
        languages=LANGUAGES,
        sampler=nothing,
        world=world,
        precision=precision,
        identity={},
        checkpoint=Path("checkpoint.pth"),
        checkpoint_interval_s=1e9,
    )
    torch.manual_seed(0)
    with Undrawn() if device.type == "meta" else contextlib.nullcontext():
        model = build_model(config.model_description(), CLASSES)
    model.to(device).train()
    wrapped = spread(model, world, False, False)
    optimizer, scaler = configured_optimizer(model, config), precision.scaler(device)
    return training, Learner(model, wrapped, wrapped, optimizer, scaler)


def minibatch(size: int, seconds: float, seed: int = 0) -> Minibatch:
    """Return a batch of noise; half of its utterances are a tenth shorter than the others."""
    samples = round(seconds * RATE)
    generator = torch.Generator().manual_seed(seed)
    lengths_b = torch.full((size,), samples)
    lengths_b[size // 2 :] -= samples // 10
    wave_bt = torch.randn(size, samples, generator=generator) / 10
    wave_bt[torch.arange(samples) >= lengths_b[:, None]] = 0.0
    labels_b = torch.randint(CLASSES, (size,), generator=generator)
    return Minibatch(wave_bt, lengths_b, labels_b, torch.arange(size), [], int(lengths_b.sum()))
