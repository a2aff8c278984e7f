"""Read SpeechBrain's language identifiers that are built like ``lang-id-voxlingua107-ecapa``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lid_toolkit import languages
from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import (
    ANOTHER,
    TAG,
    UNKNOWN,
    ForeignModel,
    Imported,
    parameters_of,
    read_licence,
    read_settings,
    require_fit,
)

SETTINGS = "hyperparams.yaml"
FBANK = "new:speechbrain.lobes.features.Fbank"
NORMALISER = "new:speechbrain.processing.features.InputNormalization"
# Defaults of SpeechBrain's Fbank. Window and hop lengths are in ms, frequencies in Hz, n_fft in samples.
NUMBERS = {"sample_rate": 16000, "n_fft": 400, "win_length": 25, "hop_length": 10, "f_min": 0, "f_max": None}
LABEL = re.compile(r"'(?P<label>.*)' => (?P<index>\d+)")
REFERENCE = re.compile(r"<(?P<key>\w+)>")
# For each part of hyperparams.yaml: a setting's default, and the one value that is supported.
FIXED: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "compute_features": {
        TAG: (FBANK, FBANK),
        "deltas": (False, False),
        "context": (False, False),
        "requires_grad": (False, False),
        "filter_shape": ("triangular", "triangular"),
    },
    "mean_var_norm": {
        TAG: (NORMALISER, NORMALISER),
        "mean_norm": (True, True),
        "norm_type": ("global", "sentence"),
        "std_norm": (True, False),
    },
    "embedding_model": {"activation": ("name:torch.nn.ReLU", "name:torch.nn.ReLU")},
    "classifier": {"activation": ("name:torch.nn.LeakyReLU", "name:torch.nn.LeakyReLU")},
}
# Patterns and replacements for parameter names, applied one after the other.
RENAMED = (
    (r"\.norm\.norm\.", ".norm."),
    (r"\.conv\.conv\.", ".conv."),
    (r"^blocks\.0\.", "encoder.first."),
    (r"^blocks\.1\.", "encoder.blocks.0."),
    (r"^blocks\.2\.", "encoder.blocks.1."),
    (r"^blocks\.3\.", "encoder.blocks.2."),
    (r"\.res2net_block\.blocks\.", ".stages."),
    (r"\.se_block\.conv1\.conv\.", ".reduce."),
    (r"\.se_block\.conv2\.conv\.", ".expand."),
    (r"\.se_block\.conv1\.", ".reduce."),
    (r"\.se_block\.conv2\.", ".expand."),
    (r"^mfa\.", "encoder.mfa."),
    (r"^asp\.tdnn\.conv\.", "pooling.score_frame."),
    (r"^asp\.tdnn\.norm\.", "pooling.norm."),
    (r"^asp\.conv\.", "pooling.score_channel."),
    (r"^asp_bn\.norm\.", "projector.bn."),
    (r"^fc\.conv\.", "projector.fc."),
    (r"^norm\.norm\.", "loss.norm."),
    (r"^DNN\.block_(\d+)\.linear\.w\.", r"loss.linears.\1."),
    (r"^DNN\.block_(\d+)\.norm\.", r"loss.norms.\1."),
    (r"^out\.w\.", "loss.out."),
)


def read_speechbrain(foreign: ForeignModel) -> Imported:
    """Read ``hyperparams.yaml``, ``embedding_model.ckpt``, ``classifier.ckpt`` and ``label_encoder.txt``.

    Sizes are derived from the weights; dilations and feature settings are read from hyperparams.yaml.
    Settings without a counterpart in this toolkit are refused. Labels become ISO 639-3 codes if all of
    them are known.

    Raises:
        LidError: a file is missing or damaged, or the model is built differently.
    """
    settings = read_settings(foreign, foreign.need(SETTINGS))
    labels = read_labels(foreign)
    theirs = {
        name: value
        for file in ("embedding_model.ckpt", "classifier.ckpt")
        for name, value in foreign.weights(foreign.need(file)).items()
    }
    weights = {rename(name): value for name, value in theirs.items()}
    try:
        description = describe(weights, settings, foreign)
    except (KeyError, ValueError, IndexError) as error:
        what = f"the weights are not those of such a model: {error} is missing"
        raise LidError(what, where=foreign.path, mend=ANOTHER) from error
    weights["projector.fc.weight"] = weights["projector.fc.weight"].flatten(1)
    ours = parameters_of(description, weights, len(labels), foreign)
    require_fit(weights, ours, foreign, f"{SETTINGS} and the labels")
    description["licence"] = read_licence(foreign) or UNKNOWN
    return Imported(description, weights, labels, description["frontend_conf"]["sample_rate"])


def rename(name: str) -> str:
    """Return this toolkit's name for a parameter of SpeechBrain."""
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def describe(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], foreign: ForeignModel
) -> dict[str, Any]:
    """Return the components and their arguments; sizes are derived from the shapes of the weights."""
    first, mfa = weights["encoder.first.conv.weight"], weights["encoder.mfa.conv.weight"]
    stages = [k for k in weights if re.fullmatch(r"encoder\.blocks\.0\.stages\.\d+\.conv\.weight", k)]
    kernels = [weights[f"encoder.blocks.{i}.stages.0.conv.weight"].shape[2] for i in range(3)]
    blocks = [k for k in weights if re.fullmatch(r"loss\.linears\.\d+\.weight", k)]
    parts = {name: _part(settings, name, foreign) for name in FIXED}
    return {
        "frontend": "speechbrain_fbank",
        "frontend_conf": _features(parts["compute_features"], first.shape[1], foreign),
        "specaug": None,
        "normalize": "utterance_mvn",
        "encoder": "speechbrain_ecapa",
        "encoder_conf": {
            "channels": [*[first.shape[0]] * 4, mfa.shape[0]],
            "kernel_sizes": [first.shape[2], *kernels, mfa.shape[2]],
            "dilations": parts["embedding_model"].get("dilations", [1, 2, 3, 4, 1]),
            "res2net_scale": len(stages) + 1,
            "se_channels": weights["encoder.blocks.0.reduce.weight"].shape[0],
        },
        "pooling": "speechbrain_asp",
        "pooling_conf": {"attention_channels": weights["pooling.score_frame.weight"].shape[0]},
        "projector": "rawnet3",
        "projector_conf": {"output_size": weights["projector.fc.weight"].shape[0]},
        "loss": "dnn_softmax",
        "loss_conf": {"lin_blocks": len(blocks), "lin_neurons": weights[blocks[0]].shape[0]},
    }


