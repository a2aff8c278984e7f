"""A packed model, a zip or its unpacked folder: read, and never trusted.

``meta.yaml`` names the files and their checksums; ``model.yaml`` describes the components,
``languages.yaml`` the labels, ``model.safetensors`` holds the weights. :mod:`lid_toolkit.package.write`
writes them.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
import zipfile
import zlib
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
LARGEST_TEXT = 2 * 2**20  # bytes; the labels of 4,000 languages take a tenth of it
LARGEST_RATIO = 50  # of all that is unpacked to the zip; weights do not shrink, a table of zeros does a lot
DEEPEST = 20  # levels; the deepest, an encoder's configuration within fused front ends, takes eight
YAML = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BLOCK = 2**20
# What Python raises for a damaged zip, and for one whose names cannot all be files.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError),
    *(FileExistsError, IsADirectoryError, NotADirectoryError),
)
# What PyYAML raises for values that do not fit their tags, beside its own errors.
UNFIT = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


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
def unpacked(archive: Path, wanted: tuple[str, ...] | None = None) -> Iterator[Path]:
    """Unpack files of a zip into a temporary folder, and remove it afterwards.

    Args:
        archive: the zip.
        wanted: names of the files; None for all.

    Raises:
        LidError: no zip, a file is missing, damaged or a link, they are together much larger than the
            zip, or any name in it leads out of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="lid-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(archive) as opened:
                members = {info.filename: info for info in opened.infolist() if not info.is_dir()}
                for info in members.values():
                    _check_member(archive, info)
                files = tuple(members) if wanted is None else wanted
                for file in files:
                    if file not in members:
                        raise LidError(f"holds no {file}", where=archive, mend="name a zip of stage 9")
                _check_size(archive, sum(members[file].file_size for file in files))
                for file in files:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(members[file]) as packed, (folder / file).open("wb") as plain:
                        shutil.copyfileobj(packed, plain, BLOCK)
        except FileNotFoundError:
            raise LidError("no such file", where=archive, mend="run stage 9, or name another") from None
        except DAMAGED as error:
            raise LidError(f"damaged, or no zip: {error}", where=archive, mend="fetch it again") from error
        yield folder


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    path = PurePosixPath(info.filename)
    fault = None
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        fault = "leads out of the folder"
    elif stat.S_ISLNK(info.external_attr >> 16):
        fault = "is a link"
    elif info.compress_type not in METHODS:
        fault = f"is packed by method {info.compress_type}"
    if fault:
        raise LidError(f"{info.filename!r} {fault}", where=archive, mend="do not use this file")


def _check_size(archive: Path, unpacked_size: int) -> None:
    """Refuse a zip bomb, by the zip's size on disk, about which its own entries cannot lie."""
    size = archive.stat().st_size
    if unpacked_size > LARGEST_RATIO * size + BLOCK:
        what = f"unpacks to {unpacked_size:,} bytes from {size:,}"
        raise LidError(what, where=archive, mend="do not use this file")


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
        description, rate = dict(model["description"]), int(model["rate"])
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
    """Return the content of a YAML file."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise LidError(f"{path.name} is larger than any", where=source, mend="do not use this file")
        text = path.read_text(encoding="utf-8")
        _check_yaml(text)
        content = yaml.load(text, Loader=YAML)  # a safe one
    except FileNotFoundError:
        raise LidError(f"holds no {path.name}", where=source, mend="name a model of stage 9") from None
    except UNFIT as error:
        raise LidError(f"{path.name} is no YAML", where=source, mend="fetch it again") from error
    if not isinstance(content, dict):
        raise LidError(f"{path.name} is no mapping", where=source, mend="fetch it again")
    return content


def _check_yaml(text: str) -> None:
    """Refuse aliases, a few of which stand for a value larger than any memory, and depth without end.

    Raises:
        yaml.YAMLError: there are some, or it is no YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=YAML):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
            raise yaml.YAMLError("aliases, or too deep")
