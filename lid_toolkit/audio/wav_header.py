"""RIFF/WAVE headers: where the samples of a wav lie, so that a crop is one seek and one read.

Layout: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (1991).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lid_toolkit.audio.entry import Entry

PCM, EXTENSIBLE = 0x0001, 0xFFFE
UNKNOWN_BYTES = 0x7FFF0000
"""Writers that cannot seek back leave about 2^31 or 2^32 - 1 as the length of what follows."""

_FORMAT = struct.Struct("<HHIIHH")
_CHUNK = struct.Struct("<4sI")


@dataclass(frozen=True)
class WavHeader:
    """What the header of a wav says.

    Attributes:
        rate: samples a second.
        channels: samples a frame.
        bytes_per_frame: bytes of one sample of all channels; 0 for packed codecs.
        is_pcm16: whether the samples are 16-bit little-endian integers.
        data_start: where the samples start in the file.
        data_bytes: how long the header says they are; None when its writer could not know.
    """

    rate: int
    channels: int
    bytes_per_frame: int
    is_pcm16: bool
    data_start: int
    data_bytes: int | None

    @property
    def data_end(self) -> int | None:
        """Where the header says the samples end in the file; None when its writer could not know."""
        return None if self.data_bytes is None else self.data_start + self.data_bytes


def read_wav_header(entry: Entry) -> WavHeader | None:
    """Read the header of the wav that an entry is; None if it holds no whole one."""
    head = entry.bytes_at(entry.begin, 12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    position = entry.begin + 12
    layout: bytes | None = None
    while len(chunk := entry.bytes_at(position, _CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(chunk)
        position += _CHUNK.size
        if name == b"fmt ":
            layout = entry.bytes_at(position, min(size, 40))
        elif name == b"data":
            return _header(layout, position, size)
        position += size + size % 2
    return None


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
