"""Decode recordings with libsndfile, with checks for damage that it does not report, or else with FFmpeg."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import soundfile
from numpy.typing import NDArray

from lid_toolkit.audio.container import Container
from lid_toolkit.audio.foreign import foreign, is_unknown, mend_for
from lid_toolkit.audio.mp3 import Mp3Stream, is_mp3, mp3_streams
from lid_toolkit.audio.ogg import is_ogg, longest_packet, ogg_streams
from lid_toolkit.audio.references import COPY_AGAIN, AudioError, ByteRange, UnsupportedError
from lid_toolkit.audio.sph import MARK as SPH_MARK
from lid_toolkit.audio.sph import sph_end
from lid_toolkit.audio.wav_header import WavHeader, filled_in
from lid_toolkit.audio.window import Window

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


FLAC_BEGIN = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
"""A flac file begins with its mark and the head of its first block of metadata, which has 34 bytes."""

SEARCH_BACK = 1 << 16
"""libFLAC may have read this many bytes beyond what it has decoded."""

MOST_STREAMS = 1000


@contextlib.contextmanager
def decoded(byte_range: ByteRange, header: WavHeader | None) -> Iterator[Sound | Chain | Container]:
    """Open libsndfile on a recording, or FFmpeg on what libsndfile cannot decode.

    Raises:
        AudioError: not audio, truncated, broken, or several recordings in one file that cannot be joined.
    """
    kind = None if byte_range.suffix in HEADERLESS else foreign(byte_range)
    if kind is not None and kind.demuxer:
        with contextlib.closing(Container(byte_range, kind)) as container:
            yield container
        return
    end = sph_end(byte_range) if header is None else header.data_end
    if end is not None and end > byte_range.end:
        what = f"truncated: the last {end - byte_range.end} bytes are missing"
        raise AudioError(what, where=byte_range.ref, mend=COPY_AGAIN)
    if header is None and end is not None:
        not_joined(byte_range, end, (SPH_MARK,))
    streams = _streams(byte_range)
    if len(streams) > MOST_STREAMS:
        what = f"contains {len(streams)} streams one after the other, more than {MOST_STREAMS}"
        raise AudioError(what, where=byte_range.ref, mend="convert it, e.g. with ffmpeg -i IN OUT.flac")
    patches = {} if header is None else filled_in(byte_range, header)
    with contextlib.ExitStack() as stack:
        sounds = [stack.enter_context(contextlib.closing(Sound(own, mp3, patches))) for own, mp3 in streams]
        yield sounds[0] if len(sounds) == 1 else Chain(byte_range.ref, sounds)


def _streams(byte_range: ByteRange) -> list[tuple[ByteRange, Mp3Stream | None]]:
    """Return the streams of a recording, of which libsndfile reads only the first."""
    if is_ogg(byte_range):
        return [(own, None) for own in ogg_streams(byte_range)]
    if byte_range.suffix not in HEADERLESS and is_mp3(byte_range):
        return [(stream.byte_range, stream) for stream in mp3_streams(byte_range)]
    return [(byte_range, None)]


def not_joined(byte_range: ByteRange, position: int, marks: tuple[bytes, ...]) -> None:
    """Raise AudioError if another recording begins at a position, after the end of the first."""
    if (
        byte_range.bounded
        and position < byte_range.end
        and byte_range.bytes_at(position, 16).startswith(marks)
    ):
        raise _joined(byte_range)


def _joined(byte_range: ByteRange) -> AudioError:
    return AudioError(
        "another recording follows in the same file, and would not be read",
        where=byte_range.ref,
        mend="join the samples instead of the files, e.g. with ffmpeg or sox",
    )


@contextlib.contextmanager
def _named(byte_range: ByteRange) -> Iterator[None]:
    """Turn errors of soundfile and libsndfile into AudioErrors."""
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        what = str(getattr(error, "error_string", error)).rstrip(".")
        kind = UnsupportedError if is_unknown(what) else AudioError
        raise kind(
            f"cannot be decoded: {what}", where=byte_range.ref, mend=mend_for(byte_range, what)
        ) from None


class Chain:
    """Recordings that follow each other in one file, read as one. It has the attributes of a Sound.

    Raises:
        AudioError: they have different sampling rates or numbers of channels.
    """

    is_plain_flac = False

    def __init__(self, ref: str, sounds: Sequence[Sound]) -> None:
        self._sounds = sounds
        self.rate, self.channels = sounds[0].rate, sounds[0].channels
        if any((sound.rate, sound.channels) != (self.rate, self.channels) for sound in sounds):
            raise AudioError(
                f"contains {len(sounds)} streams with different sampling rates or numbers of channels",
                where=ref,
                mend="convert it, e.g. with ffmpeg -i IN OUT.flac",
            )
        self._begins = np.cumsum([0, *(sound.frames for sound in sounds)]).tolist()
        self.frames = int(self._begins[-1])
        self.is_float = any(sound.is_float for sound in sounds)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start`` to ``stop``, (stop - start, channels); see :meth:`Sound.read`."""
        pieces = [
            sound.read(max(start - begin, 0), min(stop - begin, sound.frames))
            for sound, begin in zip(self._sounds, self._begins, strict=False)
            if start < begin + sound.frames and stop > begin
        ]
        return np.concatenate(pieces)


