"""MP3 files whose length libsndfile would guess from the bitrate of the first frame.

Encoders write a first frame of silence that contains ``Xing`` or ``Info`` (LAME) or ``VBRI`` (Fraunhofer)
and says how long the file is. Without one, only counting the frames gives the length. Layout of a
frame's header: ISO/IEC 11172-3, 2.4.1.3 (MPEG-1), and 13818-3, 2.4.1 (MPEG-2).
"""

from __future__ import annotations

import functools

from lid_toolkit.audio.references import ByteRange

LENGTH_MARKS = (b"Xing", b"Info", b"VBRI")
FIRST_BYTES = 64
"""Bytes of the first frame to search: a mark starts within its first 38 bytes."""

TAGS_BEHIND = (b"TAG", b"APE", b"LYR", b"")
MPEG1, MPEG2, MPEG25 = 3, 2, 0
LAYER_3 = 1

_RATES = {MPEG1: (44100, 48000, 32000), MPEG2: (22050, 24000, 16000), MPEG25: (11025, 12000, 8000)}
_KBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def length_by_frames(byte_range: ByteRange) -> tuple[int, bool]:
    """Count the samples of an mp3 that does not say how many it has, by going from frame to frame.

    Returns:
        The samples per channel up to the first bytes that are not a frame, and whether nothing but tags
        follows the last frame; 0 and false if the file says how long it is.
    """
    position = _after_tags(byte_range)
    head = byte_range.bytes_at(position, FIRST_BYTES)
    if any(mark in head for mark in LENGTH_MARKS):
        return 0, False
    samples = 0
    while (frame := _frame(byte_range.bytes_at(position, 3))) and position + frame[0] <= byte_range.end:
        position += frame[0]
        samples += frame[1]
    return samples, frame is not None or byte_range.bytes_at(position, 3) in TAGS_BEHIND


def _after_tags(byte_range: ByteRange) -> int:
    """Return the position of the first byte after the ID3v2 tags."""
    position = byte_range.begin
    while (head := byte_range.bytes_at(position, 10)).startswith(b"ID3") and len(head) == 10:
        size = functools.reduce(lambda size, seven_bits: size << 7 | seven_bits, head[6:10])
        position += 10 + size + (10 if head[5] & 0x10 else 0)
    return position


@functools.lru_cache(maxsize=4096)
def _frame(head: bytes) -> tuple[int, int] | None:
    """Return the size in bytes and the samples per channel of a layer III frame, from its first 3 bytes."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head[1] >> 1 & 3 != LAYER_3:
        return None
    version, step, kind = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _RATES or not 1 <= step <= 14 or kind == 3:
        return None
    samples, kbits = (1152, _KBITS_1) if version == MPEG1 else (576, _KBITS_2)
    return samples // 8 * 1000 * kbits[step - 1] // _RATES[version][kind] + (head[2] >> 1 & 1), samples
