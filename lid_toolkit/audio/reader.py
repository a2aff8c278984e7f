"""Read recordings, or crops of them, as float32 mono waveforms.

A reference is a value of ``wav.scp``: a path, ``ark:offset`` or, when allowed, a command ending in
``|``. Files are opened for each read and never kept, so readers may fork and run in parallel.

An archive entry is either a wav as it is, or ``AUDIO``, one byte N, a length in N little-endian
bytes and a file of any format, as kaldiio writes; the offset in ``wav.scp`` is that of ``RIFF`` or ``AUDIO``.
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
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from lid_toolkit.audio.ogg import ends_inside_page, is_ogg
from lid_toolkit.audio.wav import WavHeader, read_wav_header
from lid_toolkit.errors import LidError

ENTRY_MARK = b"AUDIO"
PCM16_SCALE = np.float32(1.0 / 32768)
READ_BLOCK = 1 << 20
UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives 2^63 - 1 as the length of a flac whose writer could not know it."""

OGG_PREROLL = 1 << 14
"""libvorbis misses its target inside the last block; two longest blocks (8192) before, it does not."""

HEADERLESS: dict[str, dict[str, Any]] = {
    suffix: {"format": "RAW", "subtype": subtype, "samplerate": 8000, "channels": 1, "endian": "LITTLE"}
    for suffix, subtype in {
        ".gsm": "GSM610",
        ".ulaw": "ULAW",
        ".ul": "ULAW",
        ".alaw": "ALAW",
        ".al": "ALAW",
        ".sln": "PCM_16",
    }.items()
}
"""Telephony files without a header, by name: 8 kHz mono (GSM 06.10, G.711, signed linear)."""

_IN_ARCHIVE = re.compile(r"(.+):(\d+)")


class AudioError(LidError):
    """A recording that cannot be read; ``where`` is its reference."""


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says: samples a channel, samples a second, channels."""

    num_samples: int
    rate: int
    channels: int


def read_audio(
    ref: str, start: int = 0, stop: int | None = None, *, allow_pipes: bool = False
) -> tuple[NDArray[np.float32], int]:
    """Read samples ``start`` to ``stop`` (the end by default) of a recording.

    Only what is asked for is read and decoded, where the format allows seeking.

    Returns:
        The waveform, (stop - start,) float32, channels averaged, in [-1, 1] (floating-point files
        may exceed it), and its rate in Hz.

    Raises:
        AudioError: the recording is missing, empty, truncated or not audio, holds NaN or infinite
            samples or fewer than ``stop``, or is a command and ``allow_pipes`` is false.
    """
    with _opened(ref, allow_pipes) as entry:
        header = read_wav_header(entry.descriptor, entry.begin)
        if header is not None and header.is_pcm16:
            return _read_pcm16(entry, header, start, stop), header.rate
        with _decoder(entry, header) as decoder:
            frames = _decoder_frames(entry, decoder)
            stop = _checked_stop(entry, start, stop, frames)
            _skip(entry, decoder, start)
            wave = decoder.read(stop - start, dtype="float32", always_2d=True)
            if len(wave) < stop - start:
                raise _truncated(entry, frames, start + len(wave))
            if decoder.subtype in ("FLOAT", "DOUBLE") and not np.isfinite(wave).all():
                raise AudioError("holds NaN or infinite samples", where=ref)
            return _mono(wave), int(decoder.samplerate)


def audio_info(ref: str, *, allow_pipes: bool = False) -> AudioInfo:
    """Read a recording's length, rate and channels from its header; raises like :func:`read_audio`."""
    with _opened(ref, allow_pipes) as entry:
        header = read_wav_header(entry.descriptor, entry.begin)
        if header is not None and header.is_pcm16:
            frames = _pcm16_frames(entry, header)
            _checked_stop(entry, 0, None, frames)
            return AudioInfo(frames, header.rate, header.channels)
        with _decoder(entry, header) as decoder:
            frames = _decoder_frames(entry, decoder)
            _checked_stop(entry, 0, None, frames)
            return AudioInfo(frames, int(decoder.samplerate), int(decoder.channels))


def is_pipe(ref: str) -> bool:
    """Say whether a reference is a command whose output is the recording."""
    return ref.endswith("|")


def file_of(ref: str) -> str:
    """Return the path of the file that a path or ``ark:offset`` refers to."""
    match = _IN_ARCHIVE.fullmatch(ref)
    return match[1] if match else ref


@dataclass(frozen=True)
class _Entry:
    """Where the bytes of an open recording lie: ``begin`` to ``end`` of a file.

    ``bounded`` is false for an archive entry that does not tell its length: others may follow.
    """

    descriptor: int
    begin: int
    end: int
    ref: str
    suffix: str = ""
    bounded: bool = True


@contextlib.contextmanager
def _opened(ref: str, allow_pipes: bool) -> Iterator[_Entry]:
    """Open a recording; faults of the system while it is open become AudioErrors."""
    if is_pipe(ref):
        with _pipe_output(ref, allow_pipes) as descriptor:
            yield _Entry(descriptor, 0, os.fstat(descriptor).st_size, ref)
        return
    match = _IN_ARCHIVE.fullmatch(ref)
    path, offset = (match[1], int(match[2])) if match else (ref, None)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise AudioError(getattr(error, "strerror", None) or str(error), where=ref) from None
    try:
        yield _entry(descriptor, offset, ref, PurePath(path).suffix.lower() if match is None else "")
    except OSError as error:
        raise AudioError(error.strerror or "cannot be read", where=ref) from None
    finally:
        os.close(descriptor)


