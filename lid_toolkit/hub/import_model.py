"""Write a model of another toolkit as an experiment directory, which is used like a trained one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.importers.foreign_model import Imported
from lid_toolkit.importers.read import read_foreign
from lid_toolkit.inference.locate import locate, notes
from lid_toolkit.package.format import META
from lid_toolkit.training.checkpoint import save_model
from lid_toolkit.training.config import parse_config

MODEL_FILE = "valid.accuracy.best.pth"


def import_model(
    source: str | Path,
    output_dir: Path,
    lang2utt: Path | None = None,
    model_file: str | None = None,
    revision: str | None = None,
    labels: Path | None = None,
    rate: int | None = None,
) -> Path:
    """Read a model of another toolkit and write it as an experiment; return the model file.

    Args:
        source: as in :func:`.read_foreign`, like ``lang2utt`` and ``model_file``; or a repository on the
            Hugging Face Hub, if no such path exists.
        output_dir: the experiment to write; an earlier import in it is replaced.
        lang2utt: as above.
        model_file: as above.
        revision: branch, tag or commit of the repository.
        labels: as above, like ``rate``.
        rate: as above.

    Raises:
        LidError: not such a model, or ``output_dir`` holds a training.
    """
    if Path(source).exists():
        path, name = Path(source), None
    else:
        path, kind, name = locate(source, revision, (META,))
        if kind == "packed model":
            raise LidError(
                "is a packed model, not one of another toolkit", where=source, mend="use it as it is"
            )
    imported = read_foreign(path, lang2utt, model_file, name, labels, rate)
    for line in notes(imported):
        logging.info("%s: %s", source, line)
    with locked(output_dir, "importing"):
        if (output_dir / "checkpoint.pth").exists():
            raise LidError("holds a training", where=output_dir, mend="choose another directory")
        return write_experiment(imported, output_dir)


def write_experiment(imported: Imported, output_dir: Path) -> Path:
    """Write ``config.yaml`` and then the model file, so that an interrupted import has no model file."""
    components = {key: value for key, value in imported.description.items() if key != "licence"}
    settings = {
        **_without_architecture(components),
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
    """Leave out architectures: with one, a front end is built without its pretrained weights."""
    if isinstance(conf, dict):
        return {key: _without_architecture(value) for key, value in conf.items() if key != "architecture"}
    return [_without_architecture(value) for value in conf] if isinstance(conf, list) else conf
