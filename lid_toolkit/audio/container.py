"""Decode what libsndfile cannot, such as m4a, webm, mp4 and amr, with FFmpeg's libraries in the package PyAV.

FFmpeg gets the bytes of the recording and the name of their format. It guesses no format, opens no other file
and no network, and decodes nothing but sound.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.audio.container_ends import require_whole
from lid_toolkit.audio.foreign import CONVERT, Foreign
from lid_toolkit.audio.references import COPY_AGAIN, AudioError, ByteRange, UnsupportedError
from lid_toolkit.audio.window import Window

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

DECODERS = (
    *("aac", "ac3", "alac", "amrnb", "amrwb", "eac3", "flac", "mp2", "mp2float", "mp3", "mp3float", "opus"),
    *("pcm_alaw", "pcm_f32be", "pcm_f32le", "pcm_mulaw", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"),
    *("pcm_s32be", "pcm_s32le", "pcm_u8", "vorbis", "wavpack", "wmapro", "wmav1", "wmav2", "wmavoice"),
)
"""FFmpeg's decoders that may run: those of the sound in these formats, none of pictures."""

FORGETFUL = ("aac", "alac", "flac", "opus", "vorbis", *(name for name in DECODERS if name.startswith("pcm")))
"""Decoders that give the same samples after a seek. The others remember too much, such as those of amr."""

LONGEST_S = 24 * 3600
"""A small file may decode to days of silence."""

KEPT_BYTES = 1 << 26
"""Samples up to this size are kept when they are counted: most recordings are decoded once."""

PREROLL_S = 1.0
"""Decode from so much before a sample on: a frame depends on earlier ones, in Opus on those of 80 ms."""

NEAR_S = 5.0
"""Decode up to a sample that is this near instead of seeking."""

INSTALL = "install PyAV, which reads it, with pip install 'lid_toolkit[formats]', or "
FIRST_STREAM = "save one of them, e.g. with ffmpeg -i IN -map 0:a:0 OUT.flac"


