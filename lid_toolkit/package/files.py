"""The files of a packed model, a zip or its unpacked folder, except its weights; PyTorch is not needed.

A package may come from a stranger: it is opened by :mod:`lid_toolkit.untrusted`.
:mod:`lid_toolkit.package.format` describes the layout.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.package.format import FETCH_AGAIN, LANGUAGES, META, MODEL_ONNX, POLICY, Labels, Meta
from lid_toolkit.training.model_facts import check_labels
from lid_toolkit.untrusted import BLOCK, Untrusted


def is_package(path: Path) -> bool:
    """Return whether a path is named like a packed model: a zip, or a folder with ``meta.yaml``."""
    return path.suffix == ".zip" or (path / META).exists()


def read_labels(source: Path) -> tuple[str, ...]:
    """Return the labels of a packed model in index order; only its two small YAML files are read.

    Args:
        source: the zip, or the folder with its files.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    with unpacked(source, (META, LANGUAGES)) as folder:
        check_sum(folder / LANGUAGES, LANGUAGES, read_meta(folder, source), source)
        labels = Labels.from_mapping(read_mapping(folder / LANGUAGES, source), source).labels
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
        check_sum(folder / POLICY, POLICY, meta, source)
        return read_mapping(folder / POLICY, source)


@contextlib.contextmanager
def exported_model(source: Path) -> Iterator[Path]:
    """Give the path of the exported model in a packed model.

    Args:
        source: the zip, or the folder with its files.

    Raises:
        LidError: as :func:`read_labels`, or it has no exported model.
    """
    with unpacked(source, (META,)) as folder:
        meta = read_meta(folder, source)
    if MODEL_ONNX not in meta.sha256:
        mend = "pack it with one (lid pack --onnx FILE), or use backend torch"
        raise LidError(f"has no exported model ({MODEL_ONNX})", where=source, mend=mend)
    with Untrusted(source).onnx(MODEL_ONNX) as path:
        check_sum(path, MODEL_ONNX, meta, source)
        yield path


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
    return Meta.from_mapping(read_mapping(folder / META, source), source)


def check_sum(path: Path, file: str, meta: Meta, source: Path) -> None:
    """Raise LidError if a file does not have the checksum in ``meta.yaml`` under its name in the package."""
    if sha256(path) != meta.sha256.get(file):
        raise LidError(f"{file} does not match its checksum in {META}", where=source, mend=FETCH_AGAIN)


def sha256(path: Path) -> str:
    """Return a file's checksum in hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_mapping(path: Path, source: Path) -> Mapping[str, object]:
    """Return the content of a YAML file; raise LidError if it is not a safe one with keys and values."""
    try:
        return Untrusted(path.parent).yaml(path.name)
    except LidError as error:
        raise LidError(error.what, where=source, mend=error.mend) from error
