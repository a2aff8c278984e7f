"""Read a packed model, a zip or its unpacked folder, without trusting anything in it.

A package may come from a stranger. Nothing in it is run: weights are safetensors, YAML is loaded by a safe
loader, and components are looked up by name, never imported from the package. It is opened by
:mod:`lid_toolkit.untrusted`. :mod:`lid_toolkit.package.format` describes the layout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from lid_toolkit.errors import LidError
from lid_toolkit.models.external import NONE, Packages
from lid_toolkit.package.format import (
    FETCH_AGAIN,
    LANGUAGES,
    META,
    MODEL,
    NEEDED,
    POLICY,
    WEIGHTS,
    Description,
    Labels,
    Meta,
)
from lid_toolkit.training.checkpoint import SavedModel, restore
from lid_toolkit.training.model_facts import check_labels
from lid_toolkit.untrusted import BLOCK, Untrusted


def read_package(source: Path, external: Packages = NONE) -> SavedModel:
    """Read a packed model.

    Args:
        source: the zip, or the folder with its files.
        external: packages other than this toolkit that components may be imported from.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    with unpacked(source, NEEDED) as folder:
        meta = read_meta(folder, source)
        for file in NEEDED[1:]:
            _check(folder, file, meta, source)
        description = Description.from_mapping(_read_mapping(folder / MODEL, source), source)
        labels = Labels.from_mapping(_read_mapping(folder / LANGUAGES, source), source).labels
        try:
            weights = load_file(folder / WEIGHTS)
        except SafetensorError as error:
            raise LidError(f"{WEIGHTS} is damaged: {error}", where=source, mend=FETCH_AGAIN) from error
        return restore(description.components, weights, labels, description.rate, source, external)


def read_labels(source: Path) -> tuple[str, ...]:
    """Return the labels of a packed model in index order; only its two small YAML files are read.

    Args:
        source: the zip, or the folder with its files.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    with unpacked(source, (META, LANGUAGES)) as folder:
        _check(folder, LANGUAGES, read_meta(folder, source), source)
        labels = Labels.from_mapping(_read_mapping(folder / LANGUAGES, source), source).labels
        check_labels(labels, source)
        return labels


def read_policy(source: Path) -> Mapping[str, object] | None:
    """Return the content of a packed model's policy, which is not checked here; None if it has none.

    Args:
        source: the zip, or the folder with its files.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    with unpacked(source, (META,)) as folder:
        meta = read_meta(folder, source)
    if POLICY not in meta.sha256:
        return None
    with unpacked(source, (META, POLICY)) as folder:
        _check(folder, POLICY, meta, source)
        return _read_mapping(folder / POLICY, source)


def unpacked(archive: Path, wanted: tuple[str, ...] | None = None) -> AbstractContextManager[Path]:
    """Unpack files of a zip into a temporary folder, and remove it afterwards.

    Args:
        archive: the zip; of a folder, the folder itself is given.
        wanted: names of the files; None for all.

    Raises:
        LidError: not a zip, damaged, a wanted file is missing, any name in it leads out of the folder or is
            a link, or the wanted files together are much larger than the zip.
    """
    return Untrusted(archive).unpacked(wanted)


def read_meta(folder: Path, source: Path) -> Meta:
    """Return the content of ``meta.yaml``; raise LidError, which names ``source``, if it is not valid."""
    return Meta.from_mapping(_read_mapping(folder / META, source), source)


def _check(folder: Path, file: str, meta: Meta, source: Path) -> None:
    """Raise LidError if a file is missing or does not have the checksum in ``meta.yaml``."""
    found = sha256(folder / file)
    if found != meta.sha256.get(file):
        raise LidError(f"{file} does not match its checksum in {META}", where=source, mend=FETCH_AGAIN)


def sha256(path: Path) -> str:
    """Return a file's checksum in hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _read_mapping(path: Path, source: Path) -> Mapping[str, object]:
    """Return the content of a YAML file; raise LidError if it is not a safe one with keys and values."""
    try:
        return Untrusted(path.parent).yaml(path.name)
    except LidError as error:
        raise LidError(error.what, where=source, mend=error.mend) from error
