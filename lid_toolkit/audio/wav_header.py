"""RIFF/WAVE headers: where the samples of a wav are, so that a crop is one seek and one read.

Layout: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (1991). RF64, for
files over 4 GiB: EBU Tech 3306.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lid_toolkit.audio.references import ByteRange

PCM, EXTENSIBLE = 0x0001, 0xFFFE
UNKNOWN_BYTES = 0x7FFF0000
"""Programs that write to a pipe cannot fill in the length later: they leave 0, or about 2^31 or 2^32 - 1."""

UNKNOWN_RF64_BYTES = 1 << 62
"""The same in RF64: 0, or 2^63 - 1 or 2^64 - 1."""

IN_DS64 = (0, 0xFFFFFFFF)
"""Sizes of an RF64 file's data chunk that refer to its ``ds64`` chunk."""

_FORMAT = struct.Struct("<HHIIHH")
_CHUNK = struct.Struct("<4sI")
_DS64 = struct.Struct("<4sIQQQ")


@dataclass(frozen=True)
class WavHeader:
    """What the header of a wav says.

    Attributes:
        rate: sampling rate in Hz.
        channels: number of channels.
        bytes_per_frame: bytes of one sample of all channels; 0 for packed codecs.
        is_pcm16: whether the samples are 16-bit little-endian integers.
        data_start: position of the first sample in the file.
        data_bytes: size of the samples according to the header; None if it does not say.
        riff_end: position in the file at which the whole recording ends according to the header.
        is_rf64: whether it is RF64 instead of RIFF.
    """

    rate: int
    channels: int
    bytes_per_frame: int
    is_pcm16: bool
    data_start: int
    data_bytes: int | None
    riff_end: int
    is_rf64: bool

    @property
    def data_end(self) -> int | None:
        """Position in the file at which the samples end according to the header; None if it does not say."""
        return None if self.data_bytes is None else self.data_start + self.data_bytes


def read_wav_header(byte_range: ByteRange) -> WavHeader | None:
    """Read the header of a wav; None if these bytes are not a wav or the header is incomplete."""
    head = byte_range.bytes_at(byte_range.begin, 12 + _DS64.size)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    riff_size, data_size = int.from_bytes(head[4:8], "little"), None
    if is_rf64 := head[:4] == b"RF64":
        if len(head) < 12 + _DS64.size or head[12:16] != b"ds64":
            return None
        _, _, riff_size, data_size, _ = _DS64.unpack_from(head, 12)
    riff_end = byte_range.begin + 8 + riff_size
    position = byte_range.begin + 12
    layout: bytes | None = None
    while len(chunk := byte_range.bytes_at(position, _CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(chunk)
        position += _CHUNK.size
        if name == b"fmt ":
            layout = byte_range.bytes_at(position, min(size, 40))
        elif name == b"data":
            if data_size is not None and size in IN_DS64:
                size = data_size
            known = _known_size(byte_range, position, size, riff_end, is_rf64)
            return _header(layout, position, known, riff_end, is_rf64)
        position += size + size % 2
    return None


def _known_size(byte_range: ByteRange, start: int, size: int, riff_end: int, is_rf64: bool) -> int | None:
    """Return the size of the samples, or None if its value only says that the writer did not know it.

    A size of 0 is true only if the size of the whole file agrees: after "RIFF 36 … data 0", a file of more
    than 44 bytes is a recording whose writer was stopped.
    """
    if size == 0:
        return 0 if start == byte_range.end or (byte_range.bounded and riff_end == byte_range.end) else None
    largest = UNKNOWN_RF64_BYTES if is_rf64 else UNKNOWN_BYTES
    fits = byte_range.bounded and start + size <= byte_range.end
    return None if size >= largest and not fits else size


def filled_in(byte_range: ByteRange, header: WavHeader) -> dict[int, bytes]:
    """Return the bytes, by position from the start of the recording, that give a header its true length.

    libsndfile takes a size of 0 at its word, and cannot open an RF64 file with an impossible size.
    """
    if header.data_bytes is not None:
        return {}
    start, size = header.data_start - byte_range.begin, byte_range.end - header.data_start
    unknown = b"\xff" * 4
    if not header.is_rf64:
        return {4: unknown, start - 4: unknown}
    frames = size // header.bytes_per_frame if header.bytes_per_frame else 0
    sizes = struct.pack("<QQQ", byte_range.end - byte_range.begin - 8, size, frames)
    return {12 + _CHUNK.size: sizes, start - 4: unknown}


def pcm16_wav_header(num_samples: int, rate: int) -> bytes:
    """Return the 44 bytes that precede ``num_samples`` 16-bit mono samples."""
    size = 2 * num_samples
    layout = _FORMAT.pack(PCM, 1, rate, 2 * rate, 2, 16)
    return b"".join(
        (
            _CHUNK.pack(b"RIFF", 36 + size) + b"WAVE",
            _CHUNK.pack(b"fmt ", len(layout)) + layout,
            _CHUNK.pack(b"data", size),
        )
    )


def _header(
    layout: bytes | None, position: int, size: int | None, riff_end: int, is_rf64: bool
) -> WavHeader | None:
    if layout is None or len(layout) < _FORMAT.size:
        return None
    tag, channels, rate, _, bytes_per_frame, bits = _FORMAT.unpack(layout[: _FORMAT.size])
    if tag == EXTENSIBLE and len(layout) >= 26:
        tag = struct.unpack_from("<H", layout, 24)[0]
    is_pcm16 = tag == PCM and bits == 16 and channels > 0 and bytes_per_frame == 2 * channels
    return WavHeader(rate, channels, bytes_per_frame, is_pcm16, position, size, riff_end, is_rf64)