class Container:
    """A recording that is open in FFmpeg. It has the attributes of a :class:`.decoder.Sound`.

    Opening decodes all of it, because most headers do not say the exact length. The samples are those that
    FFmpeg gives. It leaves out what an encoder added at the start, if the header says how much: in the edit
    list of mp4, in the codec delay of webm. What an encoder added to fill up the last frame is left out where
    the header says the exact length, as in mp4.

    Args:
        byte_range: the recording.
        kind: its format.

    Raises:
        AudioError: PyAV is not installed; the recording is truncated, broken, or longer than a day; it has no
            audio stream, or several; its sampling rate or number of channels changes.
    """

    is_plain_flac, is_float = False, True

    def __init__(self, byte_range: ByteRange, kind: Foreign) -> None:
        self._byte_range, self._kind = byte_range, kind
        if not byte_range.bounded:
            self._fail(
                "is in an archive that does not say its length", "make the archive of wav or flac files"
            )
        require_whole(byte_range, kind.demuxer)
        self.rate, self.channels, self.frames, self._end = 0, 0, 0, 0
        self._starts, self._stamps = array("q"), array("q")
        self._kept: NDArray[np.float32] | None = None
        with self._named():
            self._open()
            self._count()
            self._rewind()

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return samples ``start`` to ``stop``, (stop - start, channels); AudioError if there are fewer."""
        if self._kept is not None:
            return self._kept[start:stop]
        pieces = []
        with self._named():
            self._move(start)
            while self._position < stop:
                pieces.append(self._next(stop - self._position))
        return np.concatenate(pieces)

    def close(self) -> None:
        """Close FFmpeg's handle; the file stays open."""
        self._container.close()

    def _fail(self, what: str, mend: str = CONVERT, error: type[AudioError] = AudioError) -> NoReturn:
        raise error(what, where=self._byte_range.ref, mend=f"it is {self._kind.name}: {mend}")

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Turn errors of FFmpeg into AudioErrors."""
        try:
            import av
        except ImportError:
            self._fail("cannot be decoded by libsndfile", INSTALL + CONVERT, UnsupportedError)
        try:
            yield
        except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
            self._fail(f"cannot be decoded: {getattr(error, 'strerror', None) or error}", COPY_AGAIN)

    def _open(self) -> None:
        import av

        only = {"codec_whitelist": ",".join(DECODERS), "format_whitelist": self._kind.demuxer}
        self._container = av.open(
            Window(self._byte_range),
            "r",
            format=self._kind.demuxer,
            options=only,
            metadata_errors="ignore",
            io_open=_refuse,
        )
        streams = self._container.streams.audio
        if len(streams) > 1:
            self._fail(f"contains {len(streams)} audio streams", FIRST_STREAM)
        if not streams:
            self._fail("contains no audio stream", "remove it", UnsupportedError)
        self._stream = streams[0]
        if self._codec not in DECODERS:
            self._fail(f"the codec of its sound, {self._codec}, is not supported", error=UnsupportedError)

    @property
    def _codec(self) -> str:
        """FFmpeg's name of the decoder."""
        context = self._stream.codec_context  # None if FFmpeg does not know the codec
        return context.codec.name if context else "unknown"

    def _decoded(self) -> Iterator[AudioFrame]:
        for packet in self._container.demux(self._stream):
            if packet.is_corrupt:
                self._fail("truncated or broken", COPY_AGAIN)
            if packet.pts is not None and packet.duration is not None:
                self._end = packet.pts + packet.duration
            yield from packet.decode()

    def _count(self) -> None:
        """Count the samples, note where each frame begins, and keep the samples if they are few."""
        kept: list[NDArray[np.float32]] = []
        longest = 0
        for frame in self._decoded():
            layout = frame.sample_rate, frame.layout.nb_channels
            if not self.frames:
                self.rate, self.channels = layout
            if layout != (self.rate, self.channels):
                self._fail("its sampling rate or number of channels changes")
            self._starts.append(self.frames)
            self._stamps.append(-1 if frame.pts is None else frame.pts)
            self.frames, longest = self.frames + frame.samples, max(longest, frame.samples)
            if self.frames > LONGEST_S * self.rate:
                self._fail(f"is longer than {LONGEST_S // 3600} hours", "cut it into parts")
            if self.frames * self.channels * 4 <= KEPT_BYTES:
                kept.append(_samples(frame))
        if declared := self._declared():
            self.frames = declared if 0 < self.frames - declared < longest else self.frames
        if kept and sum(map(len, kept)) >= self.frames:
            self._kept = np.concatenate(kept)[: self.frames]

    def _declared(self) -> int:
        """Return the number of samples that the header says, 0 if it does not say it exactly.

        In mp4, it is in the duration of the last packet, and rounded to ms in the edit list.
        """
        base, length = self._stream.time_base, self._stream.duration
        if self._kind.demuxer != "mov" or base is None or length is None:
            return 0
        return round(min(length, self._end - self._stamps[0]) * base * self.rate)

    def _rewind(self) -> None:
        self.close()
        self._open()
        self._begin(0, self._decoded())

    def _begin(self, position: int, frames: Iterator[AudioFrame]) -> None:
        self._position, self._coming, self._rest = position, frames, np.empty((0, self.channels), np.float32)

    def _next(self, most: int) -> NDArray[np.float32]:
        """Return the next samples, at most so many and at least one."""
        while not len(self._rest):
            frame = next(self._coming, None)
            if frame is None:
                self._fail(f"only {self._position} of {self.frames} samples can be decoded", COPY_AGAIN)
            self._rest = _samples(frame)
        piece, self._rest = self._rest[:most], self._rest[most:]
        self._position += len(piece)
        return piece

    def _move(self, sample: int) -> None:
        """Go to a sample: by seeking to before it, or from the start where that is not possible."""
        if not self._position <= sample <= self._position + NEAR_S * self.rate and not self._seek(sample):
            self._rewind()
        while self._position < sample:
            self._next(sample - self._position)

    def _seek(self, sample: int) -> bool:
        """Go to a frame at least the preroll before a sample; return false where that is not possible."""
        import av

        if self._codec not in FORGETFUL:
            return False
        index = bisect.bisect_right(self._starts, sample - round(PREROLL_S * self.rate)) - 1
        if index < 1:
            return False
        frames = self._decoded()
        try:
            self._container.seek(self._stamps[index], stream=self._stream)
            first = next(frames, None)
        except av.FFmpegError:
            return False
        if first is None or first.pts is None:
            return False
        found = bisect.bisect_left(self._stamps, first.pts)
        if not 0 < found <= index or self._stamps[found] != first.pts:
            return False
        self._begin(self._starts[found], itertools.chain([first], frames))
        return True


def _samples(frame: AudioFrame) -> NDArray[np.float32]:
    """Return the samples of a frame, (samples, channels), in [-1, 1] if they are integers."""
    data = frame.to_ndarray()
    wave = data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)
    wave_tc = np.array(wave, np.float32, order="C")
    if wave.dtype == np.uint8:
        wave_tc -= 128
    if wave.dtype.kind != "f":
        wave_tc /= 1 << 8 * wave.dtype.itemsize - 1
    return wave_tc


def _refuse(url: str, *_: object) -> NoReturn:
    raise PermissionError(f"refers to another file, {url}")
