"""Write 16-bit mono recordings: ``wav`` and ``flac`` files, ``wav.ark`` and ``flac.ark`` archives.

An archive contains, for each recording, its key, a space and an entry as :mod:`lid_toolkit.audio.references`
describes: in ``wav.ark`` a wav file, in ``flac.ark`` ``AUDIO``, a length and a flac file. kaldiio reads both.
It cannot write them here, because it encodes the samples itself: formatting copies files that already have
the right format byte by byte, and archives must appear whole.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from lid_toolkit.audio.reader import LOWEST_RATE
from lid_toolkit.audio.references import ENTRY_MARK
from lid_toolkit.audio.wav_header import pcm16_wav_header
from lid_toolkit.errors import LidError
from lid_toolkit.files import fsync, temporary_beside, write_whole

AUDIO_FORMATS = ("wav", "flac", "wav.ark", "flac.ark")
HIGHEST_RATE = 655_350
HIGHEST_ODD_RATE = 65_535
LONGEST_FILE_NAME = 255
FSYNCS_AT_A_TIME = 16
SURELY_SHORT = 60
"""Characters of an id that certainly fits: each needs at most four bytes, or three if it is replaced."""

Writer = Callable[[str, bytes], str]
"""Writes a recording from its key and the bytes of a file, and returns its reference."""


def is_rate(rate: int) -> bool:
    """Return whether recordings can be written at a rate in Hz; flac stores high rates in tens of Hz."""
    return LOWEST_RATE <= rate <= HIGHEST_RATE and (rate <= HIGHEST_ODD_RATE or rate % 10 == 0)


def quantise(wave: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
    """Round a waveform to 16 bits (steps of 2^-15); also return how many samples were outside [-1, 1]."""
    clipped = int(np.count_nonzero(np.abs(wave) > 1.0))
    scaled = np.rint(wave * np.float32(32768))
    return np.clip(scaled, -32768, 32767).astype(np.int16), clipped


def encode(samples: NDArray[np.int16], rate: int, kind: str) -> bytes:
    """Return the bytes of a mono file; ``kind`` is ``wav`` or ``flac``."""
    if kind == "wav":
        return pcm16_wav_header(len(samples), rate) + samples.astype("<i2", copy=False).tobytes()
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


@contextlib.contextmanager
def audio_writer(target: Path, audio_format: str) -> Iterator[Writer]:
    """Yield a function that writes recordings to ``target``.

    The target appears whole when the block ends and replaces an earlier one. After an exception the
    earlier one is unchanged. If nothing was written, the earlier one is removed.

    Args:
        target: an archive file for ``wav.ark`` and ``flac.ark``, else a directory.
        audio_format: one of ``AUDIO_FORMATS``.
    """
    kind, _, archive = audio_format.partition(".")
    writers: list[Writer] = []
    with contextlib.ExitStack() as stack:

        def write(key: str, data: bytes) -> str:
            if not writers:
                begin = _archive_writer(target, kind) if archive else _file_writer(target, kind)
                writers.append(stack.enter_context(begin))
            return writers[0](key, data)

        yield write
    if not writers:
        _remove(target)


@contextlib.contextmanager
def _archive_writer(target: Path, kind: str) -> Iterator[Writer]:
    with write_whole(target, "wb") as stream:

        def write(key: str, data: bytes) -> str:
            stream.write(key.encode() + b" ")
            offset = stream.tell()
            if kind != "wav":
                width = (len(data).bit_length() + 7) // 8
                stream.write(ENTRY_MARK + bytes([width]) + len(data).to_bytes(width, "little"))
            stream.write(data)
            return f"{target}:{offset}"

        yield write


@contextlib.contextmanager
def _file_writer(target: Path, kind: str) -> Iterator[Writer]:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    temporary.mkdir()
    try:

        def write(key: str, data: bytes) -> str:
            name = file_name(key, kind)
            (temporary / name).write_bytes(data)
            return str(target / name)

        yield write
        # All at the end: the kernel has written most by then. Several at a time: one journal commit covers
        # all files that wait for it.
        with ThreadPoolExecutor(FSYNCS_AT_A_TIME) as pool:
            list(pool.map(fsync, [*temporary.iterdir(), temporary]))
        _remove(target)
        temporary.replace(target)
        fsync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove(target: Path) -> None:
    """Remove a file or directory if it exists."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def file_name(key: str, kind: str) -> str:
    """Return a file name for a key, different for different keys and always inside its directory.

    Raises:
        LidError: the name is too long for a file system.
    """
    name = _file_name(key, kind)
    if len(name.encode()) > LONGEST_FILE_NAME:
        raise LidError("the id is too long for a file name", where=key, mend=f"use the format {kind}.ark")
    return name


def is_too_long(key: str) -> bool:
    """Return whether a key is too long for the name of an audio file."""
    return len(key) > SURELY_SHORT and len(_file_name(key, "flac").encode()) > LONGEST_FILE_NAME


def _file_name(key: str, kind: str) -> str:
    safe = key.replace("%", "%25").replace("/", "%2F")
    return f"%2E{safe[1:]}.{kind}" if safe.startswith(".") else f"{safe}.{kind}"