def _entry(descriptor: int, offset: int | None, ref: str, suffix: str) -> _Entry:
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise AudioError("empty file", where=ref)
    if offset is None:
        return _Entry(descriptor, 0, size, ref, suffix)
    if offset >= size:
        raise AudioError(f"the archive has only {size} bytes", where=ref)
    head = os.pread(descriptor, len(ENTRY_MARK) + 9, offset)
    if not head.startswith(ENTRY_MARK):
        return _Entry(descriptor, offset, size, ref, bounded=False)
    width = head[len(ENTRY_MARK)] if len(head) > len(ENTRY_MARK) else 0
    digits = head[len(ENTRY_MARK) + 1 :][:width]
    begin = offset + len(ENTRY_MARK) + 1 + width
    end = begin + int.from_bytes(digits, "little")
    if not 1 <= width <= 8 or end > size:
        raise AudioError("truncated archive entry", where=ref)
    return _Entry(descriptor, begin, end, ref)


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


def _read_pcm16(entry: _Entry, header: WavHeader, start: int, stop: int | None) -> NDArray[np.float32]:
    frames = _pcm16_frames(entry, header)
    stop = _checked_stop(entry, start, stop, frames)
    size = (stop - start) * header.bytes_per_frame
    data = os.pread(entry.descriptor, size, header.data_start + start * header.bytes_per_frame)
    if len(data) < size:
        raise _truncated(entry, frames, start + len(data) // header.bytes_per_frame)
    samples = np.frombuffer(data, dtype="<i2").astype(np.float32)
    samples *= PCM16_SCALE
    return _mono(samples.reshape(-1, header.channels))


def _pcm16_frames(entry: _Entry, header: WavHeader) -> int:
    present = max(0, entry.end - header.data_start)
    declared = present if header.data_bytes is None else header.data_bytes
    if declared > present:
        raise _truncated(entry, declared // header.bytes_per_frame, present // header.bytes_per_frame)
    return declared // header.bytes_per_frame


@contextlib.contextmanager
def _decoder(entry: _Entry, header: WavHeader | None) -> Iterator[_Decoder]:
    """Open libsndfile on a recording, having checked what it would pass over in silence."""
    if header is not None and header.data_bytes is not None:
        missing = header.data_start + header.data_bytes - entry.end
        if missing > 0:
            raise AudioError(f"truncated: the last {missing} bytes are missing", where=entry.ref)
    if is_ogg(entry.descriptor, entry.begin) and ends_inside_page(entry.descriptor, entry.begin, entry.end):
        raise AudioError("truncated: ends inside an Ogg page", where=entry.ref)
    try:
        with _Decoder(_Window(entry), **HEADERLESS.get(entry.suffix, {})) as decoder:
            yield decoder
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        what = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(f"cannot be decoded: {what}", where=entry.ref) from None


def _decoder_frames(entry: _Entry, decoder: _Decoder) -> int:
    """Return how many samples a channel there are; a flac without a length is decoded to learn it."""
    if decoder.frames < UNKNOWN_FRAMES:
        return int(decoder.frames)
    frames = 0
    with _Decoder(_Window(entry)) as counting:
        while block := len(counting.read(READ_BLOCK, dtype="int16", always_2d=True)):
            frames += block
    return frames


def _skip(entry: _Entry, decoder: _Decoder, samples: int) -> None:
    """Move to a sample, by decoding up to it where seeking is impossible or might leave the entry."""
    decoded = samples
    if decoder.can_seek() and entry.bounded:
        decoded = min(samples, OGG_PREROLL) if decoder.format == "OGG" else 0
        decoder.seek(samples - decoded)
    if decoded:
        decoder.read(decoded, dtype="float32")


class _Decoder(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that only moves when told to.

    What is seekable soundfile seeks after each read to the place where it is: that decodes a frame
    for nothing, and fails in a flac without a length.
    """

    def seekable(self) -> bool:
        """Keep soundfile from seeking by itself."""
        return False

    def can_seek(self) -> bool:
        """Say whether :meth:`seek` works."""
        return bool(super().seekable())


class _Window:
    """Part of a file as the file object libsndfile reads from; errors read as the end of the file."""

    def __init__(self, entry: _Entry) -> None:
        self._descriptor, self._begin = entry.descriptor, entry.begin
        self._size = entry.end - entry.begin
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; see io.IOBase.seek."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position from the start of the window."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the position on; return how many bytes were read."""
        target = memoryview(buffer)[: max(0, min(len(buffer), self._size - self._position))]
        try:
            count = os.preadv(self._descriptor, [target], self._begin + self._position)
        except OSError:
            count = 0
        self._position += count
        return count

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; libsndfile's binding asks that the method exists."""
        buffer = bytearray(max(0, self._size - self._position if size < 0 else size))
        return bytes(buffer[: self.readinto(buffer)])

    def write(self, data: bytes) -> int:
        """Refuse; libsndfile's binding asks that the method exists."""
        raise OSError(f"read-only: {len(data)} bytes refused")


def _checked_stop(entry: _Entry, start: int, stop: int | None, frames: int) -> int:
    if frames <= 0:
        raise AudioError("holds no samples", where=entry.ref)
    stop = frames if stop is None else stop
    if not 0 <= start < stop <= frames:
        raise AudioError(f"has {frames} samples: {start} to {stop} asked for", where=entry.ref)
    return stop


def _truncated(entry: _Entry, declared: int, present: int) -> AudioError:
    return AudioError(
        f"truncated: the header says {declared} samples, the file holds {present}", where=entry.ref
    )


def _mono(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels of a (samples, channels) waveform."""
    if wave.shape[1] == 1:
        return wave[:, 0]
    average: NDArray[np.float32] = wave.mean(axis=1, dtype=np.float32)
    return average
