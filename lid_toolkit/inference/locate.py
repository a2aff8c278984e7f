"""Find and load a model: an experiment, a model file, a packed or foreign model, or one on the Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lid_toolkit.errors import LidError
from lid_toolkit.importers.espnet import experiment_of
from lid_toolkit.importers.foreign_model import Imported
from lid_toolkit.importers.read import is_foreign, read_foreign
from lid_toolkit.inference.hub_files import fetch, is_repository
from lid_toolkit.inference.model_files import best_model
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.policy_files import policy_beside, policy_packed
from lid_toolkit.models.external import NONE, Packages
from lid_toolkit.models.frontends.pretrained.hub import hub_fault
from lid_toolkit.package.files import is_package, read_labels
from lid_toolkit.package.format import LANGUAGES, META, MODEL, NEEDED, POLICY
from lid_toolkit.package.licences import OWN_DEFAULT, UNKNOWN, model_licence
from lid_toolkit.package.read import read_package
from lid_toolkit.steps import digest
from lid_toolkit.training.checkpoint import SavedModel, load_labels, load_model, restore

WEIGHTS = ".pth"
SHOWN = 10
Kind = Literal["packed model", "model file", "foreign model"]
MARKS = ("hyperparams.yaml", "config.json")  # SpeechBrain has both
"""Files that tell what a repository without a packed model holds."""
CARD = "README.md"
OF_TRANSFORMERS = ("*config.json", CARD, "model*.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin",)
OF_SPEECHBRAIN = ("hyperparams.yaml", CARD, "label_encoder.*", "embedding_model.ckpt", "classifier.ckpt")
OF_ESPNET = ("*config.yaml", CARD, "*lang2utt", "*.pth")
"""Files of other makers' models in repositories. Pickled weights are downloaded if there are no others."""


class Located(NamedTuple):
    """A model on this machine.

    Attributes:
        path: its file or directory.
        kind: what it is.
        name: the repository on the Hub that it comes from; None for a model that was on this machine.
    """

    path: Path
    kind: Kind
    name: str | None = None


def open_model(source: str | Path, revision: str | None = None, external: Packages = NONE) -> SavedModel:
    """Load a model.

    Args:
        source: an experiment directory (its best model is loaded), a model file, a packed model (the zip
            or its unpacked folder), a model of another toolkit (``transformers``, ESPnet, SpeechBrain,
            NeMo, ONNX), or ``user/repo`` with one of these on the Hugging Face Hub if no such path exists.
        revision: branch, tag or commit of the repository; None for its main branch.
        external: packages other than this toolkit that components may be imported from.

    Raises:
        LidError: the model does not exist, is not a model, or is not safe to load.
    """
    return _load(locate(source, revision, NEEDED), external)


def open_with_policy(
    source: str | Path, revision: str | None = None, external: Packages = NONE
) -> tuple[SavedModel, DecisionPolicy]:
    """Load a model, and the policy that is packed with it or lies beside its file as ``policy.yaml``.

    Arguments and errors are those of :func:`open_model`. A model without a policy has the default one.
    """
    found = locate(source, revision, (*NEEDED, POLICY))
    policy = _policy_at(found.path, found.kind)
    return _load(found, external), policy


def _load(found: Located, external: Packages) -> SavedModel:
    """Load a located model."""
    if found.kind == "packed model":
        policy_packed(found.path)  # a small file, which tells packages of other toolkits
        return read_package(found.path, external)
    if found.kind == "foreign model":
        return read_imported(found.path, found.name)
    return load_model(found.path, external)


def model_file_of(source: str | Path) -> Path | None:
    """Return the model file of an experiment, or a model file itself; None for every other model."""
    path, kind, _ = locate(source, None, (META,))
    return path if kind == "model file" else None


def policy_of(source: str | Path, revision: str | None = None) -> DecisionPolicy:
    """Return a model's policy, without loading its weights.

    Arguments and errors are those of :func:`open_model`.
    """
    path, kind, _ = locate(source, revision, (META, POLICY))
    return _policy_at(path, kind)


def _policy_at(path: Path, kind: Kind) -> DecisionPolicy:
    """Return the policy of a located model, without the calibration of another model file."""
    if kind == "packed model":
        return policy_packed(path)
    return policy_beside(path, digest(path) if kind == "model file" else None)


