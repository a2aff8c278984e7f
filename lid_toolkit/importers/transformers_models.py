"""Read audio classifiers of ``transformers``, and Whisper, which names the language by a token.

Only ``config.json``, ``preprocessor_config.json``, ``README.md`` and the weights are read. No code of the
model's author is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import (
    ANOTHER,
    ForeignModel,
    Imported,
    answering,
    parameters_of,
    read_licence,
    require_fit,
)
from lid_toolkit.importers.labels import map_labels
from lid_toolkit.models.frontends.pretrained.inputs import RATE
from lid_toolkit.models.frontends.pretrained.upstream_types import Architecture

CONFIG, INPUTS = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
"""Files with weights, the best first. The second one lists the parts of weights in several files."""
CLASSIFIERS: Mapping[str, str] = {
    "wav2vec2": "wav2vec2.",
    "hubert": "hubert.",
    "wavlm": "wavlm.",
    "wav2vec2-bert": "wav2vec2_bert.",
    "whisper": "encoder.",
}
"""The types of classifiers, and how the names of their encoder's parameters begin."""
HEADS = ("ForSequenceClassification", "ForAudioClassification")
WHISPERS = ("WhisperForConditionalGeneration", "WhisperModel")
# Older names of the weight normalisation of a convolution.
RENAMED = (
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)
UNUSED = ("masked_spec_embed",)


def read_config(foreign: ForeignModel) -> dict[str, Any] | None:
    """Return the ``config.json`` of a model of ``transformers``, or None if there is none.

    Raises:
        LidError: it is not JSON.
    """
    name = foreign.find(CONFIG)
    config = None if name is None else foreign.json(name)
    return config if config is not None and "model_type" in config else None


def read_transformers(foreign: ForeignModel, config: Mapping[str, Any], name: str) -> Imported:
    """Read an audio classifier, or Whisper, of ``transformers``.

    Args:
        foreign: ``config.json``, the weights, and perhaps ``preprocessor_config.json`` and ``README.md``.
        config: the content of ``config.json``.
        name: the repository on the Hub, or the name of the folder; the licence depends on it.

    Raises:
        LidError: another kind of model, a file is missing or damaged, or the weights do not fit the
            configuration.
    """
    kind, classes = config["model_type"], [str(each) for each in config.get("architectures") or ()]
    if kind not in CLASSIFIERS:
        known = ", ".join(CLASSIFIERS)
        raise LidError(f"type '{kind}' is not supported", where=foreign.path, mend=f"supported are {known}")
    folder = PurePosixPath(foreign.need(CONFIG)).parent
    if any(each.endswith(HEADS) for each in classes):
        make = classifier
    elif kind == "whisper" and (not classes or any(each in WHISPERS for each in classes)):
        make = whisper
    else:
        what = f"{', '.join(classes) or 'a bare encoder'} does not classify recordings"
        raise LidError(
            what, where=foreign.path, mend="give an audio classifier, or train with frontend: transformers"
        )
    architecture = read_architecture(foreign, config)
    theirs = {_renamed(key): value for key, value in read_weights(foreign, folder).items()}
    made = make(foreign, config, architecture, theirs, name)
    ours = parameters_of(made.description, made.weights, len(made.languages), foreign)
    kept = {key: value for key, value in made.weights.items() if key in ours or not _unused(key)}
    require_fit(kept, ours, foreign, CONFIG)
    licence = read_licence(foreign)
    description = made.description if licence is None else {**made.description, "licence": licence}
    return Imported(description, kept, made.languages, RATE, made.kept)


def classifier(
    foreign: ForeignModel,
    config: Mapping[str, Any],
    architecture: Architecture,
    theirs: Mapping[str, Tensor],
    name: str,
) -> Imported:
    """Return a classifier: the encoder's states, projected, averaged over time, and classified linearly."""
    if config.get("add_adapter"):
        raise LidError("add_adapter: true is not supported", where=foreign.path, mend=ANOTHER)
    labels = map_labels(read_labels(foreign, config))
    weighted, whole = bool(config.get("use_weighted_layer_sum")), config["model_type"] == "whisper"
    conf: dict[str, Any] = {"path_or_url": name, "architecture": architecture}
    conf["layers"] = "all" if weighted else "last"
    if whole:
        conf["whole_windows"] = True
    encoder = CLASSIFIERS[config["model_type"]]
    heads = {"projector.": "projector.fc.", "classifier.": "loss."}
    weights = {}
    for key, value in theirs.items():
        begins, _, rest = key.partition(".")
        if key == "layer_weights":
            weights["frontend.weights"] = value
        elif f"{begins}." in heads:
            weights[heads[f"{begins}."] + rest] = value
        else:
            weights[f"frontend.upstream.{key.removeprefix(encoder)}"] = value
    size = _rows(weights, "projector.fc.weight", foreign)
    description = answering("transformers", conf, "linear") | {"projector_conf": {"output_size": size}}
    return Imported(description, weights, labels.labels, RATE, labels.kept)


