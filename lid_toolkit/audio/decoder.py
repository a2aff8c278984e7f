"""Recordings that libsndfile decodes, with checks for what it passes over in silence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from lid_toolkit.audio.declared_length import NIST_MARK, declared_end
from lid_toolkit.audio.entry import AudioError, Entry
from lid_toolkit.audio.mp3 import length_by_frames
from lid_toolkit.audio.ogg import ends_inside_page, is_ogg
from lid_toolkit.audio.wav_header import WavHeader

READ_BLOCK = 1 << 20
UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives 2^63 - 1 as the length of a flac whose writer could not know it."""

MP3_TOLERANCE = 1.02
"""Of libsndfile's guess at the length of an mp3: it rounds the bytes of a frame."""

OGG_PREROLL = 1 << 14
"""libvorbis misses its target inside the last block; two longest blocks (8192) before, it does not."""


def _headerless(subtype: str, rate: int = 8000) -> dict[str, Any]:
    return {"format": "RAW", "subtype": subtype, "samplerate": rate, "channels": 1, "endian": "LITTLE"}


HEADERLESS: dict[str, dict[str, Any]] = {
    ".gsm": _headerless("GSM610"),
    ".ulaw": _headerless("ULAW"),
    ".ul": _headerless("ULAW"),
    ".alaw": _headerless("ALAW"),
    ".al": _headerless("ALAW"),
    ".vox": _headerless("VOX_ADPCM"),
    ".sln": _headerless("PCM_16"),
    ".sln16": _headerless("PCM_16", 16000),
}
"""Telephony files without a header, by name: mono GSM 06.10, G.711, Dialogic ADPCM, signed linear."""


@contextlib.contextmanager
def decoded(entry: Entry, header: WavHeader | None) -> Iterator[Sound]:
    """Open libsndfile on a recording.

    Raises:
        AudioError: not audio, truncated, or broken.
    """
    end = declared_end(entry) if header is None else header.data_end
    if end is not None and end > entry.end:
        raise AudioError(f"truncated: the last {end - entry.end} bytes are missing", where=entry.ref)
    if is_ogg(entry) and ends_inside_page(entry):
        raise AudioError("truncated: ends inside an Ogg page", where=entry.ref)
    with contextlib.closing(Sound(entry)) as sound:
        yield sound


@contextlib.contextmanager
def _named(entry: Entry) -> Iterator[None]:
    """Turn errors of libsndfile and its binding into AudioErrors."""
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        what = str(getattr(error, "error_string", error)).rstrip(".")
        nist = entry.bytes_at(entry.begin, len(NIST_MARK)) == NIST_MARK
        mend = "if it is compressed: sph2pipe -f wav" if nist else ""
        raise AudioError(f"cannot be decoded: {what}", where=entry.ref, mend=mend) from None


class Sound:
    """A recording open in libsndfile, read in any order."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        with _named(entry):
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
        """Whether it is 16-bit flac that tells its length and where it ends."""
        kind = (self._decoder.format, self._decoder.subtype)
        return kind == ("FLAC", "PCM_16") and self._entry.bounded and self._decoder.frames < UNKNOWN_FRAMES

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start`` to ``stop``, (stop - start, channels); raises AudioError if they lack."""
        with _named(self._entry):
            self._move(start)
            wave: NDArray[np.float32] = self._decoder.read(stop - start, dtype="float32", always_2d=True)
        self._position += len(wave)
        if len(wave) < stop - start:
            raise self._entry.truncated(self.frames, start + len(wave))
        return wave

    def close(self) -> None:
        """Close libsndfile's handle; the entry stays open."""
        self._decoder.close()

    def _open(self) -> _Decoder:
        return _Decoder(_Window(self._entry), **HEADERLESS.get(self._entry.suffix, {}))

    def _move(self, sample: int) -> None:
        """Go to a sample, by decoding up to it where seeking is impossible or might leave the entry."""
        if sample == self._position:
            return
        if self._decoder.can_seek() and self._entry.bounded:
            self._position = max(sample - OGG_PREROLL, 0) if self._decoder.format == "OGG" else sample
            self._decoder.seek(self._position)
        elif sample < self._position:
            self.close()
            self._decoder, self._position = self._open(), 0
        while self._position < sample:
            passed = len(self._decoder.read(min(READ_BLOCK, sample - self._position), always_2d=True))
            if not passed:
                raise self._entry.truncated(self.frames, self._position)
            self._position += passed

    def _count_frames(self) -> int:
        """Return how many samples a channel there are, whether the header tells or not."""
        frames = int(self._decoder.frames)
        if frames < UNKNOWN_FRAMES:
            return self._count_mp3(frames) if self._decoder.format == "MP3" else frames
        frames = 0
        with self._open() as counting:
            while block := len(counting.read(READ_BLOCK, dtype="int16", always_2d=True)):
                frames += block
        return frames

    def _count_mp3(self, guess: int) -> int:
        """Return the length, where libsndfile may have guessed it; it stops reading at its guess."""
        frames, is_whole = length_by_frames(self._entry)
        if frames > guess * MP3_TOLERANCE:
            raise AudioError(
                f"does not tell its length: only {guess} of {frames} samples would be read",
                where=self._entry.ref,
                mend="ffmpeg -i IN.mp3 -c copy OUT.mp3 writes it",
            )
        return min(frames, guess) if is_whole else guess


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

    def __init__(self, entry: Entry) -> None:
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
