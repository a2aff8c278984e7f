"""References to recordings: a file, an entry of a Kaldi archive, or the output of a command.

A reference is a value of ``wav.scp``. Opening it gives the bytes in which the recording lies. An archive
entry is one of these, and the offset in the reference is the position of its first byte:

- a wav file;
- a Kaldi matrix or vector (see :mod:`lid_toolkit.audio.kaldi_matrix`);
- ``AUDIO``, one byte N, a length in N little-endian bytes, and a file of any format of that length.

kaldiio writes and reads the same entries, but only whole ones. Here the entry is only located and its
bounds are checked, so that a crop can be read by seeking.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, BinaryIO

from lid_toolkit.errors import LidError, reason_of

ENTRY_MARK = b"AUDIO"
COPY_AGAIN = "copy it again, or remove it"

SAVE_AND_CUT = "save the audio to a file and cut it"

LARGEST_STREAM = 1 << 29
"""Most bytes to read from a pipe or device, which may never end: 4.6 hours of 16-bit audio at 16 kHz."""

STREAM_BLOCK = 1 << 16
DIRECTORY, STREAMS = "directory", ("pipe", "device")

_IN_ARCHIVE = re.compile(r"(.+):(\d+)")


class AudioError(LidError):
    """A recording that cannot be read; ``where`` is its reference."""


class UnsupportedError(AudioError):
    """A recording in a format that is not read here, or something else than audio."""


@dataclass(frozen=True)
class ByteRange:
    """The part of an open file in which a recording lies.

    Attributes:
        descriptor: the open file.
        begin: position of the first byte of the recording.
        end: position after its last byte, or the end of the file if ``bounded`` is false.
        ref: its reference.
        suffix: of the file's name, in lower case; ``""`` in an archive.
        bounded: false for an archive entry without a length: other entries may follow it.
    """

    descriptor: int
    begin: int
    end: int
    ref: str
    suffix: str = ""
    bounded: bool = True

    def bytes_at(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes from a position in the file, or fewer at the end of the file.

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
            raise AudioError(reason_of(error), where=self.ref) from None
        return data

    def truncated(self, declared: int, present: int) -> AudioError:
        """Return the error for a header that says more samples than the file contains."""
        return AudioError(
            f"truncated: the header says {declared} samples, the file contains {present}",
            where=self.ref,
            mend=COPY_AGAIN,
        )


def is_pipe(ref: str) -> bool:
    """Return whether a reference is a command whose output is the recording."""
    return ref.endswith("|")


def in_archive(ref: str) -> bool:
    """Return whether a reference is ``ark:offset``."""
    return _IN_ARCHIVE.fullmatch(ref) is not None


def file_of(ref: str) -> str:
    """Return the path of the file that a path or ``ark:offset`` refers to."""
    match = _IN_ARCHIVE.fullmatch(ref)
    return match[1] if match else ref


@contextlib.contextmanager
def opened(ref: str, allow_pipes: bool = False, allow_streams: bool = False) -> Iterator[ByteRange]:
    """Open a recording.

    Args:
        ref: the reference.
        allow_pipes: whether to run a command.
        allow_streams: whether a path may be a named pipe or a device, such as ``/dev/stdin``. It is read to
            its end into a temporary file. Otherwise it is not even opened: that could wait forever.

    Raises:
        AudioError: the file does not exist or is empty, the offset is outside the archive, the path is not
            a file, or the reference is a command that fails or, without ``allow_pipes``, any command.
    """
    if is_pipe(ref):
        with _pipe_output(ref, allow_pipes) as descriptor:
            yield _byte_range(descriptor, None, ref, "")
        return
    match = _IN_ARCHIVE.fullmatch(ref)
    path, offset = (match[1], int(match[2])) if match else (ref, None)
    with contextlib.ExitStack() as stack:
        try:
            kind = kind_of(os.stat(path).st_mode)  # noqa: PTH116
            if kind and not (allow_streams and kind in STREAMS and match is None):
                mend = "give a file in it" if kind == DIRECTORY else "save the audio to a file"
                raise AudioError(f"is a {kind}, not a file", where=ref, mend=mend)
            waiting = os.O_NONBLOCK if kind else 0
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | waiting)
        except (OSError, ValueError) as error:
            raise AudioError(reason_of(error), where=ref, mend="check the path") from None
        stack.callback(os.close, descriptor)
        if kind:
            descriptor = stack.enter_context(_stream_content(descriptor, ref))
        yield _byte_range(descriptor, offset, ref, PurePath(path).suffix.lower() if match is None else "")


def kind_of(mode: int) -> str:
    """Return what kind of thing a path is from its ``st_mode``; "" for a file."""
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return DIRECTORY
    return "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"


@contextlib.contextmanager
def copied(content: BinaryIO, name: str) -> Iterator[ByteRange]:
    """Copy what a file object gives, from its position to its end, into a temporary file; yield its bytes.

    What is in memory stays there, if the system has files in memory.

    Raises:
        AudioError: it gives no bytes, cannot be read, or, unless it can seek, gives too many.
    """
    with _in_memory() if isinstance(content, io.BytesIO) else tempfile.TemporaryFile() as copy:
        try:
            most = None if content.seekable() else LARGEST_STREAM
            while block := content.read(STREAM_BLOCK):
                copy.write(block)
                if most is not None and copy.tell() > most:
                    raise AudioError(f"gives more than {most >> 20} MiB", where=name, mend=SAVE_AND_CUT)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            mend = "give a file object that is open for reading bytes"
            raise AudioError(f"cannot be read: {reason_of(error)}", where=name, mend=mend) from error
        copy.flush()
        yield _byte_range(copy.fileno(), None, name, PurePath(name).suffix.lower())


def _in_memory() -> IO[bytes]:
    """Return a temporary file that is not on a disk; on a system without these, one on disk."""
    if not hasattr(os, "memfd_create"):
        return tempfile.TemporaryFile()
    return open(os.memfd_create("audio", os.MFD_CLOEXEC), "w+b")


@contextlib.contextmanager
def _stream_content(descriptor: int, ref: str) -> Iterator[int]:
    """Read a pipe or device to its end; yield the descriptor of a temporary file with it."""
    if os.isatty(descriptor):
        raise AudioError("is a terminal, not audio", where=ref, mend="redirect a recording to it")
    with tempfile.TemporaryFile() as content:
        size = 0
        while True:
            try:
                block = os.read(descriptor, STREAM_BLOCK)  # nothing, if nobody writes: no wait for a writer
            except BlockingIOError:
                select.select([descriptor], [], [])
                continue
            except OSError as error:
                raise AudioError(reason_of(error), where=ref) from None
            size += len(block)
            if size > LARGEST_STREAM:
                what = f"gives more than {LARGEST_STREAM >> 20} MiB"
                raise AudioError(what, where=ref, mend=SAVE_AND_CUT)
            if not block:
                break
            content.write(block)
        content.flush()
        if not size:
            raise AudioError("gave no data", where=ref, mend="check the command that writes to it")
        yield content.fileno()


def _byte_range(descriptor: int, offset: int | None, ref: str, suffix: str) -> ByteRange:
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise AudioError("empty file", where=ref, mend=COPY_AGAIN)
    if offset is None:
        return ByteRange(descriptor, 0, size, ref, suffix)
    if offset >= size:
        raise AudioError(f"the archive has only {size} bytes", where=ref, mend=COPY_AGAIN)
    unbounded = ByteRange(descriptor, offset, size, ref, bounded=False)
    head = unbounded.bytes_at(offset, len(ENTRY_MARK) + 9)
    if not head.startswith(ENTRY_MARK):
        return unbounded
    width = head[len(ENTRY_MARK)] if len(head) > len(ENTRY_MARK) else 0
    digits = head[len(ENTRY_MARK) + 1 :][:width]
    begin = offset + len(ENTRY_MARK) + 1 + width
    end = begin + int.from_bytes(digits, "little")
    if not 1 <= width <= 8 or end > size:
        raise AudioError("truncated archive entry", where=ref, mend=COPY_AGAIN)
    return ByteRange(descriptor, begin, end, ref)


@contextlib.contextmanager
def _pipe_output(ref: str, allow_pipes: bool) -> Iterator[int]:
    """Run a command and yield the descriptor of an unnamed temporary file with its output."""
    if not allow_pipes:
        raise AudioError("is a command", where=ref, mend="set allow_pipes to true if you trust it")
    with tempfile.TemporaryFile() as output:
        command = ["bash", "-o", "pipefail", "-c", ref.rstrip("|")]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            what = f"the command ended with exit code {done.returncode}: {last}"
            raise AudioError(what, where=ref, mend="run it alone to see why")
        yield output.fileno()
