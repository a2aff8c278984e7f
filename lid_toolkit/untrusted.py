"""Read files of a stranger: a folder, a zip or a tar, whose names, sizes and contents may mean harm.

This is the only place that opens archives of models. Before a file of an archive is read, all names in it
are checked: none leads out of it, and none is a link. Of a folder, no link that leads out of it is read.
Nothing is unpacked that is much larger than the archive. YAML constructs plain values only, and neither
aliases nor nesting can make them large.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml

from lid_toolkit.cli import USERS_FAULTS
from lid_toolkit.errors import LidError

LARGEST_TEXT = 16 * 2**20
"""Bytes of a text file. The labels of a large training set are the largest."""
LARGEST_YAML = 2 * 2**20
"""Bytes of a YAML or JSON file. The labels of 4,000 languages take a tenth of it."""
LARGEST_WEIGHTS = 64 * 2**30
"""Bytes of a file with weights."""
LARGEST_RATIO = 50
"""Unpacked size of all wanted files together, divided by the size of the archive. Weights hardly shrink, but
a confusion matrix of zeros shrinks to a five-hundredth, so the limit is not for each file."""
MOST_FILES = 100_000
DEEPEST = 20
"""Levels of a YAML file. The deepest one, a pretrained encoder inside fused front ends, has eight."""
MOST_VALUES = 1_000_000
"""Values in a YAML file after its aliases are replaced by what they stand for."""
BLOCK = 2**20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
TAR_SUFFIXES = (".nemo", ".tar", ".tgz", ".gz")
DO_NOT_USE = "do not use this file"
FETCH_AGAIN = "download or copy it again"
YAML = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
BAD_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""Exceptions of PyYAML, its own and those for values that do not match their tags."""
# Exceptions of Python for a damaged archive, and for one in which a file and a folder have the same name.
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError),
    *(RuntimeError, ValueError, LookupError, ArithmeticError, MemoryError),
)


