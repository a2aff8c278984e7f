"""Where a foreign model lies: a directory, or a zip of one, of which only the files asked for are read."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml
from torch import Tensor

from lid_toolkit.errors import LidError

TAG = "!"
LARGEST_TEXT = 16 << 20
LARGEST_WEIGHTS = 64 << 30


@dataclass(frozen=True)
class Imported:
    """A foreign model in this toolkit's terms.

    Attributes:
        description: components and their arguments.
        weights: by the names of the model that the description builds.
        languages: labels in index order.
        rate: samples per second.
    """

    description: dict[str, Any]
    weights: dict[str, Tensor]
    languages: tuple[str, ...]
    rate: int


@dataclass(frozen=True)
class Source:
    """A directory or zip of files.

    Attributes:
        path: that directory or zip.
    """

    path: Path

    def names(self) -> list[str]:
        """Return the files' names with ``/``, those nearest to the root first.

        Raises:
            LidError: nothing there, or neither a directory nor a zip.
        """
        if self.path.is_dir():
            found = [p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()]
        elif zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as archive:
                found = [info.filename for info in archive.infolist() if not info.is_dir()]
        else:
            what = "neither a directory nor a zip" if self.path.exists() else "no such file"
            raise LidError(what, where=self.path, mend="name the directory or zip of a trained model")
        return sorted(found, key=lambda name: (name.count("/"), name))

    def find(self, *wanted: str) -> str | None:
        """Return the file nearest to the root whose last name is one of ``wanted``, or None."""
        return next((name for name in self.names() if PurePosixPath(name).name in wanted), None)

    def need(self, *wanted: str) -> str:
        """Return what :meth:`find` does; raise LidError if there is none."""
        name = self.find(*wanted)
        if name is None:
            raise LidError(f"no {' or '.join(wanted)} in it", where=self.path, mend="name another source")
        return name

    @contextlib.contextmanager
    def file(self, name: str, largest: int) -> Iterator[Path]:
        """Give the path of a file; one out of a zip lies, under a name of ours, in a temporary directory.

        Raises:
            LidError: larger than ``largest`` bytes, or damaged.
        """
        if self.path.is_dir():
            path = self.path / name
            self._check_size(name, path.stat().st_size, largest)
            yield path
            return
        with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(self.path) as archive:
            self._check_size(name, archive.getinfo(name).file_size, largest)
            path = Path(directory, "member")
            try:
                with archive.open(name) as packed, open(path, "wb") as stream:
                    shutil.copyfileobj(packed, stream)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
                raise LidError(f"{name}: {error}", where=self.path, mend="fetch it again") from error
            yield path

    def text(self, name: str) -> str:
        """Return a text file's content."""
        with self.file(name, LARGEST_TEXT) as path:
            try:
                return path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise LidError(f"{name} is not UTF-8", where=self.path, mend="fetch it again") from error

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of a file that ``torch.save`` wrote, loaded with ``weights_only=True``.

        Raises:
            LidError: damaged, or something else than tensors by name.
        """
        with self.file(name, LARGEST_WEIGHTS) as path:
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
                reason = str(error).partition("\n")[0]
                what = f"{name} is damaged, or holds more than tensors: {reason}"
                raise LidError(what, where=self.path, mend="name another file") from error
        tensors = content.get("model", content) if isinstance(content, dict) else None
        if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
            raise LidError(f"{name} does not hold tensors by name", where=self.path, mend="name another file")
        return dict(tensors)

    def _check_size(self, name: str, size: int, largest: int) -> None:
        if size > largest:
            what = f"{name} has {size} bytes, more than {largest}"
            raise LidError(what, where=self.path, mend="name another source")


class _PlainLoader(yaml.SafeLoader):
    """YAML whose unknown tags are kept as text: what they would construct is not constructed."""


def _construct_plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {TAG: suffix, **loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value or suffix


_PlainLoader.add_multi_constructor("!", _construct_plain)


def read_settings(source: Source, name: str) -> dict[str, Any]:
    """Return the mapping of a YAML file; its own tags construct nothing.

    A mapping with such a tag holds it, without its ``!``, under ``TAG``; a tag on nothing is the value.

    Raises:
        LidError: not YAML, or not a mapping.
    """
    try:
        settings = yaml.load(source.text(name), Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise LidError(f"{name} is not YAML: {error}", where=source.path, mend="mend that line") from error
    if not isinstance(settings, dict):
        raise LidError(f"{name} is not a list of 'key: value' lines", where=source.path)
    return settings
