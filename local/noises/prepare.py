"""Make the lists of noises and rooms for augmentation from MUSAN and RIRS_NOISES, if set in db.sh.

MUSAN (Snyder, Chen and Povey, arXiv:1510.08484, https://www.openslr.org/17) contains music, noise and speech.
From RIRS_NOISES (Ko et al., ICASSP 2017, https://www.openslr.org/28) only the simulated small and medium
rooms are used, as in the recipes of Kaldi and ESPnet.
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import tarfile
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from lid_toolkit.audio.reader import AudioError, audio_info
from lid_toolkit.cli import OptionParser, run
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from local.corpus import alone, option_parser, sources, without_blanks
from local.fetch import fetch_all, require_space, web_client
from local.parallel import parallel

MOST_BROKEN = 0.01
BLOCK = 1 << 20


@dataclass(frozen=True)
class SoundCorpus:
    """A collection of sounds.

    Attributes:
        name: name of the collection and of its variable in db.sh.
        url: address of the archive.
        top: top folder in the archive.
        lists: for each list, the folders below ``top`` with its WAV files.
    """

    name: str
    url: str
    top: str
    lists: dict[str, tuple[str, ...]]

    def archive(self, folder: Path) -> Path:
        """Return the path of the archive, which is next to ``folder``."""
        return folder.parent / Path(self.url).name


MUSAN = SoundCorpus(
    "MUSAN",
    "https://www.openslr.org/resources/17/musan.tar.gz",
    "musan",
    {f"musan_{kind}.scp": (kind,) for kind in ("music", "noise", "speech")},
)
RIRS_NOISES = SoundCorpus(
    "RIRS_NOISES",
    "https://www.openslr.org/resources/28/rirs_noises.zip",
    "RIRS_NOISES",
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
    fault = unpack(archive, source.top, folder)
    if fault:
        logging.warning("%s is damaged (%s): downloading it again", archive, fault)
        fetch_archive(source, archive)
        fault = unpack(archive, source.top, folder)
    if fault:
        raise LidError(f"damaged archive ({fault})", where=archive, mend="delete it and run this again")


def fetch_archive(source: SoundCorpus, archive: Path) -> None:
    """Download a collection's archive, replacing an existing one."""
    with web_client() as client:
        fetch_all(client, [(source.url, archive)], f"download {source.name}")


def unpack(archive: Path, top: str, folder: Path) -> str:
    """Unpack the folder ``top`` of an archive as ``folder``, all or nothing; return ``""`` or the fault."""
    scratch = folder.with_name(f".unpack-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        require_space(archive.parent, unpacked_bytes(archive), f"unpacking {archive.name}")
        with Progress(f"unpack {archive.name}", None, "file") as progress:
            for name, stream in _members(archive):
                target = _inside(scratch, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb") as file:
                    shutil.copyfileobj(stream, file, BLOCK)
                progress.advance()
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        return str(error)
    if not (scratch / top).is_dir():
        return f"it does not contain the folder {top}"
    os.sync()
    (scratch / top).rename(folder)
    shutil.rmtree(scratch)
    return ""


def unpacked_bytes(archive: Path) -> int:
    """Return the unpacked size of an archive. For tar it is estimated: audio compresses to more than half."""
    if archive.suffix != ".zip":
        return 2 * archive.stat().st_size
    with zipfile.ZipFile(archive) as source:
        return sum(info.file_size for info in source.infolist())


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each regular file. Links and devices are skipped; checksums are verified."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as source:
            for info in source.infolist():
                if not info.is_dir():
                    with source.open(info) as stream:
                        yield info.filename, stream
        return
    with gzip.open(archive) as unzipped, tarfile.open(fileobj=unzipped) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content
        while unzipped.read(BLOCK):  # read to the end of the file, where gzip stores the checksum
            pass


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
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
        parser.add_argument(f"--{name}_url", default=source.url, help="address of its archive")


def prepare_all(options: Namespace) -> None:
    """Make the lists of the collections whose directory is given, and log which are not used."""
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
