"""Decode recordings with libsndfile, with checks for damage that it does not report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from lid_toolkit.audio.mp3 import length_by_frames
from lid_toolkit.audio.ogg import ends_inside_page, is_ogg
from lid_toolkit.audio.references import AudioError, ByteRange
from lid_toolkit.audio.sph import is_sph, sph_end
from lid_toolkit.audio.wav_header import WavHeader, rf64_end

READ_BLOCK = 1 << 20
UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives 2^63 - 1 as the length of a flac whose header does not say it."""

MP3_TOLERANCE = 1.02
"""libsndfile rounds the bytes of a frame: its guess at an mp3's length may be too low by this factor."""

OGG_PREROLL = 1 << 14
"""Seek this many samples too early in an ogg, then decode up to the target.

libvorbis may land beside a target in the last block. Two blocks of the largest size (8192 samples) earlier,
it is exact.
"""


def _headerless(subtype: str, rate: int = 8000) -> dict[str, object]:
    return {"format": "RAW", "subtype": subtype, "samplerate": rate, "channels": 1, "endian": "LITTLE"}


HEADERLESS: dict[str, dict[str, object]] = {
    ".gsm": _headerless("GSM610"),
    ".ulaw": _headerless("ULAW"),
    ".ul": _headerless("ULAW"),
    ".alaw": _headerless("ALAW"),
    ".al": _headerless("ALAW"),
    ".vox": _headerless("VOX_ADPCM"),
    ".sln": _headerless("PCM_16"),
    ".sln16": _headerless("PCM_16", 16000),
}
"""How to read files without a header, by suffix: GSM 06.10, G.711, Dialogic ADPCM, signed linear."""


@contextlib.contextmanager
def decoded(byte_range: ByteRange, header: WavHeader | None) -> Iterator[Sound]:
    """Open libsndfile on a recording.

    Raises:
        AudioError: not audio, truncated, or broken.
    """
    end = (rf64_end(byte_range) or sph_end(byte_range)) if header is None else header.data_end
    if end is not None and end > byte_range.end:
        raise AudioError(
            f"truncated: the last {end - byte_range.end} bytes are missing", where=byte_range.ref
        )
    if is_ogg(byte_range) and ends_inside_page(byte_range):
        raise AudioError("truncated: ends inside an Ogg page", where=byte_range.ref)
    with contextlib.closing(Sound(byte_range)) as sound:
        yield sound


@contextlib.contextmanager
def _named(byte_range: ByteRange) -> Iterator[None]:
    """Turn errors of soundfile and libsndfile into AudioErrors."""
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        what = str(getattr(error, "error_string", error)).rstrip(".")
        mend = "if it is compressed: decode it with sph2pipe -f wav" if is_sph(byte_range) else ""
        raise AudioError(f"cannot be decoded: {what}", where=byte_range.ref, mend=mend) from None


class Sound:
    """A recording that is open in libsndfile. Its samples can be read in any order."""

    def __init__(self, byte_range: ByteRange) -> None:
        self._byte_range = byte_range
        with _named(byte_range):
            self._decoder = self._open()
            self._position = 0
            self.rate, self.channels = int(self._decoder.samplerate), int(self._decoder.channels)
            self.frames = self._count_frames()

    @property
    def is_float(self) -> bool:
        """Whether the samples are floating-point numbers, which may be NaN."""
        return self._decoder.subtype in ("FLOAT", "DOUBLE")

    @property
    def is_plain_flac(self) -> bool:
        """Whether it is 16-bit flac with a known length and a known end."""
        kind = (self._decoder.format, self._decoder.subtype)
        return (
            kind == ("FLAC", "PCM_16") and self._byte_range.bounded and self._decoder.frames < UNKNOWN_FRAMES
        )

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start`` to ``stop``, (stop - start, channels); AudioError if there are fewer."""
        with _named(self._byte_range):
            self._move(start)
            wave: NDArray[np.float32] = self._decoder.read(stop - start, dtype="float32", always_2d=True)
        self._position += len(wave)
        if len(wave) < stop - start:
            raise self._byte_range.truncated(self.frames, start + len(wave))
        return wave

    def close(self) -> None:
        """Close libsndfile's handle; the file stays open."""
        self._decoder.close()

    def _open(self) -> _Decoder:
        return _Decoder(_Window(self._byte_range), **HEADERLESS.get(self._byte_range.suffix, {}))

    def _move(self, sample: int) -> None:
        """Go to a sample. Decode up to it if seeking is not supported or might leave the archive entry."""
        if sample == self._position:
            return
        if self._decoder.can_seek() and self._byte_range.bounded:
            self._position = max(sample - OGG_PREROLL, 0) if self._decoder.format == "OGG" else sample
            self._decoder.seek(self._position)
        elif sample < self._position:
            self.close()
            self._decoder, self._position = self._open(), 0
        while self._position < sample:
            passed = len(self._decoder.read(min(READ_BLOCK, sample - self._position), always_2d=True))
            if not passed:
                raise self._byte_range.truncated(self.frames, self._position)
            self._position += passed

    def _count_frames(self) -> int:
        """Return the samples per channel; count them if the header does not say."""
        frames = int(self._decoder.frames)
        if frames < UNKNOWN_FRAMES:
            return self._count_mp3(frames) if self._decoder.format == "MP3" else frames
        frames = 0
        with self._open() as counting:
            while block := len(counting.read(READ_BLOCK, dtype="int16", always_2d=True)):
                frames += block
        return frames

    def _count_mp3(self, guess: int) -> int:
        """Return the length of an mp3. libsndfile may have guessed it, and stops reading at its guess."""
        frames, is_whole = length_by_frames(self._byte_range)
        if frames > guess * MP3_TOLERANCE:
            raise AudioError(
                f"its header does not say how long it is: only {guess} of {frames} samples would be read",
                where=self._byte_range.ref,
                mend="write a header with ffmpeg -i IN.mp3 -c copy OUT.mp3",
            )
        return min(frames, guess) if is_whole else guess


class _Decoder(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that does not seek by itself.

    After each read of a seekable file, soundfile seeks to the current position. That decodes a frame
    for nothing, and fails in a flac whose header does not say its length.
    """

    def seekable(self) -> bool:
        """Return false, so that soundfile does not seek by itself."""
        return False

    def can_seek(self) -> bool:
        """Return whether :meth:`seek` works."""
        return bool(super().seekable())


class _Window:
    """Part of a file, as the file object that libsndfile reads from. Read errors end the file."""

    def __init__(self, byte_range: ByteRange) -> None:
        self._descriptor, self._begin = byte_range.descriptor, byte_range.begin
        self._size = byte_range.end - byte_range.begin
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
        """Fill ``buffer`` from the current position; return how many bytes were read."""
        target = memoryview(buffer)[: max(0, min(len(buffer), self._size - self._position))]
        try:
            count = os.preadv(self._descriptor, [target], self._begin + self._position)
        except OSError:
            count = 0
        self._position += count
        return count

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; soundfile requires that the method exists."""
        buffer = bytearray(max(0, self._size - self._position if size < 0 else size))
        return bytes(buffer[: self.readinto(buffer)])

    def write(self, data: bytes) -> int:
        """Raise OSError; soundfile requires that the method exists."""
        raise OSError(f"read-only: cannot write {len(data)} bytes")
