"""Make the lists of noises and rooms for augmentation from MUSAN and RIRS_NOISES, if db.sh sets them.

MUSAN (Snyder, Chen and Povey, arXiv:1510.08484, https://www.openslr.org/17) contains music, noise and speech.
From RIRS_NOISES (Ko et al., ICASSP 2017, https://www.openslr.org/28) only the simulated small and medium
rooms are used, as in the recipes of Kaldi and ESPnet.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from lid_toolkit.audio.reader import AudioError, audio_info
from lid_toolkit.cli import OptionParser, run
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from local.corpus import alone, option_parser, sources, without_blanks
from local.fetch import disk_faults, fetch_all, require_space, verify_digest, web_client
from local.parallel import parallel

MOST_BROKEN = 0.01
BLOCK = 1 << 20
MOST_UNPACKED = 50
"""Largest ratio of unpacked to packed size. It is about 2 for recordings and 5 for synthetic rooms."""
TOO_LARGE = f"it unpacks to more than {MOST_UNPACKED} times its size"
# Exceptions that damaged, encrypted and malicious archives cause; OSError is raised for an invalid offset.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error),
    *(RuntimeError, ValueError, LookupError, ArithmeticError, MemoryError),
)


@dataclass(frozen=True)
class SoundCorpus:
    """A collection of sounds.

    Attributes:
        name: name of the collection and of its variable in db.sh.
        url: address of the archive.
        top: top folder in the archive.
        digest: the checksum that OpenSLR publishes in ``checksum.md5`` beside the archive.
        lists: for each list, the folders below ``top`` with its WAV files.
    """

    name: str
    url: str
    top: str
    digest: str
    lists: dict[str, tuple[str, ...]]

    def archive(self, folder: Path) -> Path:
        """Return the path of the archive, which is next to ``folder``."""
        return folder.parent / Path(self.url).name

    @property
    def pinned(self) -> bool:
        """Whether the address is OpenSLR's or that of a mirror, so that the published checksum applies."""
        return urlsplit(self.url).path.endswith(f"/resources/{OPENSLR[self.name]}/{Path(self.url).name}")


OPENSLR = {"MUSAN": 17, "RIRS_NOISES": 28}
"""Numbers of the collections on OpenSLR."""
MUSAN = SoundCorpus(
    "MUSAN",
    "https://www.openslr.org/resources/17/musan.tar.gz",
    "musan",
    "md5:0c472d4fc0c5141eca47ad1ffeb2a7df",
    {f"musan_{kind}.scp": (kind,) for kind in ("music", "noise", "speech")},
)
RIRS_NOISES = SoundCorpus(
    "RIRS_NOISES",
    "https://www.openslr.org/resources/28/rirs_noises.zip",
    "RIRS_NOISES",
    "md5:e6f48e257286e05de56413b4779d8ffb",
    {"rirs.scp": ("simulated_rirs/smallroom", "simulated_rirs/mediumroom")},
)


