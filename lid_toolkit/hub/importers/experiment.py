"""A foreign model as an experiment directory, which stages 6 to 10 and Python take like a trained one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.hub.importers.espnet import read_espnet
from lid_toolkit.hub.importers.source import Imported, Source
from lid_toolkit.hub.importers.speechbrain import read_speechbrain
from lid_toolkit.training.checkpoint import save_model
from lid_toolkit.training.config import parse_config

MODEL_FILE = "valid.accuracy.best.pth"


def import_model(
    source: Path, output_dir: Path, lang2utt: Path | None = None, model_file: str | None = None
) -> Path:
    """Read a model of ESPnet's or SpeechBrain's and write it as an experiment; return the model file.

    Args:
        source: directory or zip of the foreign model; told apart by config.yaml and hyperparams.yaml.
        output_dir: the experiment; what was imported there before is replaced.
        lang2utt: ESPnet's table that fixes the order of labels, where the source lacks it.
        model_file: name of ESPnet's weights; None for the best.

    Raises:
        LidError: not such a model, or a training lies in ``output_dir``.
    """
    opened = Source(source)
    if opened.find("hyperparams.yaml") is None:
        imported = read_espnet(opened, lang2utt, model_file)
    elif lang2utt is None and model_file is None:
        imported = read_speechbrain(opened)
    else:
        what = "--lang2utt and --model_file are for ESPnet's models, this is one of SpeechBrain's"
        raise LidError(what, where=source, mend="leave them out")
    with locked(output_dir, "importing"):
        if (output_dir / "checkpoint.pth").exists():
            raise LidError("a training lies here", where=output_dir, mend="choose another directory")
        return write_experiment(imported, output_dir)


def write_experiment(imported: Imported, output_dir: Path) -> Path:
    """Write ``config.yaml`` and the model file, which is the one that marks the import as whole."""
    settings = {
        **_without_architecture(imported.description),
        "preprocessor_conf": {"sample_rate": imported.rate},
    }
    config = parse_config(settings, output_dir / "config.yaml")
    with write_whole(output_dir / "config.yaml") as stream:
        yaml.safe_dump(config.model_dump(mode="json"), stream, sort_keys=False, allow_unicode=True)
    path = output_dir / MODEL_FILE
    save_model(path, imported.weights, imported.description, imported.languages, imported.rate)
    logging.info("%s: %d languages at %d Hz", path, len(imported.languages), imported.rate)
    return path


def _without_architecture(conf: Any) -> Any:
    """Leave out what only model files need, which hold the weights too."""
    if isinstance(conf, dict):
        return {key: _without_architecture(value) for key, value in conf.items() if key != "architecture"}
    return [_without_architecture(value) for value in conf] if isinstance(conf, list) else conf