@dataclass(frozen=True)
class Untrusted:
    """The files of a folder, a zip or a tar. Only the files asked for are read.

    Attributes:
        path: the folder or archive. A folder of the Hub's cache is one too, with its links to the files.
    """

    path: Path

    def names(self) -> list[str]:
        """Return the names of all files with ``/``, those nearest to the root first.

        Raises:
            LidError: the path does not exist, is no folder, zip or tar, is damaged, or has a name that leads
                out of it, a link, or a file that is no plain file.
        """
        return sorted(self._sizes, key=lambda name: (name.count("/"), name))

    def find(self, *wanted: str) -> str | None:
        """Return the file nearest to the root with one of these base names, or None."""
        return next((name for name in self.names() if PurePosixPath(name).name in wanted), None)

    def need(self, *wanted: str) -> str:
        """Return the result of :meth:`find`; raise LidError if there is no such file."""
        name = self.find(*wanted)
        if name is None:
            what = f"{' or '.join(wanted)} is missing"
            raise LidError(what, where=self.path, mend="give another model")
        return name

    @contextlib.contextmanager
    def file(self, name: str, largest: int) -> Iterator[Path]:
        """Give the path of a file. A file in an archive is unpacked for as long, under a fixed name.

        Raises:
            LidError: no such file, larger than ``largest`` bytes, much larger than its archive, or damaged.
        """
        self._check_listed([name])
        if (size := self._sizes[name]) > largest:
            what = f"{name} is larger than {largest:,} bytes: {size:,}"
            raise LidError(what, where=self.path, mend=DO_NOT_USE)
        if self.path.is_dir():
            yield self.path / name
            return
        with tempfile.TemporaryDirectory(prefix="lid-") as folder:
            self._unpack({name: Path(folder, "member")})
            yield Path(folder, "member")

    @contextlib.contextmanager
    def unpacked(self, wanted: Sequence[str] | None = None) -> Iterator[Path]:
        """Give a folder with some files under their names; that of a folder is the folder itself.

        Args:
            wanted: names of the files; None for all.

        Raises:
            LidError: as :meth:`names`, a wanted file is missing, or the wanted files together are much larger
                than the archive.
        """
        files = self.names() if wanted is None else wanted
        self._check_listed(files)
        if self.path.is_dir():
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="lid-") as folder:
            self._unpack({name: Path(folder, name) for name in files})
            yield Path(folder)

    def text(self, name: str, largest: int = LARGEST_TEXT) -> str:
        """Return the content of a text file of at most ``largest`` bytes; raise LidError as :meth:`file`."""
        with self.file(name, largest) as path:
            try:
                return path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise LidError(f"{name} is not UTF-8", where=self.path, mend=FETCH_AGAIN) from error

    def yaml(self, name: str, loader: Any = YAML) -> dict[str, Any]:
        """Return the content of a YAML file with keys and values.

        Args:
            name: the file.
            loader: a loader of PyYAML that constructs plain values only.

        Raises:
            LidError: as :meth:`file`, not YAML, not a mapping, or too deep or too large.
        """
        with self.file(name, LARGEST_YAML) as path:
            try:
                content = parse_yaml(path.read_text(encoding="utf-8"), loader)
            except BAD_YAML as error:
                reason = " ".join(str(error).split())[:200]
                what = f"{name} is not valid YAML: {reason}"
                raise LidError(what, where=self.path, mend=FETCH_AGAIN) from error
        if not isinstance(content, dict):
            raise LidError(f"{name} is not a list of 'key: value' lines", where=self.path, mend=FETCH_AGAIN)
        return content

    def json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file with one object.

        Raises:
            LidError: as :meth:`file`, not JSON, or not an object.
        """
        try:
            content = json.loads(self.text(name, LARGEST_YAML))
        except (ValueError, RecursionError) as error:
            raise LidError(f"{name} is not JSON: {error}", where=self.path, mend=FETCH_AGAIN) from error
        if not isinstance(content, dict):
            raise LidError(f"{name} is not a mapping", where=self.path, mend=FETCH_AGAIN)
        return content

    @functools.cached_property
    def _sizes(self) -> Mapping[str, int]:
        """The size of each file by name; all names were checked."""
        found: dict[str, int] = {}
        with _told(self.path):
            for name, size, fault in self._members():
                if fault is None and name in found:
                    fault = "is there twice"
                if fault is None and len(found) >= MOST_FILES:
                    fault = f"is one of more than {MOST_FILES:,} files"
                if fault is not None:
                    raise LidError(f"{name[:200]!r} {fault}", where=self.path, mend=DO_NOT_USE)
                found[name] = size
        return found

    def _members(self) -> Iterator[tuple[str, int, str | None]]:
        """Yield name, size and fault of each file."""
        if self.path.is_dir():
            yield from _in_folder(self.path)
        elif not self.path.exists():
            raise LidError("does not exist", where=self.path, redo="packing", mend="give another file")
        elif is_tar(self.path):
            with _tar(self.path) as archive:
                for info in archive:
                    if not info.isdir():
                        yield info.name.removeprefix("./"), info.size, _tar_fault(info)
        else:
            with zipfile.ZipFile(self.path) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        yield member.filename, member.file_size, _zip_fault(member)

    def _check_listed(self, files: Iterable[str]) -> None:
        """Raise LidError if a wanted file is missing, or is a link of a folder that leads out of it."""
        in_folder = self.path.is_dir()
        for file in files:
            if file not in self._sizes:
                there = in_folder and (self.path / file).exists()
                what = f"{file} is not a file" if there else f"{file} is missing"
                raise LidError(what, where=self.path, mend="give another model")
            if in_folder and _leads_out(self.path, file):
                what = f"{file} is a link that leads out of the folder"
                raise LidError(what, where=self.path, mend="if you trust it, put a copy in its place")

    def _unpack(self, targets: Mapping[str, Path]) -> None:
        """Write files of the archive to paths."""
        size, unpacked = self.path.stat().st_size, sum(self._sizes[name] for name in targets)
        if unpacked > LARGEST_RATIO * size + BLOCK:
            what = f"unpacks to {unpacked:,} bytes from {size:,}"
            raise LidError(what, where=self.path, mend=DO_NOT_USE)
        with _told(self.path), contextlib.ExitStack() as stack:
            if not is_tar(self.path):
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                for name, path in targets.items():
                    _write(archive.open(name), path)
                return
            tar = stack.enter_context(_tar(self.path))
            for info in tar:
                target = targets.get(info.name.removeprefix("./"))
                if target is not None and (stream := tar.extractfile(info)) is not None:
                    _write(stream, target)


def is_tar(path: Path) -> bool:
    """Return whether an archive is a tar by its name, such as ``.nemo``; all others are taken for zips."""
    return path.suffix.lower() in TAR_SUFFIXES


def parse_yaml(text: str, loader: Any = YAML) -> Any:
    """Return the plain values of a YAML text.

    Nesting is limited before anything is composed, since it overflows the stack. Aliases are limited before
    anything is constructed: nine lines of ``b: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]``, each using the
    line before, describe a list of a billion values.

    Raises:
        yaml.YAMLError: more than DEEPEST levels or MOST_VALUES values, a value inside itself, or not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} levels")
    root = yaml.compose(text, Loader=loader)
    if root is not None and _values(root, {}) > MOST_VALUES:
        raise yaml.YAMLError(f"more than {MOST_VALUES:,} values")
    return yaml.load(text, Loader=loader)  # a safe loader, given by the caller


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values in a node and its parts, with aliases replaced."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError("a value that contains itself")
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]


