"""The zips of VoxLingua107: find files that are not extracted, verify checksums, and extract in parallel.

Files are written under a temporary name and then renamed, so a file with the right size is complete even if
a process was killed. What remains to be done is determined from the folders alone.
"""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.fetch import disk_faults
from local.parallel import parallel
from local.voxlingua107.layout import Archive

PART = 5000
BLOCK = 1 << 20
MOST_UNPACKED = 50
"""Largest ratio of unpacked to packed size. It is about 2 for recordings."""
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, struct.error),
    *(ValueError, LookupError, ArithmeticError, MemoryError),
)
"""Exceptions that :mod:`zipfile` raises for a damaged, truncated or encrypted archive."""


@dataclass(frozen=True)
class Survey:
    """Comparison of a zip with the files on disk.

    Attributes:
        archive: the zip.
        files: number of recordings in the zip.
        missing: number of recordings that are not on disk or have the wrong size.
        missing_bytes: total size of the missing recordings.
        strange: members that are not recordings of the archive's languages; they are not extracted.
        fault: why the zip cannot be read, or ``""``.
    """

    archive: Archive
    files: int = 0
    missing: int = 0
    missing_bytes: int = 0
    strange: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class ArchiveMembers:
    """Some of the recordings in a zip: numbers ``first`` to ``last - 1`` in its directory."""

    archive: Archive
    first: int
    last: int


def is_zip(path: Path) -> bool:
    """Return whether a file has the end record of a zip, which a truncated file lacks."""
    return zipfile.is_zipfile(path)


def survey(archive: Archive) -> Survey:
    """Compare the directory of a zip with the files on disk."""
    try:
        with zipfile.ZipFile(archive.path) as source:
            found = list(recordings(source, archive))
            strange = tuple(sorted(set(source.namelist()) - {info.filename for info, _ in found}))
    except BROKEN as error:
        return Survey(archive, fault=str(error))
    lacking = [info.file_size for info, path in found if not _is_there(path, info)]
    folders = tuple(name for name in strange if not name.endswith("/"))
    fault = "" if found else f"contains no recordings named {archive.codes[0]}/NAME.wav"
    whole = sum(info.file_size for info, _ in found)
    if whole > MOST_UNPACKED * archive.path.stat().st_size + BLOCK:
        fault = f"it unpacks to {whole:,} bytes, more than {MOST_UNPACKED} times its size"
    return Survey(archive, len(found), len(lacking), sum(lacking), folders, fault)


def surveys(archives: Sequence[Archive], jobs: int) -> list[Survey]:
    """Survey several zips in parallel."""
    return list(parallel(survey, archives, jobs, "survey zips", "zip", at_once=1)) if archives else []


def check(part: ArchiveMembers) -> str:
    """Verify the checksums of some recordings of a zip; return the first fault or ``""``."""
    return _work(part, extracting=False)


def extract(part: ArchiveMembers) -> str:
    """Extract the recordings of a part that are not on disk; return the first fault or ``""``."""
    return _work(part, extracting=True)


def faults(work: str, surveyed: Sequence[Survey], jobs: int) -> dict[Archive, str]:
    """Run ``work``, ``check`` or ``extract``, on zips in parallel; return the fault of each damaged zip."""
    broken = {item.archive: item.fault for item in surveyed if item.fault}
    parts = [part for item in surveyed if not item.fault for part in _parts(item)]
    function = {"check": check, "extract": extract}[work]
    if parts:
        found = parallel(function, parts, jobs, f"{work} zips", f"x {PART} files", at_once=1)
        for part, fault in zip(parts, found, strict=True):
            if fault:
                broken.setdefault(part.archive, fault)
    return broken


def recordings(source: zipfile.ZipFile, archive: Archive) -> Iterator[tuple[zipfile.ZipInfo, Path]]:
    """Yield the recordings of a zip with their target paths. Members outside language folders are skipped."""
    for info in source.infolist():
        folder, slash, name = info.filename.partition("/")
        if slash and folder in archive.codes and _is_wav(name):
            yield info, archive.root / folder / name


def _is_wav(name: str) -> bool:
    return name.endswith(".wav") and not name.startswith(".") and not set(name) & set("/\\\0\n\r")


def _parts(item: Survey) -> list[ArchiveMembers]:
    bounds = range(0, item.files, PART)
    return [ArchiveMembers(item.archive, first, min(first + PART, item.files)) for first in bounds]


def _work(part: ArchiveMembers, *, extracting: bool) -> str:
    name = ""
    try:
        with zipfile.ZipFile(part.archive.path) as source:
            for info, path in list(recordings(source, part.archive))[part.first : part.last]:
                name = info.filename
                if extracting and _is_there(path, info):
                    continue
                with source.open(info) as stream:
                    if extracting:
                        _write(path, stream)
                    else:
                        _read(stream)
    except BROKEN as error:
        return f"{name}: {error}" if name and name not in str(error) else str(error)
    return ""


def _read(stream: IO[bytes]) -> None:
    while stream.read(BLOCK):
        pass


def _write(path: Path, stream: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    with disk_faults(path):
        with open(temporary, "wb") as target:
            shutil.copyfileobj(stream, target, BLOCK)
        temporary.replace(path)


def _is_there(path: Path, info: zipfile.ZipInfo) -> bool:
    try:
        return path.stat().st_size == info.file_size
    except FileNotFoundError:
        return False
