"""A packed model, a zip or its unpacked folder: read, and never trusted.

``meta.yaml`` names the files and their checksums; ``model.yaml`` describes the components,
``languages.yaml`` the labels, ``model.safetensors`` holds the weights. :mod:`lid_toolkit.hub.pack`
writes them.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from lid_toolkit.errors import LidError
from lid_toolkit.training.checkpoint import SavedModel, restore

PACKAGE_FORMAT = 1
META, MODEL, LANGUAGES, WEIGHTS = "meta.yaml", "model.yaml", "languages.yaml", "model.safetensors"
NEEDED = (META, MODEL, LANGUAGES, WEIGHTS)
LARGEST_TEXT = 16 * 2**20  # bytes; the labels and components of the largest models take some 100 kB
LARGEST_RATIO = 50  # of size unpacked to packed; weights do not shrink, text shrinks to a tenth
BLOCK = 2**20


def read_package(source: Path) -> SavedModel:
    """Read a packed model.

    Args:
        source: the zip, or the folder with its files.

    Raises:
        LidError: not a packed model, damaged, or a zip that reaches beyond its folder.
    """
    if source.is_dir():
        return _read_folder(source, source)
    with unpacked(source, NEEDED) as folder:
        return _read_folder(folder, source)


@contextmanager
def unpacked(archive: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
    """Unpack the wanted files of a zip into a temporary folder, and remove it afterwards.

    Raises:
        LidError: no zip, a file is missing, damaged, a link, or much larger than its packed size, or
            any name in the zip leads out of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="lid-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(archive) as opened:
                members = {info.filename: info for info in opened.infolist()}
                for info in members.values():
                    _check_member(archive, info)
                for file in wanted:
                    if file not in members:
                        raise LidError(f"holds no {file}", where=archive, mend="name a zip of stage 9")
                    with opened.open(members[file]) as packed, (folder / file).open("wb") as plain:
                        shutil.copyfileobj(packed, plain, BLOCK)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise LidError(f"damaged, or no zip: {error}", where=archive, mend="fetch it again") from error
        yield folder


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    path = PurePosixPath(info.filename)
    fault = None
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or ":" in path.parts[:1]:
        fault = "leads out of the folder"
    elif stat.S_ISLNK(info.external_attr >> 16):
        fault = "is a link"
    elif info.file_size > LARGEST_RATIO * max(info.compress_size, 1) + BLOCK:
        fault = f"unpacks to {info.file_size:,} bytes from {info.compress_size:,}"
    if fault:
        raise LidError(f"{info.filename!r} {fault}", where=archive, mend="do not use this file")


def _read_folder(folder: Path, source: Path) -> SavedModel:
    meta = _read_mapping(folder / META, source)
    if meta.get("format") != PACKAGE_FORMAT:
        raise LidError(
            f"package format {meta.get('format')}", where=source, mend=f"this version reads {PACKAGE_FORMAT}"
        )
    checksums = meta.get("sha256")
    if not isinstance(checksums, dict):
        raise LidError("no checksums in meta.yaml", where=source, mend="fetch it again")
    for file in NEEDED[1:]:
        if sha256(folder / file, source) != checksums.get(file):
            raise LidError(f"{file} is not what meta.yaml says", where=source, mend="fetch it again")
    model, languages = _read_mapping(folder / MODEL, source), _read_mapping(folder / LANGUAGES, source)
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise LidError(f"{WEIGHTS} holds no tensors: {error}", where=source, mend="fetch it again") from error
    try:
        labels = [str(language["label"]) for language in languages["languages"]]
        description, rate = model["description"], int(model["rate"])
    except (KeyError, TypeError, ValueError) as error:
        raise LidError(f"incomplete: {error}", where=source, mend="fetch it again") from error
    return restore(description, weights, labels, rate, source)


def sha256(path: Path, source: Path) -> str:
    """Return a file's checksum in hexadecimal digits.

    Raises:
        LidError: no such file in ``source``.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise LidError(f"holds no {path.name}", where=source, mend="name a model of stage 9") from error
    return digest.hexdigest()


def _read_mapping(path: Path, source: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise LidError(f"{path.name} is larger than any", where=source, mend="do not use this file")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LidError(f"holds no {path.name}", where=source, mend="name a model of stage 9") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise LidError(f"{path.name} is no YAML", where=source, mend="fetch it again") from error
    if not isinstance(content, dict):
        raise LidError(f"{path.name} is no mapping", where=source, mend="fetch it again")
    return content