def prepare(source: SoundCorpus, folder: Path, datadir: Path, jobs: int, dry_run: bool) -> None:
    """Download and unpack a collection if its folder is missing; write its lists unless they are current.

    Raises:
        LidError: the collection cannot be downloaded or unpacked, or a list would be empty.
    """
    if not folder.is_dir():
        if dry_run:
            logging.info("%s: to do (download %s to %s)", source.name, source.url, folder)
            return
        obtain(source, folder)
    step = Step(
        f"lists of {source.name}",
        datadir / ".done" / f"{source.name}.json",
        sources(__file__),
        {"folder": str(folder), "folder_time": folder.stat().st_mtime_ns},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("listing noises", lock=None) as work:
        if work is None:
            return
        for name, parts in source.lists.items():
            table, dropped = listed(folder, parts, jobs, name)
            write_table(datadir / name, table)
            print(f"{datadir / name}: {len(table)} recordings, {len(dropped)} dropped")
            for path, why in dropped:
                logging.warning("%s: dropped: %s", path, why)
        work.finish(datadir / name for name in source.lists)


def obtain(source: SoundCorpus, folder: Path) -> None:
    """Download a collection's archive, unless it is next to ``folder``, and unpack it to ``folder``.

    Raises:
        LidError: there is too little space, the archive cannot be downloaded, or it is still damaged after
            a second download.
    """
    archive = source.archive(folder)
    if not archive.exists():
        fetch_archive(source, archive)
    fault = checked_unpack(source, archive, folder)
    if fault:
        logging.warning("%s is damaged (%s): downloading it again", archive, fault)
        fetch_archive(source, archive)
        fault = checked_unpack(source, archive, folder)
    if fault:
        raise LidError(f"damaged archive ({fault})", where=archive, mend="delete it and run this again")


def fetch_archive(source: SoundCorpus, archive: Path) -> None:
    """Download a collection's archive, replacing an existing one."""
    with web_client() as client:
        fetch_all(client, [(source.url, archive)], f"download {source.name}")


def checked_unpack(source: SoundCorpus, archive: Path, folder: Path) -> str:
    """Verify the archive's checksum, if its address is pinned, and unpack it; return ``""`` or the fault."""
    return (source.pinned and verify_digest(archive, source.digest)) or unpack(archive, source.top, folder)


def unpack(archive: Path, top: str, folder: Path) -> str:
    """Unpack the folder ``top`` of an archive as ``folder``, all or nothing; return ``""`` or the fault.

    Raises:
        LidError: the files cannot be written.
    """
    scratch = folder.with_name(f".unpack-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    left = MOST_UNPACKED * archive.stat().st_size + BLOCK
    try:
        require_space(archive.parent, unpacked_bytes(archive), f"unpacking {archive.name}")
        with Progress(f"unpack {archive.name}", None, "file") as progress:
            for name, stream in _members(archive, left):
                target = _inside(scratch, name)
                with disk_faults(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                with disk_faults(target), open(target, "wb") as file:
                    while block := _read(stream):
                        left -= len(block)
                        if left < 0:
                            raise tarfile.TarError(TOO_LARGE)
                        file.write(block)
                progress.advance()
    except BROKEN as error:
        shutil.rmtree(scratch, ignore_errors=True)
        return " ".join(str(error).split()) or type(error).__name__
    if not (scratch / top).is_dir():
        return f"it does not contain the folder {top}"
    os.sync()
    (scratch / top).rename(folder)
    shutil.rmtree(scratch)
    return ""


def unpacked_bytes(archive: Path) -> int:
    """Return the unpacked size of an archive. For tar, an upper estimate: audio shrinks by less than half."""
    if archive.suffix != ".zip":
        return 2 * archive.stat().st_size
    with zipfile.ZipFile(archive) as source:
        return sum(info.file_size for info in source.infolist())


def _members(archive: Path, most: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each regular file. Links and devices are skipped; checksums are verified.

    At most ``most`` bytes are unpacked, whether or not they belong to a regular file.
    """
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as source:
            for info in source.infolist():
                if not info.is_dir():
                    with source.open(info) as stream:
                        yield info.filename, stream
        return
    with gzip.open(archive) as unzipped:
        bounded = _Bounded(unzipped, most)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:  # r|: never seeks
            yield from _tar_members(tar)
        while bounded.read(BLOCK):  # read to the end of the file, where gzip stores the checksum
            pass


def _tar_members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        content = tar.extractfile(member) if member.isfile() else None
        if content is not None:
            yield member.name, content


class _Bounded(io.RawIOBase):
    """Read a stream up to a limit, so that long headers, links and padding count too."""

    def __init__(self, stream: gzip.GzipFile, most: int) -> None:
        self.stream, self.left = stream, most

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; raise TarError beyond the limit."""
        block = self.stream.read(size)
        self.left -= len(block)
        if self.left < 0:
            raise tarfile.TarError(TOO_LARGE)
        return block


def _read(stream: IO[bytes]) -> bytes:
    """Read a block. An OSError here means that the archive is damaged, not that the disk is full."""
    try:
        return stream.read(BLOCK)
    except OSError as error:
        raise tarfile.TarError(str(error)) from error


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise tarfile.TarError(f"the path of its member '{name}' is outside the archive's folder")
    return folder / path


def listed(
    folder: Path, parts: Sequence[str], jobs: int, title: str
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the readable WAV files in some folders as ``(id, path)``, and the others as ``(path, reason)``.

    Raises:
        LidError: there are no files, or more than 1 % of them cannot be read.
    """
    paths = sorted(path for part in parts for path in (folder / part).rglob("*.wav"))
    found = parallel(_fault, paths, jobs, f"read headers of {title}") if paths else iter(())
    dropped = [(str(path), why) for path, why in zip(paths, found, strict=True) if why]
    broken = {path for path, _ in dropped}
    table = [
        (without_blanks("-".join(path.relative_to(folder).with_suffix("").parts)), str(path))
        for path in paths
        if str(path) not in broken
    ]
    if not table or len(dropped) > MOST_BROKEN * len(paths):
        raise LidError(
            f"{len(dropped)} of {len(paths)} recordings in {' and '.join(parts)} cannot be read",
            where=folder,
            mend="delete this folder to download it again, or correct db.sh",
        )
    return table, dropped


def _fault(path: Path) -> str:
    try:
        audio_info(str(path))
    except AudioError as error:
        return error.what
    return ""


def add_options(parser: OptionParser) -> None:
    """Add the options for the directory and address of each collection."""
    for source in (MUSAN, RIRS_NOISES):
        name = source.name.lower()
        parser.add_argument(
            f"--{name}",
            default="",
            help=f"directory of {source.name}; downloaded if missing, not used if empty",
        )
        parser.add_argument(
            f"--{name}_url", default=source.url, help=f"address of the archive of {source.name}"
        )


def prepare_all(options: Namespace) -> None:
    """Make the lists of the collections whose directories are given; log which collections are not used."""
    for collection in (MUSAN, RIRS_NOISES):
        name = collection.name.lower()
        source = replace(collection, url=getattr(options, f"{name}_url"))
        place = getattr(options, name)
        if place:
            prepare(source, Path(place).absolute(), options.datadir, options.nj, options.dry_run)
            continue
        lists = ", ".join(str(options.datadir / file) for file in source.lists)
        logging.info(
            "%s: no directory set in db.sh, so training does not use %s",
            source.name,
            lists,
        )


def main(arguments: Sequence[str]) -> None:
    """Parse the options and make the lists."""
    parser = option_parser(None, "List noises and rooms for augmentation.")
    add_options(parser)
    options = parser.parse_args(arguments)
    with alone("noises", options.datadir, dry_run=options.dry_run):
        prepare_all(options)


if __name__ == "__main__":
    run(main)
