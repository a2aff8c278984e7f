"""Recordings in tar shards, as WebDataset writes them, read as a stream: nothing is ever extracted.

Format: POSIX.1-2001 pax and GNU tar; https://github.com/webdataset/webdataset for the layout of shards.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from lid_toolkit.audio.references import LARGEST_STREAM
from lid_toolkit.errors import reason_of
from lid_toolkit.inference.inputs.item import Input, broken, is_recording, text_of

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LARGEST_HEADER = 1 << 20
"""Most bytes of a name or of extended headers, which are read whole."""

EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
EXTENDED_LINK = tarfile.GNUTYPE_LONGLINK


class _BrokenTarError(Exception):
    """A header that ``tarfile`` would take for the end of the archive, and so lose the rest silently."""


class _Header(tarfile.TarInfo):
    """A header that is checked before ``tarfile`` acts on it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> _Header:
        """Return the header in a block; raise _BrokenTarError if it is damaged or too large."""
        try:
            header = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            what = "ends without the mark of an archive's end" if not buf else "a header is damaged"
            raise _BrokenTarError(what) from None
        if header.type in (*EXTENDED, EXTENDED_LINK) and header.size > LARGEST_HEADER:
            raise _BrokenTarError(f"a header has {header.size} bytes")
        return header


def read_tar(path: Path) -> Iterator[Input]:
    """Yield the recordings in a tar file, plain or compressed, in their order; the id is ``TAR/MEMBER``.

    Members that are not recordings by their suffix are passed over. Links, sparse files and members above
    512 MiB are not read. Damage ends the archive with an input that says so.
    """
    count = 0
    try:
        with tarfile.open(path, "r|*", tarinfo=_Header) as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
                if member.isdir() or not is_recording(member.name):
                    continue
                yield _member(archive, member, f"{path}/{member.name}")
                count += 1
    except (tarfile.TarError, _BrokenTarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        what = f"broken archive: {reason_of(error)}, after {count} recordings"
        yield broken(str(path), what, "copy it again")


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Input:
    if not member.isreg() or member.issparse():
        return broken(name, "is not a plain file", "only plain files are read from archives")
    if member.size > LARGEST_STREAM:
        return broken(name, f"has more than {LARGEST_STREAM >> 20} MiB", "take it out of the archive")
    stream = archive.extractfile(member)
    return Input(text_of(name), b"" if stream is None else stream.read())
