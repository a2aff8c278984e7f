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
"""Programs that write to a pipe cannot fill in the length afterwards; they leave about 2^31 or 2^32 - 1."""

UNKNOWN_RF64_BYTES = 1 << 62
"""The same in RF64: 2^63 - 1 or 2^64 - 1."""

_FORMAT = struct.Struct("<HHIIHH")
_CHUNK = struct.Struct("<4sI")


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
    """

    rate: int
    channels: int
    bytes_per_frame: int
    is_pcm16: bool
    data_start: int
    data_bytes: int | None

    @property
    def data_end(self) -> int | None:
        """Position in the file at which the samples end according to the header; None if it does not say."""
        return None if self.data_bytes is None else self.data_start + self.data_bytes


def read_wav_header(byte_range: ByteRange) -> WavHeader | None:
    """Read the header of a wav; None if these bytes are not a wav or the header is incomplete."""
    head = byte_range.bytes_at(byte_range.begin, 12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    position = byte_range.begin + 12
    layout: bytes | None = None
    while len(chunk := byte_range.bytes_at(position, _CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(chunk)
        position += _CHUNK.size
        if name == b"fmt ":
            layout = byte_range.bytes_at(position, min(size, 40))
        elif name == b"data":
            return _header(layout, position, size)
        position += size + size % 2
    return None


def rf64_end(byte_range: ByteRange) -> int | None:
    """Return the position at which an RF64 file ends according to its header.

    None for other formats, and where the header does not say. libsndfile reads a truncated RF64 file as
    a shorter recording, without an error.
    """
    head = byte_range.bytes_at(byte_range.begin, 28)
    if len(head) < 28 or head[:4] != b"RF64" or head[8:16] != b"WAVEds64":
        return None
    size = int(struct.unpack_from("<Q", head, 20)[0])  # of all that follows the first 8 bytes
    return None if size >= UNKNOWN_RF64_BYTES else byte_range.begin + 8 + size


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


def _header(layout: bytes | None, position: int, size: int) -> WavHeader | None:
    if layout is None or len(layout) < _FORMAT.size:
        return None
    tag, channels, rate, _, bytes_per_frame, bits = _FORMAT.unpack(layout[: _FORMAT.size])
    if tag == EXTENSIBLE and len(layout) >= 26:
        tag = struct.unpack_from("<H", layout, 24)[0]
    is_pcm16 = tag == PCM and bits == 16 and channels > 0 and bytes_per_frame == 2 * channels
    return WavHeader(
        rate, channels, bytes_per_frame, is_pcm16, position, None if size >= UNKNOWN_BYTES else size
    )
