"""Read files of a stranger: a folder, a zip, a tar or an ONNX file, whose contents may mean harm.

This is the only place that opens models. Before a file of an archive is read, all names in it are checked:
none leads out of it, and none is a link. Of a folder, no link that leads out of it is read. Nothing is
unpacked that is much larger than the archive. An ONNX file refers to no other file
(:mod:`lid_toolkit.untrusted_onnx`). YAML and JSON give plain values, and neither aliases nor nesting can make
them large (:mod:`lid_toolkit.untrusted_text`).
"""

from __future__ import annotations

import contextlib
import functools
import io
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lid_toolkit.cli import USERS_FAULTS
from lid_toolkit.errors import LidError
from lid_toolkit.untrusted_onnx import DO_NOT_USE, LARGEST_ONNX, check_file
from lid_toolkit.untrusted_onnx import SUFFIX as ONNX_SUFFIX
from lid_toolkit.untrusted_text import BAD_YAML, LARGEST_YAML, YAML, parse_json, parse_yaml

LARGEST_TEXT = 16 * 2**20
"""Bytes of a text file. The labels of a large training set are the largest."""
LARGEST_WEIGHTS = 64 * 2**30
"""Bytes of a file with weights."""
LARGEST_RATIO = 50
"""Unpacked size of all wanted files together, divided by the size of the archive. Weights hardly shrink, but
a confusion matrix of zeros shrinks to a five-hundredth, so the limit is not for each file."""
MOST_FILES = 100_000
BLOCK = 2**20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LABELS = "labels.txt"
"""The file that may lie beside an ONNX file: its labels."""
TAR_SUFFIXES = (".nemo", ".tar", ".tgz", ".gz")
FETCH_AGAIN = "download or copy it again"
# Exceptions of Python for a damaged archive, and for one in which a file and a folder have the same name.
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError),
    *(RuntimeError, ValueError, LookupError, ArithmeticError, MemoryError),
)


@dataclass(frozen=True)
class Untrusted:
    """The files of a folder, a zip or a tar, or an ONNX file with its labels. Only those asked for are read.

    Attributes:
        path: the folder, archive or ONNX file. A folder of the Hub's cache is one too, with its links to the
            files.
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
        if (size := self._size(name)) > largest:
            what = f"{name} is larger than {largest:,} bytes: {size:,}"
            raise LidError(what, where=self.path, mend=DO_NOT_USE)
        if (folder_itself := self._folder) is not None:
            yield folder_itself / name
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
        for name in files:
            self._size(name)
        if (folder_itself := self._folder) is not None:
            yield folder_itself
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
        text = self.text(name, LARGEST_YAML)
        try:
            return parse_json(text)
        except ValueError as error:
            raise LidError(f"{name} is not JSON: {error}", where=self.path, mend=FETCH_AGAIN) from error

    @contextlib.contextmanager
    def onnx(self, name: str) -> Iterator[Path]:
        """Give the path of an ONNX file, as :meth:`file`.

        Raises:
            LidError: as :meth:`file`, not an ONNX model, or one that refers to other files.
        """
        with self.file(name, LARGEST_ONNX) as path:
            check_file(path, self.path if self.path.name == name else f"{self.path}: {name}")
            yield path

    @property
    def _folder(self) -> Path | None:
        """The folder in which the files lie as they are; None for an archive."""
        if self.path.is_dir():
            return self.path
        return self.path.parent if self.path.suffix == ONNX_SUFFIX else None

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
        elif self._folder is not None:
            beside = (self.path, self.path.with_name(LABELS))
            yield from ((path.name, path.stat().st_size, None) for path in beside if path.is_file())
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

    def _size(self, name: str) -> int:
        """Return the bytes of a file; of a folder, other files are not looked at.

        Raises:
            LidError: the file is missing, or is a link of a folder that leads out of it.
        """
        folder = self._folder
        there = name in self._sizes if folder is None else (folder / name).is_file()
        if not there:
            exists = folder is not None and (folder / name).exists()
            what = f"{name} is not a file" if exists else f"{name} is missing"
            raise LidError(what, where=self.path, mend="give another model")
        if folder is None:
            return self._sizes[name]
        its_own = folder != self.path and name == self.path.name  # who names an ONNX file may name a link
        if not its_own and _leads_out(folder, name):
            what = f"{name} is a link that leads out of the folder"
            raise LidError(what, where=self.path, mend="if you trust it, put a copy in its place")
        return (folder / name).stat().st_size

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
