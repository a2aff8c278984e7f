"""Where a recording's bytes lie: a file, an entry of a Kaldi archive, or the output of a command.

An archive entry is a wav as it is, a Kaldi matrix, or ``AUDIO``, one byte N, a length in N
little-endian bytes and a file of any format, as kaldiio writes; the offset is that of its first byte.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from lid_toolkit.errors import LidError

ENTRY_MARK = b"AUDIO"

_IN_ARCHIVE = re.compile(r"(.+):(\d+)")


class AudioError(LidError):
    """A recording that cannot be read; ``where`` is its reference."""


@dataclass(frozen=True)
class Entry:
    """The bytes of an open recording: ``begin`` to ``end`` of a file.

    Attributes:
        descriptor: the open file.
        begin: where the recording starts.
        end: where it ends at the latest.
        ref: its reference.
        suffix: of its file's name, in lower case; ``""`` in an archive.
        bounded: false for an archive entry that does not tell its length: others may follow.
    """

    descriptor: int
    begin: int
    end: int
    ref: str
    suffix: str = ""
    bounded: bool = True

    def bytes_at(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes from a position of the file on, or as many as there are.

        Raises:
            AudioError: the system cannot read them.
        """
        try:
            data = os.pread(self.descriptor, size, position)
            while len(data) < size and (
                more := os.pread(self.descriptor, size - len(data), position + len(data))
            ):
                data += more  # one call returns 2 GiB at most
        except OSError as error:
            raise AudioError(error.strerror or "cannot be read", where=self.ref) from None
        return data

    def truncated(self, declared: int, present: int) -> AudioError:
        """Return the error for a header that says more samples than there are."""
        return AudioError(
            f"truncated: the header says {declared} samples, the file holds {present}", where=self.ref
        )


def is_pipe(ref: str) -> bool:
    """Say whether a reference is a command whose output is the recording."""
    return ref.endswith("|")


def in_archive(ref: str) -> bool:
    """Say whether a reference is ``ark:offset``."""
    return _IN_ARCHIVE.fullmatch(ref) is not None


def file_of(ref: str) -> str:
    """Return the path of the file that a path or ``ark:offset`` refers to."""
    match = _IN_ARCHIVE.fullmatch(ref)
    return match[1] if match else ref


@contextlib.contextmanager
def opened(ref: str, allow_pipes: bool) -> Iterator[Entry]:
    """Open a recording; raises AudioError if it is missing, empty, or a command that may not run or fails."""
    if is_pipe(ref):
        with _pipe_output(ref, allow_pipes) as descriptor:
            yield _entry(descriptor, None, ref, "")
        return
    match = _IN_ARCHIVE.fullmatch(ref)
    path, offset = (match[1], int(match[2])) if match else (ref, None)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise AudioError(getattr(error, "strerror", None) or str(error), where=ref) from None
    try:
        yield _entry(descriptor, offset, ref, PurePath(path).suffix.lower() if match is None else "")
    finally:
        os.close(descriptor)


def _entry(descriptor: int, offset: int | None, ref: str, suffix: str) -> Entry:
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise AudioError("empty file", where=ref)
    if offset is None:
        return Entry(descriptor, 0, size, ref, suffix)
    if offset >= size:
        raise AudioError(f"the archive has only {size} bytes", where=ref)
    entry = Entry(descriptor, offset, size, ref, bounded=False)
    head = entry.bytes_at(offset, len(ENTRY_MARK) + 9)
    if not head.startswith(ENTRY_MARK):
        return entry
    width = head[len(ENTRY_MARK)] if len(head) > len(ENTRY_MARK) else 0
    digits = head[len(ENTRY_MARK) + 1 :][:width]
    begin = offset + len(ENTRY_MARK) + 1 + width
    end = begin + int.from_bytes(digits, "little")
    if not 1 <= width <= 8 or end > size:
        raise AudioError("truncated archive entry", where=ref)
    return Entry(descriptor, begin, end, ref)


@contextlib.contextmanager
def _pipe_output(ref: str, allow_pipes: bool) -> Iterator[int]:
    """Run a command and yield a descriptor of a nameless file with its output."""
    if not allow_pipes:
        raise AudioError("is a command", where=ref, mend="if you trust it: --allow_pipes true")
    with tempfile.TemporaryFile() as output:
        command = ["bash", "-o", "pipefail", "-c", ref.rstrip("|")]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise AudioError(f"the command ended with exit code {done.returncode}: {last}", where=ref)
        yield output.fileno()
