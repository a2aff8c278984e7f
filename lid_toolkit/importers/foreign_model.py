"""A model of another toolkit: a directory of files, or a zip of one. Only the files asked for are read."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lid_toolkit.errors import LidError

TAG = "!"
LARGEST_TEXT = 16 << 20
LARGEST_WEIGHTS = 64 << 30
ANOTHER = "give another model"
UNREADABLE = (
    *(pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError, LookupError),
    *(AttributeError, TypeError, OverflowError, MemoryError),
)
"""Exceptions of the readers of weights for a file that is damaged or holds something else."""
# Exceptions of PyYAML besides its own errors, for values that do not match their tags.
BAD_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


@dataclass(frozen=True)
class Imported:
    """A foreign model, translated to this toolkit's components and parameter names.

    Attributes:
        description: components and their arguments, and ``licence`` if the model states it.
        weights: the parameters of the model that the description builds, by name.
        languages: labels in index order.
        rate: samples per second.
        kept: the labels that could not be mapped to languages, and so stay as their author wrote them.
    """

    description: dict[str, object]
    weights: dict[str, Tensor]
    languages: tuple[str, ...]
    rate: int
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignModel:
    """The files of another toolkit's model.

    Attributes:
        path: a directory or a zip.
    """

    path: Path

    def names(self) -> list[str]:
        """Return the names of all files with ``/``, those nearest to the root first.

        Raises:
            LidError: the path does not exist, or is neither a directory nor a zip.
        """
        if self.path.is_dir():
            found = [p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()]
        elif zipfile.is_zipfile(self.path):
            try:
                with zipfile.ZipFile(self.path) as archive:
                    found = [info.filename for info in archive.infolist() if not info.is_dir()]
            except zipfile.BadZipFile as error:
                raise LidError(f"a damaged zip: {error}", where=self.path, mend=ANOTHER) from error
        else:
            what = "neither a directory nor a zip" if self.path.exists() else "does not exist"
            raise LidError(what, where=self.path, mend="give the directory or zip of a trained model")
        return sorted(found, key=lambda name: (name.count("/"), name))

    def find(self, *wanted: str) -> str | None:
        """Return the file nearest to the root with one of these base names, or None."""
        return next((name for name in self.names() if PurePosixPath(name).name in wanted), None)

    def need(self, *wanted: str) -> str:
        """Return the result of :meth:`find`; raise LidError if there is no such file."""
        name = self.find(*wanted)
        if name is None:
            raise LidError(f"{' or '.join(wanted)} is missing", where=self.path, mend=ANOTHER)
        return name

    @contextlib.contextmanager
    def file(self, name: str, largest: int) -> Iterator[Path]:
        """Give the path of a file. A file in a zip is unpacked into a temporary directory for as long.

        It is unpacked under a fixed name, because a name in an untrusted zip may lead anywhere.

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
                raise LidError(f"{name}: {error}", where=self.path, mend="download it again") from error
            yield path

    def text(self, name: str) -> str:
        """Return the content of a text file."""
        with self.file(name, LARGEST_TEXT) as path:
            try:
                return path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise LidError(f"{name} is not UTF-8", where=self.path, mend="download it again") from error

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return the tensors in a safetensors file, or in one of ``torch.save`` (``weights_only=True``).

        Raises:
            LidError: damaged, or the file holds anything but named tensors.
        """
        with self.file(name, LARGEST_WEIGHTS) as path:
            try:
                if name.endswith(".safetensors"):
                    return load_file(path)
                content = torch.load(path, map_location="cpu", weights_only=True)
            except UNREADABLE as error:
                reason = str(error).partition("\n")[0]
                what = f"{name} is damaged, or holds more than tensors: {reason}"
                raise LidError(what, where=self.path, mend="give another file") from error
        tensors = content.get("model", content) if isinstance(content, dict) else None
        if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
            raise LidError(f"{name} does not hold named tensors", where=self.path, mend="give another file")
        return dict(tensors)

    def _check_size(self, name: str, size: int, largest: int) -> None:
        if size > largest:
            what = f"{name} has {size:,} bytes, more than {largest:,}"
            raise LidError(what, where=self.path, mend=ANOTHER)


def mismatches(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    """Return the parameters that only one side has; if there are none, those with different shapes."""
    differing = [name for name, value in theirs.items() if name in ours and value.shape != ours[name].shape]
    return sorted(ours.keys() ^ theirs.keys()) or differing


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that keeps unknown tags as text and does not construct the objects they name.

    SpeechBrain's hyperparams.yaml has tags such as ``!new:speechbrain.lobes.features.Fbank``, which its own
    loader imports and calls.
    """


def _construct_plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return {TAG: suffix, **loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value or suffix


_PlainLoader.add_multi_constructor("!", _construct_plain)


def read_settings(model: ForeignModel, name: str) -> dict[str, object]:
    """Return the content of a YAML file with keys and values; its tags construct nothing.

    The tag of a mapping is kept, without its ``!``, under the key ``TAG``. A tag without a value becomes the
    value.

    Raises:
        LidError: not YAML, or not a mapping.
    """
    try:
        settings = yaml.load(model.text(name), Loader=_PlainLoader)
    except BAD_YAML as error:
        raise LidError(f"{name} is not valid YAML: {error}", where=model.path, mend="correct it") from error
    if not isinstance(settings, dict):
        raise LidError(f"{name} is not a list of 'key: value' lines", where=model.path)
    return settings
