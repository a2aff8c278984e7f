"""Read experiments of ESPnet's ``lid1``: config.yaml, a state dict, and lang2utt with the label order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import ForeignModel, Imported, mismatches, read_settings
from lid_toolkit.models.build import build_model
from lid_toolkit.models.frontends.pretrained.load import read_architecture
from lid_toolkit.models.registry import COMPONENTS

DEFAULT_RATE = 16000
MODEL_NAMES = ("valid.accuracy.best.pth", "valid.accuracy.ave.pth")
# Constants in ESPnet's state dicts. This toolkit computes them when it builds a front end.
CONSTANTS = re.compile(r"frontend\.(frontends\.\d+\.)?(logmel\.melmat|flipped_filter|transform\..*)")
UNUSED = re.compile(r"frontend\.(frontends\.\d+\.)?(upstream\.|weights$)")
# Patterns and replacements for parameter names, applied one after the other.
RENAMED = (
    (r"^pooling\.attention\.0\.", "pooling.score_frame."),
    (r"^pooling\.attention\.2\.", "pooling.norm."),
    (r"^pooling\.attention\.3\.", "pooling.score_channel."),
    (r"\.se\.se\.1\.", ".se.reduce."),
    (r"\.se\.se\.3\.", ".se.norm."),
    (r"\.se\.se\.4\.", ".se.expand."),
    (r"\.(skfwse|skcwse)\.(fcs?)\.", r".\1.attention.\2."),
    (r"^encoder\.embed\.out\.0\.", "encoder.embed.out."),
    (r"^frontend\.(frontends\.\d+\.)?upstream\.upstream\.model\.", r"frontend.\1upstream."),
    (r"^frontend\.(frontends\.\d+\.)?featurizer\.weights$", r"frontend.\1weights"),
    (r"\.pos_conv_embed\.conv\.weight_g$", ".pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"\.pos_conv_embed\.conv\.weight_v$", ".pos_conv_embed.conv.parametrizations.weight.original1"),
)


def read_espnet(
    foreign: ForeignModel, lang2utt: Path | None = None, model_file: str | None = None
) -> Imported:
    """Read an experiment directory of ESPnet's ``lid1``, or the zip that ESPnet packs from it.

    Args:
        foreign: holds ``config.yaml`` and the weights.
        lang2utt: file whose lines start with the labels, in index order. None for the file that config.yaml
            names, which is looked for in the model and then at its original path. ESPnet's zips lack it.
        model_file: name of the file with the weights; None for the best by accuracy.

    Raises:
        LidError: a file is missing or damaged, a component is not supported, or the weights do not fit
            config.yaml.
    """
    name = foreign.need("config.yaml")
    config = read_settings(foreign, name)
    languages = read_labels(foreign, config, lang2utt)
    description = describe(config)
    model = build_model(description, len(languages))
    theirs = foreign.weights(choose_weights(foreign, PurePosixPath(name).parent, model_file))
    weights = fit(rename(theirs), model.state_dict(), foreign)
    rate = arguments(config, "preprocessor_conf").get("sample_rate", DEFAULT_RATE)
    return Imported(description, weights, languages, model.frontend.rate or rate)


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that config.yaml names and their arguments, without those only for training.

    Raises:
        LidError: arguments that are not a mapping, or a pretrained encoder that cannot be found.
    """
    description: dict[str, Any] = {"input_size": config.get("input_size")}
    for component in COMPONENTS:
        description[component] = config.get(component)
        description[f"{component}_conf"] = dict(arguments(config, f"{component}_conf"))
    description["normalize_conf"].pop("stats_file", None)  # the state dict holds the statistics
    conf = description["frontend_conf"]
    if description["frontend"] == "s3prl":
        description["frontend_conf"] = with_architecture(conf)
    elif description["frontend"] == "fused" and isinstance(conf.get("frontends"), list):
        conf["frontends"] = [
            with_architecture(part)
            if isinstance(part, Mapping) and part.get("frontend_type") == "s3prl"
            else part
            for part in conf["frontends"]
        ]
    return description


def arguments(conf: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a component's arguments; raise LidError if they are not a mapping."""
    found = conf.get(key) or {}
    if not isinstance(found, Mapping):
        what = f"{key}: {found} is not a list of 'key: value' lines"
        raise LidError(what, where="config.yaml", mend="correct the value")
    return found


def with_architecture(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an ``s3prl`` front end, with the architecture of its pretrained encoder.

    With the architecture in its arguments, the front end is built without loading the pretrained weights,
    which ESPnet's state dict replaces anyway.
    """
    checkpoint = arguments(conf, "frontend_conf").get("path_or_url")
    if checkpoint is None:  # building the front end reports this
        return dict(conf)
    return {**conf, "architecture": read_architecture(str(checkpoint), conf.get("download_dir"))}


def rename(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ESPnet's parameters under this toolkit's names."""
    renamed = {}
    for name, value in theirs.items():
        if CONSTANTS.fullmatch(name):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def fit(weights: dict[str, Tensor], ours: Mapping[str, Tensor], foreign: ForeignModel) -> dict[str, Tensor]:
    """Return the weights that our model has; it does not build those layers of an upstream that are not used.

    Raises:
        LidError: other names or shapes differ.
    """
    kept = {k: v for k, v in weights.items() if k in ours or not UNUSED.match(k)}
    if unfit := mismatches(kept, ours):
        raise LidError(
            f"{len(unfit)} parameters do not fit config.yaml and the languages, such as {unfit[0]}",
            where=foreign.path,
            mend="check that the weights and lang2utt belong to this config.yaml",
        )
    return kept


def choose_weights(foreign: ForeignModel, directory: PurePosixPath, model_file: str | None) -> str:
    """Return the name of the file with the weights: ``model_file``, or the best one beside config.yaml."""
    names = [PurePosixPath(name) for name in foreign.names() if name.endswith(".pth")]
    if model_file is not None:
        names = [name for name in names if name.name == model_file]
    else:
        best = [name for wanted in MODEL_NAMES for name in names if name.name == wanted]
        names = best[:1] or [name for name in names if name.parent == directory]
    if len(names) != 1:
        what = f"{len(names)} files of weights: {' '.join(map(str, names))}" if names else "no weights found"
        raise LidError(what, where=foreign.path, mend="give the name of one as model_file")
    return str(names[0])


def read_labels(foreign: ForeignModel, config: Mapping[str, Any], lang2utt: Path | None) -> tuple[str, ...]:
    """Return the labels in ESPnet's index order, which is the order of the lines of lang2utt."""
    if lang2utt is not None:
        text = ForeignModel(lang2utt.parent).text(lang2utt.name) if lang2utt.is_file() else ""
    else:
        text = _find_labels(foreign, str(config.get("lang2utt") or ""))
    labels = tuple(line.split()[0] for line in text.splitlines() if line.split())
    expected = config.get("lang_num")
    if len(labels) < 2 or len(set(labels)) != len(labels) or expected not in (None, len(labels)):
        what = f"{len(labels)} labels for {expected} languages" if labels else "lang2utt is missing or empty"
        raise LidError(what, where=lang2utt or foreign.path, mend="give the lang2utt of the training set")
    return labels


def _find_labels(foreign: ForeignModel, named: str) -> str:
    inside = [name for name in foreign.names() if PurePosixPath(name).name == "lang2utt"]
    matching = [name for name in inside if named.endswith(name) or name.endswith(named)] if named else []
    if len(inside) == 1 or matching:
        return foreign.text((matching or inside)[0])
    beside = Path(named)
    return ForeignModel(beside.parent).text(beside.name) if named and beside.is_file() else ""