def _in_folder(folder: Path) -> Iterator[tuple[str, int, None]]:
    """Yield the plain files; pipes and devices, which may have no end, are left out."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.stat().st_size, None


def _leads_out(folder: Path, name: str) -> bool:
    """Return whether a file is a link out of the folder.

    A folder of the Hub's cache, ``snapshots/REVISION``, has links to the files in ``blobs`` beside it.
    """
    root, target = folder.resolve(), (folder / name).resolve()
    places = [root, root.parents[1] / "blobs"] if root.parent.name == "snapshots" else [root]
    return not any(target.is_relative_to(place) for place in places)


def _name_fault(name: str) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable() or not path.parts:
        return "leads out of the folder"
    return None


def _zip_fault(info: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with a member, if anything.

    ``zipfile`` itself would rename ``../x`` to ``x`` when it extracts. Such a name is never an accident, so
    the whole zip is refused, even when the file is not wanted.
    """
    if fault := _name_fault(info.filename):
        return fault
    if stat.S_ISLNK(info.external_attr >> 16):  # a zip keeps the Unix mode in the upper 16 bits
        return "is a link"
    if info.compress_type not in METHODS:
        return f"is compressed by method {info.compress_type}, which is not supported"
    return None


def _tar_fault(info: tarfile.TarInfo) -> str | None:
    if fault := _name_fault(info.name):
        return fault
    if info.issym() or info.islnk():
        return "is a link"
    return None if info.isreg() and not info.issparse() else "is not a plain file"


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise LidError for what Python raises for a damaged archive."""
    try:
        yield
    except (OSError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.errno in USERS_FAULTS:
            raise
        kind = "folder" if path.is_dir() else "tar" if is_tar(path) else "zip"
        what = f"damaged, or not a {kind}: {error}"
        raise LidError(what, where=path, mend=FETCH_AGAIN) from error


def _write(packed: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with packed, path.open("wb") as plain:
        shutil.copyfileobj(packed, plain, BLOCK)


@contextlib.contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar, compressed by gzip or not, to be read once from its beginning to its end."""
    with path.open("rb") as raw:
        reader = _Bounded(raw, LARGEST_RATIO * path.stat().st_size + BLOCK)
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            yield archive


class _Bounded(io.RawIOBase):
    """A stream that is unpacked while it is read, and ends with an error when it becomes a bomb."""

    def __init__(self, raw: IO[bytes], largest: int) -> None:
        super().__init__()
        self._raw, self._largest = raw, largest
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        self._inflate = zlib.decompressobj(wbits=31) if packed else None
        self._read = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` unpacked bytes; fewer only at the end."""
        made = self._raw.read(size) if self._inflate is None else self._inflated(size)
        self._read += len(made)
        if self._read > self._largest:
            raise tarfile.ReadError(f"unpacks to more than {self._largest:,} bytes")
        return made

    def _inflated(self, size: int) -> bytes:
        assert self._inflate is not None
        made = b""
        while len(made) < size and not self._inflate.eof:
            waiting = self._inflate.unconsumed_tail or self._raw.read(BLOCK)
            if not waiting:
                raise tarfile.ReadError("it ends too early")
            made += self._inflate.decompress(waiting, size - len(made))
        return made
