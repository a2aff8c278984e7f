"""Read NeMo's ``.nemo`` files of AmberNet and models of the same parts.

A ``.nemo`` file is a tar with ``model_config.yaml`` and ``model_weights.ckpt``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import (
    ANOTHER,
    UNKNOWN,
    ForeignModel,
    Imported,
    parameters_of,
    require_fit,
)
from lid_toolkit.importers.labels import map_labels
from lid_toolkit.models.frontends.mel_filters import mel_filters

SUFFIX = ".nemo"
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
SAME = 1e-4
"""Largest difference of mel filters of one definition, whose largest weights are some 1e-2."""
MOST_BLOCKS = 100
PARTS = ("preprocessor", "encoder", "decoder", "loss", "train_ds", "labels")
"""The parts of the configuration that are read."""
# For each part: a setting, its default, and the values that are supported.
PREPROCESSOR = {
    "normalize": ("per_feature", ("per_feature",)),
    "window": ("hann", ("hann",)),
    "frame_splicing": (1, (1,)),
    "log": (True, (True,)),
    "log_zero_guard_type": ("add", ("add",)),
    "log_zero_guard_value": (2**-24, (2**-24,)),
    "mag_power": (2.0, (2.0,)),
    "exact_pad": (False, (False,)),
    "lowfreq": (0, (0,)),
    "highfreq": (None, (None,)),
    "mel_norm": ("slaney", ("slaney",)),
    "preemph": (0.97, (0.97,)),
}
ENCODER = {
    "activation": (None, ("relu",)),
    "conv_mask": (True, (True,)),
    "normalization_mode": ("batch", ("batch",)),
    "residual_mode": ("add", ("add",)),
}
BLOCK = {
    "stride": ([1], ([1], 1)),
    "groups": (1, (1,)),
    "heads": (-1, (-1,)),
    "residual_mode": ("add", ("add",)),
    "residual_dense": (False, (False,)),
    "kernel_size_factor": (1.0, (1.0,)),
    "se_context_size": (-1, (-1,)),
    "future_context": (-1, (-1,)),
}
DECODER = {"pool_mode": ("xvector", ("attention",))}


def read_nemo(foreign: ForeignModel) -> Imported:
    """Read a model of NeMo's ``EncDecSpeakerLabelModel``, such as ``langid_ambernet``.

    Raises:
        LidError: a file is missing or damaged, or the model is built differently.
    """
    config = resolved(foreign.yaml(foreign.need(CONFIG)), foreign)
    labels = read_labels(config, foreign)
    theirs = foreign.weights(foreign.need(WEIGHTS))
    description, angular = describe(config, theirs, foreign)
    check_filters(description, theirs, foreign)
    weights = {renamed: value for name, value in theirs.items() if (renamed := rename(name, description))}
    if "projector.fc.weight" in weights:  # a convolution of one frame
        weights["projector.fc.weight"] = weights["projector.fc.weight"].flatten(1)
    if angular and "loss.weight" in weights:
        weights["loss.weight"] = angular * weights["loss.weight"]
    mapped = map_labels(labels)
    require_fit(weights, parameters_of(description, weights, len(labels), foreign), foreign, CONFIG)
    rate = config["preprocessor"]["sample_rate"]
    return Imported(description, weights, mapped.labels, rate, mapped.kept)


def describe(
    config: Mapping[str, Any], theirs: Mapping[str, Tensor], foreign: ForeignModel
) -> tuple[dict[str, Any], float]:
    """Return the components and their arguments, and the scale of an angular classifier; 0 for a linear one.

    Raises:
        LidError: a setting is missing, or is not supported.
    """
    encoder = _part(config, "encoder", ENCODER, foreign)
    preprocessor = _part(config, "preprocessor", PREPROCESSOR, foreign)
    decoder = _part(config, "decoder", DECODER, foreign)
    listed = encoder.get("jasper")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_BLOCKS:
        raise LidError("encoder.jasper is not a list of blocks", where=foreign.path, mend=ANOTHER)
    angular = bool(decoder.get("angular", False))
    scale = float((config.get("loss") or {}).get("scale", 30)) if angular else 0.0
    try:
        rate = preprocessor["sample_rate"]
        window = int(preprocessor["window_size"] * rate)
        frontend = {
            "sample_rate": rate,
            "n_fft": preprocessor.get("n_fft") or 2 ** math.ceil(math.log2(window)),
            "win_length": window,
            "hop_length": int(preprocessor["window_stride"] * rate),
            "n_mels": preprocessor["features"],
        }
        blocks = [_block(listed, place, foreign) for place in range(len(listed))]
        hidden = len(theirs["decoder._pooling.attention_layer.0.conv_layer.weight"])
        size = len(theirs["decoder.emb_layers.0.1.weight"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"{CONFIG} or the weights lack or misstate {error}"
        raise LidError(what, where=foreign.path, mend=ANOTHER) from error
    description: dict[str, Any] = {
        "frontend": "nemo_mel",
        "frontend_conf": frontend,
        "specaug": None,
        "normalize": None,
        "encoder": "nemo_conv",
        "encoder_conf": {"blocks": blocks},
        "pooling": "speechbrain_asp",
        "pooling_conf": {"attention_channels": hidden, "variance_floor": 1e-10},
        "projector": "rawnet3",
        "projector_conf": {"output_size": size, "unit_length": angular},
        "loss": "linear_softmax",
        "loss_conf": {"bias": not angular},
        "licence": UNKNOWN,
    }
    return description, scale


def _block(listed: list[Any], place: int, foreign: ForeignModel) -> dict[str, Any]:
    where = f"encoder.jasper.{place}"
    block = _supported(listed[place], where, BLOCK, foreign)
    one = {key: value[0] if isinstance(value, list) else value for key, value in block.items()}
    return {
        "filters": one["filters"],
        "repeat": one["repeat"],
        "kernel": one["kernel"],
        "dilation": one["dilation"],
        "residual": one["residual"],
        "separable": one.get("separable", False),
        "se": one.get("se", False),
        "se_reduction": one.get("se_reduction_ratio", 8),
    }


def rename(name: str, description: Mapping[str, Any]) -> str | None:
    """Return this toolkit's name for a parameter of NeMo; None for constants and what only training needs.

    In a block of NeMo, the convolutions, norms, rectifiers and dropouts of all repetitions are in one list.
    """
    if name.startswith(("preprocessor.", "loss.", "eval_loss.", "spec_augmentation.", "_accuracy", "_macro")):
        return None
    if match := re.fullmatch(r"encoder\.encoder\.(\d+)\.(mconv|res)\.(\d+)\.(.+)", name):
        block, kind, place, rest = int(match[1]), match[2], int(match[3]), match[4].removeprefix("conv.")
        blocks = description["encoder_conf"]["blocks"]
        if block >= len(blocks):
            return name
        if kind == "res":
            within, _, rest = match[4].partition(".")
            part = {"0": "conv", "1": "norm"}.get(within, within)
            return f"encoder.blocks.{block}.residual.{part}.{rest.removeprefix('conv.')}"
        parts = ["conv", "mix", "norm"] if blocks[block]["separable"] else ["conv", "norm"]
        stage, within = divmod(place, len(parts) + 2)
        if within < len(parts):
            return f"encoder.blocks.{block}.stages.{stage}.{parts[within]}.{rest}"
        layer = {"fc.0.": "reduce.", "fc.2.": "expand."}.get(rest[:5], rest[:5])
        return f"encoder.blocks.{block}.se.{layer}{rest[5:]}"
    for pattern, replacement in (
        (r"^decoder\._pooling\.attention_layer\.0\.conv_layer\.", "pooling.score_frame."),
        (r"^decoder\._pooling\.attention_layer\.0\.bn\.", "pooling.norm."),
        (r"^decoder\._pooling\.attention_layer\.2\.", "pooling.score_channel."),
        (r"^decoder\.emb_layers\.0\.0\.", "projector.bn."),
        (r"^decoder\.emb_layers\.0\.1\.", "projector.fc."),
        (r"^decoder\.final\.", "loss."),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def read_labels(config: Mapping[str, Any], foreign: ForeignModel) -> list[str]:
    """Return the labels in index order: those of the training set in the configuration.

    Raises:
        LidError: there are none.
    """
    for holder in (config.get("train_ds"), config, config.get("decoder")):
        found = holder.get("labels") if isinstance(holder, Mapping) else None
        if isinstance(found, list) and len(found) > 1:
            return [str(label) for label in found]
    raise LidError(f"{CONFIG} has no train_ds.labels", where=foreign.path, mend=ANOTHER)


def check_filters(
    description: Mapping[str, Any], theirs: Mapping[str, Tensor], foreign: ForeignModel
) -> None:
    """Raise LidError if the model has other mel filters than the front end makes for its settings."""
    stored, conf = theirs.get("preprocessor.featurizer.fb"), description["frontend_conf"]
    if stored is None:
        return
    expected = (conf["n_mels"], conf["n_fft"] // 2 + 1)
    ours: Tensor | None = None
    if stored.dim() == 3 and stored.shape[1:] == expected:
        rate = conf["sample_rate"]
        ours = mel_filters(conf["n_mels"], conf["n_fft"], rate, 0.0, rate / 2, htk=False)
    if ours is None or not torch.allclose(stored[0].T.float(), ours, atol=SAME):
        raise LidError(f"its mel filters are not those of {CONFIG}", where=foreign.path, mend=ANOTHER)


def resolved(config: Mapping[str, Any], foreign: ForeignModel) -> dict[str, Any]:
    """Return a configuration with references such as ``${model_defaults.filters}`` replaced by their values.

    Raises:
        LidError: a reference is not defined, or leads to itself.
    """

    def value_of(value: Any, left: int) -> Any:
        if isinstance(value, Mapping):
            return {key: value_of(item, left) for key, item in value.items()}
        if isinstance(value, list):
            return [value_of(item, left) for item in value]
        match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value
        found: Any = config
        for key in match[1].removeprefix("model.").split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is None or isinstance(found, Mapping | list) or not left:
            raise LidError(f"{CONFIG}: {value} is not defined", where=foreign.path, mend=ANOTHER)
        return value_of(found, left - 1)

    return {key: value_of(config[key], 5) for key in config if key in PARTS}


def _part(
    config: Mapping[str, Any],
    name: str,
    known: Mapping[str, tuple[Any, tuple[Any, ...]]],
    foreign: ForeignModel,
) -> dict[str, Any]:
    return _supported(config.get(name), name, known, foreign)


def _supported(
    part: Any, name: str, known: Mapping[str, tuple[Any, tuple[Any, ...]]], foreign: ForeignModel
) -> dict[str, Any]:
    """Return a part of the configuration; raise LidError for a value that is not supported."""
    if not isinstance(part, Mapping):
        raise LidError(f"{CONFIG} has no {name}", where=foreign.path, mend=ANOTHER)
    for key, (default, supported) in known.items():
        if part.get(key, default) not in supported:
            what = f"{name}.{key}: {part.get(key, default)} is not supported, only {supported[0]}"
            raise LidError(what[:300], where=foreign.path, mend=ANOTHER)
    return dict(part)