def labels_of(source: str | Path, revision: str | None = None) -> tuple[str, ...]:
    """Return a model's labels in index order, without loading its weights.

    Arguments and errors are those of :func:`open_model`. Of a repository with a packed model only two small
    files are downloaded. A model of another toolkit is read as a whole.
    """
    path, kind, name = locate(source, revision, (META, LANGUAGES))
    if kind == "packed model":
        return read_labels(path)
    return read_imported(path, name).languages if kind == "foreign model" else load_labels(path)


def read_imported(path: Path, name: str | None = None) -> SavedModel:
    """Return a model of another toolkit: a directory, a zip, or a file of weights of an ESPnet experiment.

    Args:
        path: as above.
        name: the repository on the Hub that it comes from, if any.

    Raises:
        LidError: it is not supported, or its parts do not fit each other.
    """
    directory, model_file = (path.parent, path.name) if path.suffix == WEIGHTS else (path, None)
    model = read_foreign(directory, model_file=model_file, name=name)
    for line in notes(model):
        logging.info("%s: %s", name or path, line)
    return restore(model.description, model.weights, model.languages, model.rate, path)


def notes(model: Imported) -> Iterator[str]:
    """Yield what the user of a model of another toolkit should know: its licence, and labels that stay."""
    licence = model_licence(model.description)
    if licence != OWN_DEFAULT:
        yield f"its licence is {'unknown: see its page' if licence == UNKNOWN else licence}"
    if model.kept:
        more = f" and {len(model.kept) - SHOWN} more" if len(model.kept) > SHOWN else ""
        shown = ", ".join(model.kept[:SHOWN])
        yield f"labels that are no language known here, or one of several for a language, stay: {shown}{more}"


def locate(source: str | Path, revision: str | None, files: Sequence[str]) -> Located:
    """Return where a model is on this machine, and what it is.

    Args:
        source: as in :func:`open_model`.
        revision: as in :func:`open_model`.
        files: the files to download from a repository.

    Raises:
        LidError: ``revision`` is given but ``source`` is not a repository, or the download failed.
    """
    path = Path(source)
    if is_repository(source):
        folder, kind = download(str(source), revision, files)
        return Located(folder, kind, str(source))
    if revision is not None:
        what = f"revision {revision}: only repositories on the Hub have revisions"
        raise LidError(what, where=source, mend="leave it out")
    if _is_foreign(path):
        return Located(path, "foreign model")
    if is_package(path):
        return Located(path, "packed model")
    if path.is_dir():
        path = best_model(path)
    return Located(path, "model file")


def _is_foreign(path: Path) -> bool:
    """Return whether an existing path is a model of another toolkit, or a file of weights of ESPnet's."""
    if path.suffix == WEIGHTS:
        return path.is_file() and experiment_of(path) is not None
    return path.exists() and is_foreign(path, MODEL)


def download(repository: str, revision: str | None, files: Sequence[str]) -> tuple[Path, Kind]:
    """Return the folder with the files of a model on the Hub, from the Hub's cache or downloaded.

    Args:
        repository: its name.
        revision: branch, tag or commit.
        files: the files of a packed model to download. Of another toolkit's model, all that is needed is.

    Raises:
        LidError: the repository does not exist, may not be read or does not hold a model; or the Hub cannot
            be reached and the files are not in the cache.
    """
    unreachable = hub_fault()
    folder = fetch(repository, revision, (*files, *MARKS), unreachable)
    meta = folder / META
    if meta.exists() and not is_espnet(meta):
        return folder, "packed model"
    if (folder / MARKS[0]).exists():
        folder = fetch(repository, revision, OF_SPEECHBRAIN, unreachable)
    elif (folder / MARKS[1]).exists():
        folder = fetch(repository, revision, OF_TRANSFORMERS, unreachable)
        if not any(folder.glob("model*.safetensors")):
            folder = fetch(repository, revision, PICKLED, unreachable)
    elif meta.exists():
        folder = fetch(repository, revision, OF_ESPNET, unreachable)
    else:
        what = f"the repository has no {META}, {' or '.join(MARKS)}"
        raise LidError(what, where=repository, mend="give a repository that holds a model")
    return folder, "foreign model"


def is_espnet(meta: Path) -> bool:
    """Return whether a ``meta.yaml`` was written by ESPnet; it names its version in the first key."""
    return meta.read_text(encoding="utf-8", errors="replace").startswith("espnet:")
