"""Read experiments of ESPnet's ``lid1``: config.yaml, a state dict, and lang2utt with the label order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.importers.espnet_names import LID1_ONLY, MODELS, translate
from lid_toolkit.importers.foreign_model import (
    UNKNOWN,
    ForeignModel,
    Imported,
    read_licence,
    read_settings,
    require_fit,
)
from lid_toolkit.models.build import build_model
from lid_toolkit.models.frontends.pretrained.s3prl_names import checkpoint_name
from lid_toolkit.models.registry import COMPONENTS

CONFIG = "config.yaml"
DEFAULT_RATE = 16000
LAST_OVER_FEATURES = "202511"
"""The last version of ESPnet whose poolings are known to divide by the number of frames of the features."""
MODEL_NAMES = ("valid.accuracy.best.pth", "valid.accuracy.ave.pth")


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
    name = foreign.need(CONFIG)
    config = read_settings(foreign, name)
    languages = read_labels(foreign, config, lang2utt)
    description = describe(config)
    model = build_model(description, len(languages))
    theirs = foreign.weights(choose_weights(foreign, PurePosixPath(name).parent, model_file))
    weights = fit(without_adapters(theirs, config), model.state_dict(), foreign)
    rate = arguments(config, "preprocessor_conf").get("sample_rate", DEFAULT_RATE)
    description["licence"] = read_licence(foreign) or UNKNOWN
    return Imported(description, weights, languages, model.frontend.rate or rate)


def experiment_of(weights: Path) -> dict[str, object] | None:
    """Return the ``config.yaml`` of the ESPnet experiment that a file of weights lies in, or None.

    An experiment of this toolkit has a ``config.yaml`` too, but not with ESPnet's ``lang2utt``.
    """
    directory = ForeignModel(weights.parent)
    if not (weights.parent / CONFIG).is_file():
        return None
    try:
        config = read_settings(directory, CONFIG)
    except LidError:  # who needs it tells what is wrong with it
        return None
    return config if "lang2utt" in config else None


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that config.yaml names and their arguments, without those only for training.

    Raises:
        LidError: another model than that of ``lid1``, arguments that are not a mapping, or a pretrained
            encoder that cannot be found.
    """
    if config.get("model") not in MODELS:
        what = f"model: {config['model']} is not supported"
        raise LidError(what, where=CONFIG, mend=LID1_ONLY)
    description: dict[str, Any] = {"input_size": config.get("input_size")}
    for component in COMPONENTS:
        description[component] = config.get(component)
        description[f"{component}_conf"] = dict(arguments(config, f"{component}_conf"))
    description["normalize_conf"].pop("stats_file", None)  # the state dict holds the statistics
    if str(config.get("version", LAST_OVER_FEATURES)) <= LAST_OVER_FEATURES:
        description["pooling_conf"]["mean_over"] = "features"
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
        raise LidError(what, where=CONFIG, mend="correct the value")
    return found


def with_architecture(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an ``s3prl`` front end, with the architecture of its pretrained encoder.

    With the architecture in its arguments, the front end is built without loading the pretrained weights,
    which ESPnet's state dict replaces anyway.
    """
    from lid_toolkit.models.frontends.pretrained.load import read_architecture  # imports the Hub's client

    checkpoint = checkpoint_name(arguments(conf, "frontend_conf"))
    return {**conf, "architecture": read_architecture(checkpoint, conf.get("download_dir"))}


def without_adapters(theirs: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights without LoRA's maps: ESPnet saves models in which they are added to the weights.

    Raises:
        LidError: adapters of another kind, or the file holds only the trained parameters.
    """
    if not config.get("use_adapter"):
        return dict(theirs)
    if config.get("adapter", "lora") != "lora":
        what = f"adapter: {config['adapter']} is not supported"
        raise LidError(what, where=CONFIG, mend="only adapter: lora can be imported")
    if config.get("save_strategy", "all") != "all":
        what = f"save_strategy: {config['save_strategy']}: the file does not hold all weights"
        raise LidError(what, where=CONFIG, mend="give a model that was trained with save_strategy: all")
    return {name: value for name, value in theirs.items() if not name.endswith((".lora_A", ".lora_B"))}


def fit(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], foreign: ForeignModel) -> dict[str, Tensor]:
    """Return the weights that our model has; it does not build those layers of an upstream that are not used.

    Raises:
        LidError: other names or shapes differ.
    """
    kept = translate(theirs, ours)
    mend = "check that the weights and lang2utt belong to this config.yaml"
    require_fit(kept, ours, foreign, f"{CONFIG} and the languages", mend)
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


def read_labels(
    foreign: ForeignModel, config: Mapping[str, Any], lang2utt: Path | None = None
) -> tuple[str, ...]:
    """Return the labels in ESPnet's index order, which is the order of the lines of lang2utt."""
    if lang2utt is not None:
        text = _text(lang2utt)
    else:
        text = _find_labels(foreign, str(config.get("lang2utt") or ""))
    labels = tuple(line.split()[0] for line in text.splitlines() if line.split())
    expected = config.get("lang_num")
    if len(labels) < 2 or len(set(labels)) != len(labels) or expected not in (None, len(labels)):
        what = f"{len(labels)} labels for {expected} languages" if labels else "lang2utt is missing or empty"
        mend = "give the lang2utt of the training set, or copy it beside config.yaml"
        raise LidError(what, where=lang2utt or foreign.path, mend=mend)
    return labels


def _find_labels(foreign: ForeignModel, named: str) -> str:
    inside = [name for name in foreign.names() if PurePosixPath(name).name == "lang2utt"]
    matching = [name for name in inside if named.endswith(name) or name.endswith(named)] if named else []
    if len(inside) == 1 or matching:
        return foreign.text((matching or inside)[0])
    return _text(Path(named)) if named else ""


def _text(path: Path) -> str:
    """Return the content of a file that is no part of the model, or of what it is a link to."""
    path = path.resolve()
    return ForeignModel(path.parent).text(path.name) if path.is_file() else ""
