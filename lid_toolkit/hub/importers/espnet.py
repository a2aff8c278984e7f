"""ESPnet's ``lid1`` experiments: config.yaml, a state dict, and the file that fixes the label order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.hub.importers.source import Imported, Source, read_settings
from lid_toolkit.models.build import COMPONENTS, build_model
from lid_toolkit.models.frontends.pretrained.load import read_architecture

DEFAULT_RATE = 16000
MODEL_NAMES = ("valid.accuracy.best.pth", "valid.accuracy.ave.pth")
# Constants that this toolkit computes when it builds a front end.
CONSTANTS = re.compile(r"frontend\.(frontends\.\d+\.)?(logmel\.melmat|flipped_filter|transform\..*)")
UNUSED = re.compile(r"frontend\.(frontends\.\d+\.)?(upstream\.|weights$)")
# Each rule is applied in turn to what the one before left.
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


def read_espnet(source: Source, lang2utt: Path | None = None, model_file: str | None = None) -> Imported:
    """Read an experiment directory of ESPnet's ``lid1``, or the zip that its stage 9 packs.

    Args:
        source: holds ``config.yaml`` and the weights.
        lang2utt: file whose lines begin with the labels, in training's order; None for the one that
            config.yaml names, if it lies in the source or where config.yaml says. Packed models lack it.
        model_file: name of the weights; None for the best by accuracy.

    Raises:
        LidError: a file is missing or damaged, a component is unknown here, or the weights are of
            another model.
    """
    name = source.need("config.yaml")
    config = read_settings(source, name)
    languages = read_labels(source, config, lang2utt)
    description = describe(config)
    model = build_model(description, len(languages))
    theirs = source.weights(choose_weights(source, PurePosixPath(name).parent, model_file))
    weights = fit(rename(theirs), model.state_dict(), source)
    rate = arguments(config, "preprocessor_conf").get("sample_rate", DEFAULT_RATE)
    return Imported(description, weights, languages, model.frontend.rate or rate)


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that config.yaml names, without what only training needs.

    Raises:
        LidError: arguments that are none, or a checkpoint whose architecture is not there.
    """
    description: dict[str, Any] = {"input_size": config.get("input_size")}
    for component in COMPONENTS:
        description[component] = config.get(component)
        description[f"{component}_conf"] = dict(arguments(config, f"{component}_conf"))
    description["normalize_conf"].pop("stats_file", None)  # the statistics are among the weights
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
    """Return a component's arguments; raise LidError if they are none."""
    found = conf.get(key) or {}
    if not isinstance(found, Mapping):
        what = f"{key}: {found} is not a list of 'key: value' lines"
        raise LidError(what, where="config.yaml", mend="correct the value")
    return found


def with_architecture(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an ``s3prl`` front end that is built without its pretrained weights."""
    checkpoint = arguments(conf, "frontend_conf").get("path_or_url")
    if checkpoint is None:  # which is told where the front end is built
        return dict(conf)
    return {**conf, "architecture": read_architecture(str(checkpoint), conf.get("download_dir"))}


def rename(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of ESPnet's under this toolkit's names."""
    renamed = {}
    for name, value in theirs.items():
        if CONSTANTS.fullmatch(name):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def fit(weights: dict[str, Tensor], ours: Mapping[str, Tensor], source: Source) -> dict[str, Tensor]:
    """Return the weights that our model has: it leaves out an upstream's layers that it does not use.

    Raises:
        LidError: names or shapes differ.
    """
    kept = {k: v for k, v in weights.items() if k in ours or not UNUSED.match(k)}
    unfit = sorted(ours.keys() ^ kept.keys()) or [k for k, v in kept.items() if v.shape != ours[k].shape]
    if unfit:
        raise LidError(
            f"{len(unfit)} parameters do not fit config.yaml and the languages, such as {unfit[0]}",
            where=source.path,
            mend="name the weights (--model_file) and languages (--lang2utt) of this model",
        )
    return kept


def choose_weights(source: Source, directory: PurePosixPath, model_file: str | None) -> str:
    """Return the name of the weights: ``model_file``, or the best beside config.yaml."""
    names = [PurePosixPath(name) for name in source.names() if name.endswith(".pth")]
    if model_file is not None:
        names = [name for name in names if name.name == model_file]
    else:
        best = [name for wanted in MODEL_NAMES for name in names if name.name == wanted]
        names = best[:1] or [name for name in names if name.parent == directory]
    if len(names) != 1:
        what = f"{len(names)} files of weights: {' '.join(map(str, names))}" if names else "no weights"
        raise LidError(what, where=source.path, mend="name one by --model_file")
    return str(names[0])


def read_labels(source: Source, config: Mapping[str, Any], lang2utt: Path | None) -> tuple[str, ...]:
    """Return the labels in ESPnet's order: that of the lines of lang2utt."""
    if lang2utt is not None:
        text = Source(lang2utt.parent).text(lang2utt.name) if lang2utt.is_file() else ""
    else:
        text = _find_labels(source, str(config.get("lang2utt") or ""))
    labels = tuple(line.split()[0] for line in text.splitlines() if line.split())
    expected = config.get("lang_num")
    if len(labels) < 2 or len(set(labels)) != len(labels) or expected not in (None, len(labels)):
        what = f"{len(labels)} labels for {expected} languages" if labels else "its labels are not there"
        raise LidError(what, where=lang2utt or source.path, mend="name training's lang2utt by --lang2utt")
    return labels


def _find_labels(source: Source, named: str) -> str:
    inside = [name for name in source.names() if PurePosixPath(name).name == "lang2utt"]
    matching = [name for name in inside if named.endswith(name) or name.endswith(named)] if named else []
    if len(inside) == 1 or matching:
        return source.text((matching or inside)[0])
    beside = Path(named)
    return Source(beside.parent).text(beside.name) if named and beside.is_file() else ""