def _features(conf: Mapping[str, Any], n_mels: int, foreign: ForeignModel) -> dict[str, Any]:
    """Return the front end's arguments, translated from those of SpeechBrain's ``Fbank``."""
    numbers = {key: conf.get(key, default) for key, default in NUMBERS.items()}
    for key, value in numbers.items():
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if not is_number and (key, value) != ("f_max", None):
            what = f"compute_features.{key}: {value} is not a number"
            raise LidError(what, where=foreign.path, mend=ANOTHER)
    for key in ("win_length", "hop_length"):
        numbers[key] = round(numbers["sample_rate"] / 1000 * numbers[key])
    return {"n_mels": n_mels, **numbers}


def _part(settings: Mapping[str, Any], name: str, foreign: ForeignModel) -> dict[str, Any]:
    """Return a part's arguments, with references such as ``<n_mels>`` replaced by their values.

    Raises:
        LidError: the part is missing, a reference is undefined, or a value is not supported.
    """
    part = _resolved(settings, name, settings.get(name), foreign)
    if not isinstance(part, dict):
        part = {TAG: part}
    part = {key: _resolved(settings, f"{name}.{key}", value, foreign) for key, value in part.items()}
    for key, (default, supported) in FIXED[name].items():
        if part.get(key, default) != supported:
            setting = name if key == TAG else f"{name}.{key}"
            what = f"{setting}: {part.get(key, default)} is not supported, only {supported}"
            raise LidError(what, where=foreign.path, mend=ANOTHER)
    return part


def _resolved(settings: Mapping[str, Any], name: str, value: Any, foreign: ForeignModel) -> Any:
    reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference is None:
        return value
    if reference["key"] not in settings:
        raise LidError(f"{name}: {value} is not defined", where=foreign.path, mend=ANOTHER)
    return settings[reference["key"]]


def read_labels(foreign: ForeignModel) -> tuple[str, ...]:
    """Return the labels in ``label_encoder.txt`` in index order, as ISO 639-3 codes if all are known."""
    found: dict[int, str] = {}
    for line in foreign.text(foreign.need("label_encoder.txt", "label_encoder.ckpt")).splitlines():
        match = LABEL.fullmatch(line.strip())
        if match is None:
            break
        found[int(match["index"])] = match["label"].partition(":")[0].strip()
    labels = tuple(found[index] for index in sorted(found))
    if sorted(found) != list(range(len(labels))) or len(labels) < 2:
        raise LidError("not a list of labels with their indices", where=f"{foreign.path}: label_encoder.txt")
    try:
        codes = tuple(languages.code(label) for label in labels)
    except LidError:
        return labels
    return codes if len(set(codes)) == len(codes) else labels
