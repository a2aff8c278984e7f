"""Read a packed model, a zip or its unpacked folder, without trusting anything in it.

A package may come from a stranger. Nothing in it is run: weights are safetensors, YAML is loaded by a safe
loader, and components are looked up by name, never imported from the package. Its sizes are checked before
anything is unpacked. :mod:`lid_toolkit.package.format` describes the layout.
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

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from lid_toolkit.cli import USERS_FAULTS
from lid_toolkit.errors import LidError
from lid_toolkit.importers.foreign_model import BAD_YAML
from lid_toolkit.models.external import NONE, Packages
from lid_toolkit.package.format import (
    DEEPEST,
    FETCH_AGAIN,
    LANGUAGES,
    LARGEST_RATIO,
    LARGEST_TEXT,
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

YAML = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BLOCK = 2**20
DO_NOT_USE = "do not use this file"
NOT_PACKED = "give a packed model"
# Exceptions of Python for a damaged zip, and for one in which a file and a folder have the same name.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError),
    *(LookupError, ArithmeticError, MemoryError),
)


def read_package(source: Path, external: Packages = NONE) -> SavedModel:
    """Read a packed model.

    Args:
        source: the zip, or the folder with its files.
        external: packages other than this toolkit that components may be imported from.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    with _opened(source, NEEDED) as folder:
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
    with _opened(source, (META, LANGUAGES)) as folder:
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
    with _opened(source, (META,)) as folder:
        meta = read_meta(folder, source)
    if POLICY not in meta.sha256:
        return None
    with _opened(source, (META, POLICY)) as folder:
        _check(folder, POLICY, meta, source)
        return _read_mapping(folder / POLICY, source)


@contextmanager
def _opened(source: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
    """Give the folder with the wanted files: the source itself, or where its zip was unpacked."""
    if source.is_dir():
        yield source
    else:
        with unpacked(source, wanted) as folder:
            yield folder


@contextmanager
def unpacked(archive: Path, wanted: tuple[str, ...] | None = None) -> Iterator[Path]:
    """Unpack files of a zip into a temporary folder, and remove it afterwards.

    Args:
        archive: the zip.
        wanted: names of the files; None for all.

    Raises:
        LidError: not a zip, damaged, a wanted file is missing, any name in it leads out of the folder or is
            a link, or the wanted files together are much larger than the zip.
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
                        raise LidError(f"{file} is missing", where=archive, mend=NOT_PACKED)
                _check_size(archive, sum(members[file].file_size for file in files))
                for file in files:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(members[file]) as packed, (folder / file).open("wb") as plain:
                        shutil.copyfileobj(packed, plain, BLOCK)
        except FileNotFoundError:
            raise LidError(
                "does not exist", where=archive, redo="packing", mend="give another file"
            ) from None
        except (OSError, *DAMAGED) as error:
            if isinstance(error, OSError) and error.errno in USERS_FAULTS:
                raise
            raise LidError(f"damaged, or not a zip: {error}", where=archive, mend=FETCH_AGAIN) from error
        yield folder


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    """Refuse names and kinds of files that could write outside the folder.

    ``zipfile`` itself would rename ``../x`` to ``x`` when it extracts. Such a name is never an accident, so
    the whole zip is refused, even when the file is not wanted.
    """
    path = PurePosixPath(info.filename)
    fault = None
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        fault = "leads out of the folder"
    elif stat.S_ISLNK(info.external_attr >> 16):  # a zip keeps the Unix mode in the upper 16 bits
        fault = "is a link"
    elif info.compress_type not in METHODS:
        fault = f"is compressed by method {info.compress_type}, which is not supported"
    if fault:
        raise LidError(f"{info.filename!r} {fault}", where=archive, mend=DO_NOT_USE)


def _check_size(archive: Path, unpacked_size: int) -> None:
    """Refuse a zip bomb.

    The entries of a zip may claim any compressed size, so the unpacked size is compared with the size of
    the file on disk. ``zipfile`` stops reading a file at the unpacked size that its entry claims.
    """
    size = archive.stat().st_size
    if unpacked_size > LARGEST_RATIO * size + BLOCK:
        what = f"unpacks to {unpacked_size:,} bytes from {size:,}"
        raise LidError(what, where=archive, mend=DO_NOT_USE)


def read_meta(folder: Path, source: Path) -> Meta:
    """Return the content of ``meta.yaml``; raise LidError, which names ``source``, if it is not valid."""
    return Meta.from_mapping(_read_mapping(folder / META, source), source)


def _check_is_file(path: Path, source: Path) -> None:
    """Raise LidError if a file of the package is missing, or is a pipe or device, which may have no end."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "is missing"
        raise LidError(f"{path.name} {what}", where=source, mend=NOT_PACKED)


def _check(folder: Path, file: str, meta: Meta, source: Path) -> None:
    """Raise LidError if a file is missing or does not have the checksum in ``meta.yaml``."""
    _check_is_file(folder / file, source)
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
    _check_is_file(path, source)
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise LidError(
                f"{path.name} is larger than {LARGEST_TEXT:,} bytes", where=source, mend=DO_NOT_USE
            )
        text = path.read_text(encoding="utf-8")
        _check_yaml(text)
        content = yaml.load(text, Loader=YAML)  # a safe loader
    except BAD_YAML as error:
        raise LidError(f"{path.name} is not valid YAML", where=source, mend=FETCH_AGAIN) from error
    if not isinstance(content, dict):
        raise LidError(f"{path.name} is not a list of 'key: value' lines", where=source, mend=FETCH_AGAIN)
    return content


def _check_yaml(text: str) -> None:
    """Refuse aliases and deep nesting before anything is constructed.

    Aliases are refused because nine lines of ``b: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]``, each using the
    line before, describe a list of a billion items. Deep nesting is refused because it overflows the stack.

    Raises:
        yaml.YAMLError: aliases, more than DEEPEST levels, or not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=YAML):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
            raise yaml.YAMLError("aliases, or too many levels")
