"""Recognise and read a model of another toolkit, whichever it is."""

from __future__ import annotations

from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.importers.espnet import CONFIG, read_espnet
from lid_toolkit.importers.foreign_model import ForeignModel, Imported, read_settings
from lid_toolkit.importers.nemo import CONFIG as NEMO_CONFIG
from lid_toolkit.importers.nemo import SUFFIX as NEMO
from lid_toolkit.importers.nemo import read_nemo
from lid_toolkit.importers.onnx import read_onnx
from lid_toolkit.importers.speechbrain import SETTINGS, read_speechbrain
from lid_toolkit.importers.transformers_models import read_config, read_transformers
from lid_toolkit.untrusted_onnx import SUFFIX as ONNX


def is_foreign(path: Path, never: str) -> bool:
    """Return whether a directory or zip holds a model of another toolkit.

    An experiment of this toolkit has a ``config.yaml`` too, but not with ESPnet's ``lang2utt``.

    Args:
        path: the directory or zip.
        never: name of a file that no foreign model has; if it is there, nothing is read.
    """
    if path.suffix in (NEMO, ONNX):
        return True
    model = ForeignModel(path)
    try:
        if model.find(never) is not None:
            return False
        if model.find(SETTINGS, NEMO_CONFIG) is not None or read_config(model) is not None:
            return True
        config = model.find(CONFIG)
        return config is not None and "lang2utt" in read_settings(model, config)
    except LidError:  # who reads it as something else tells what is wrong with it
        return False


def read_foreign(
    source: Path,
    lang2utt: Path | None = None,
    model_file: str | None = None,
    name: str | None = None,
    labels: Path | None = None,
    rate: int | None = None,
) -> Imported:
    """Read a model of ESPnet, SpeechBrain, NeMo or ``transformers``, or an ONNX model.

    Args:
        source: directory, zip, ``.nemo`` or ``.onnx`` file. SpeechBrain's have a hyperparams.yaml, those of
            ``transformers`` a config.json.
        lang2utt: for ESPnet, the table whose lines are in index order, if the model lacks it.
        model_file: for ESPnet, the name of the file with the weights; None for the best.
        name: the repository on the Hub that it comes from; None for the name of the directory or zip.
        labels: for an ONNX model, the file with its labels; None for ``labels.txt`` beside it.
        rate: for an ONNX model, its samples per second; None for 16000.

    Raises:
        LidError: not such a model, or it is not supported.
    """
    if source.suffix == ONNX:
        _refuse_options(source, "an ONNX model", lang2utt, model_file)
        return read_onnx(source, labels, rate)
    if labels is not None or rate is not None:
        what = "labels and rate are for ONNX models, and this is another model"
        raise LidError(what, where=source, mend="leave them out")
    opened = ForeignModel(source)
    if opened.find(SETTINGS) is not None:
        _refuse_options(source, "a SpeechBrain model", lang2utt, model_file)
        return read_speechbrain(opened)
    if source.suffix == NEMO or opened.find(NEMO_CONFIG) is not None:
        _refuse_options(source, "a model of NeMo", lang2utt, model_file)
        return read_nemo(opened)
    if (config := read_config(opened)) is not None:
        _refuse_options(source, "a model of transformers", lang2utt, model_file)
        return read_transformers(opened, config, name or source.resolve().stem)
    return read_espnet(opened, lang2utt, model_file)


def _refuse_options(source: Path, kind: str, lang2utt: Path | None, model_file: str | None) -> None:
    if lang2utt is not None or model_file is not None:
        what = f"lang2utt and model_file are for ESPnet's models, but this is {kind}"
        raise LidError(what, where=source, mend="leave them out")