def whisper(
    foreign: ForeignModel,
    config: Mapping[str, Any],  # noqa: ARG001 - the architecture holds what is needed
    architecture: Architecture,
    theirs: Mapping[str, Tensor],
    name: str,
) -> Imported:
    """Return Whisper as a language identifier: the posteriors of its language tokens.

    They are the softmax over these tokens alone at the first place after the start-of-transcript token
    (Radford et al., ICML 2023, section 2.3). The description can also be trained: a classifier that corrects
    Whisper begins at zero.
    """
    from lid_toolkit.models.frontends.pretrained.whisper_language import known_languages, language_tokens
    from lid_toolkit.models.frontends.pretrained.whisper_states import START_OF_TRANSCRIPT

    stem = "model." if any(key.startswith("model.") for key in theirs) else ""
    theirs = {key.removeprefix(stem): value for key, value in theirs.items() if key != "proj_out.weight"}
    words = "decoder.embed_tokens.weight"
    _rows(theirs, words, foreign)
    try:
        labels = known_languages(len(theirs[words]))
        tokens_kd = language_tokens(theirs[words], labels)
    except LidError as error:
        raise LidError(error.what, where=foreign.path, mend=error.mend) from error
    weights = {f"frontend.upstream.{key}": value for key, value in theirs.items()}
    weights[f"frontend.upstream.{words}"] = theirs[words][
        START_OF_TRANSCRIPT : START_OF_TRANSCRIPT + 1
    ].clone()
    weights["frontend.tokens_kd"] = tokens_kd
    weights["loss.weight"] = torch.zeros(len(labels), tokens_kd.shape[1])
    conf: dict[str, object] = {
        "path_or_url": name,
        "languages": list(labels),
        "whole_windows": True,
        "architecture": architecture,
    }
    description = answering("whisper_language", conf, offset=True, bias=False)
    return Imported(description, weights, tuple(labels), RATE)


def read_architecture(foreign: ForeignModel, config: Mapping[str, Any]) -> Architecture:
    """Return the encoder's configuration, with the settings of its inputs.

    Raises:
        LidError: a value is not valid.
    """
    from lid_toolkit.models.frontends.pretrained.load import described, refusing_nonsense

    inputs = foreign.find(INPUTS)
    with refusing_nonsense(str(foreign.path)):
        return described(config, None if inputs is None else foreign.json(inputs))


def read_labels(foreign: ForeignModel, config: Mapping[str, Any]) -> list[str]:
    """Return the labels in ``id2label`` of ``config.json`` in index order.

    Raises:
        LidError: there are none, or indices are missing.
    """
    given = config.get("id2label")
    try:
        by_index = {int(index): str(label) for index, label in (given or {}).items()}
    except (AttributeError, TypeError, ValueError):
        by_index = {}
    if len(by_index) < 2 or sorted(by_index) != list(range(len(by_index))):
        what = "id2label in config.json does not list the labels by index"
        raise LidError(what, where=foreign.path, mend="correct it")
    return [by_index[index] for index in range(len(by_index))]


def read_weights(foreign: ForeignModel, folder: PurePosixPath) -> dict[str, Tensor]:
    """Return the tensors beside ``config.json``: in one file, or in several that an index lists.

    Raises:
        LidError: there are no weights, a part is missing, or a file is damaged or holds more than tensors.
    """
    names = set(foreign.names())
    found = next((str(folder / name) for name in WEIGHTS if str(folder / name) in names), None)
    if found is None:
        raise LidError(f"{' or '.join(WEIGHTS)} is missing", where=foreign.path, mend=ANOTHER)
    if not found.endswith(".json"):
        return foreign.weights(found)
    listed = foreign.json(found).get("weight_map")
    parts = sorted({str(part) for part in listed.values()}) if isinstance(listed, dict) else []
    for part in parts:
        if str(folder / part) not in names:
            raise LidError(f"{part} is missing", where=foreign.path, mend="download it again")
    return {key: value for part in parts for key, value in foreign.weights(str(folder / part)).items()}


def _renamed(key: str) -> str:
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    return key


def _rows(weights: Mapping[str, Tensor], key: str, foreign: ForeignModel) -> int:
    """Return the number of rows of a matrix; raise LidError if it is missing."""
    if key not in weights or weights[key].dim() != 2:
        raise LidError(f"the weights lack {key}", where=foreign.path, mend=ANOTHER)
    return len(weights[key])


def _unused(key: str) -> bool:
    """Return whether features do not depend on a parameter, which is only for masks in training."""
    return key.endswith(UNUSED)