class Sound:
    """A recording that is open in libsndfile. Its samples can be read in any order."""

    def __init__(
        self,
        byte_range: ByteRange,
        mp3: Mp3Stream | None = None,
        patches: Mapping[int, bytes] = MappingProxyType({}),
    ) -> None:
        self._byte_range, self._mp3, self._patches = byte_range, mp3, patches
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
            wave: NDArray[np.float32] = self._decoder.read(
                max(stop - self._position, 0), dtype="float32", always_2d=True
            )
        self._position += len(wave)
        if self._position < stop:
            return self._to_the_end(wave, stop - start)
        if self._decoder.format == "FLAC" and stop == self.frames:
            self._refuse_another_flac()
        return wave

    def _to_the_end(self, wave: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """Return ``length`` samples although decoding ended before, if only some of the last packet lack.

        The last page of an Ogg stream gives its length. Encoders may write one that is up to a packet too
        high: 191707, although the packets hold 191568 samples. Players play silence instead.
        """
        lacking = self.frames - self._position
        is_ogg_codec = self._decoder.format == "OGG"
        if not is_ogg_codec or lacking > longest_packet(self._decoder.subtype, self.rate):
            what = f"only {self._position} of {self.frames} samples can be decoded"
            raise AudioError(what, where=self._byte_range.ref, mend=COPY_AGAIN)
        self._rewind()
        return np.pad(wave, ((0, length - len(wave)), (0, 0)))

    def _refuse_another_flac(self) -> None:
        """Raise AudioError if another flac follows this one, which has been read to its end."""
        if not self._byte_range.bounded:
            return
        begin = max(self._byte_range.begin + 1, self._byte_range.begin + self._window.tell() - SEARCH_BACK)
        rest = self._byte_range.bytes_at(begin, self._byte_range.end - begin)
        if any(mark in rest for mark in FLAC_BEGIN):
            raise _joined(self._byte_range)

    def close(self) -> None:
        """Close libsndfile's handle; the file stays open."""
        self._decoder.close()

    def _open(self) -> _Decoder:
        self._window = Window(self._byte_range, self._patches)
        return _Decoder(self._window, **HEADERLESS.get(self._byte_range.suffix, {}))

    def _rewind(self) -> None:
        self.close()
        self._decoder, self._position = self._open(), 0

    def _move(self, sample: int) -> None:
        """Go to a sample. Decode up to it if seeking is not supported or might leave the archive entry."""
        if sample == self._position:
            return
        if self._decoder.can_seek() and self._byte_range.bounded:
            self._position = max(sample - OGG_PREROLL, 0) if self._decoder.format == "OGG" else sample
            self._decoder.seek(self._position)
        elif sample < self._position:
            self._rewind()
        while self._position < sample:
            passed = len(self._decoder.read(min(READ_BLOCK, sample - self._position), always_2d=True))
            if not passed:
                break  # the next read returns nothing either
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
        if self._mp3 is None or not self._mp3.samples:
            return guess
        frames = self._mp3.samples
        if frames > guess * MP3_TOLERANCE:
            raise AudioError(
                f"its header does not say how long it is: only {guess} of {frames} samples would be read",
                where=self._byte_range.ref,
                mend="write a header with ffmpeg -i IN.mp3 -c copy OUT.mp3",
            )
        return min(frames, guess) if self._mp3.is_whole else guess


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
