"""MP3 files: streams that were joined into one file, and lengths that libsndfile would guess.

Encoders write a first frame of silence that contains ``Xing`` or ``Info`` (LAME) or ``VBRI`` (Fraunhofer)
and says how long the stream is; libsndfile reads nothing behind it. Without one, libsndfile guesses the
length from the bitrate of the first frame, and only counting the frames gives it. Layout of a frame's
header: ISO/IEC 11172-3, 2.4.1.3 (MPEG-1), and 13818-3, 2.4.1 (MPEG-2).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace

from lid_toolkit.audio.references import AudioError, ByteRange

LENGTH_MARKS = (b"Xing", b"Info", b"VBRI")
FIRST_BYTES = 64
"""Bytes of the first frame to search: a mark starts within its first 38 bytes."""

TAGS_BEHIND = (b"TAG", b"APE", b"LYR", b"")
MPEG1, MPEG2, MPEG25 = 3, 2, 0
LAYER_3 = 1

LONGEST_FRAME = 1441
FRAMES_OF_A_STREAM = 4
LONGEST_SEARCH = 1 << 24
_SYNC = re.compile(rb"\xff[\xe2-\xff]")

_RATES = {MPEG1: (44100, 48000, 32000), MPEG2: (22050, 24000, 16000), MPEG25: (11025, 12000, 8000)}
_KBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True)
class Mp3Stream:
    """One of the streams of an mp3 file.

    Attributes:
        byte_range: its bytes, with the tags before and behind it.
        samples: samples per channel, counted frame by frame up to the first bytes that are not a frame;
            0 if the stream says how long it is.
        is_whole: whether nothing but tags follows the counted frames.
    """

    byte_range: ByteRange
    samples: int
    is_whole: bool


def is_mp3(byte_range: ByteRange) -> bool:
    """Return whether these bytes start with a frame of an mp3, perhaps after ID3v2 tags."""
    return _frame(byte_range.bytes_at(after_tags(byte_range, byte_range.begin), 3)) is not None


def mp3_streams(byte_range: ByteRange) -> list[Mp3Stream]:
    """Return the streams that follow each other in an mp3 file.

    A stream ends where its first frame says, or before the next frame of that kind, or before tags. Other
    bytes that are not frames do not end it: libsndfile skips damage.

    Raises:
        AudioError: the file ends before the last stream does.
    """
    streams: list[Mp3Stream] = []
    begin: int | None = byte_range.begin
    while begin is not None:
        first = after_tags(byte_range, begin)
        declared = _declared_bytes(byte_range.bytes_at(first, FIRST_BYTES))
        if declared is None:
            stop, samples = _walk(byte_range, first)
        else:
            stop, samples = first + declared, 0
            if (missing := stop - byte_range.end) > LONGEST_FRAME:
                what = f"truncated: the last {missing} bytes are missing"
                raise AudioError(what, where=byte_range.ref, mend="copy it again, or remove it")
        is_whole = declared is None and byte_range.bytes_at(stop, 3) in TAGS_BEHIND
        follows = _next_stream(byte_range, stop, search=declared is not None)
        if _has_mark(byte_range.bytes_at(first, FIRST_BYTES)):
            samples = 0
        end = byte_range.end if follows is None else follows
        own = replace(byte_range, begin=begin, end=end)
        streams.append(Mp3Stream(own, samples, is_whole or follows is not None))
        begin = follows
    return streams


def _has_mark(head: bytes) -> bool:
    return any(mark in head for mark in LENGTH_MARKS)


def _declared_bytes(head: bytes) -> int | None:
    """Return the size of a stream according to its first frame, None if that does not say.

    After ``Xing`` or ``Info`` come 4 bytes of flags: bit 0 for a number of frames, bit 1 for the bytes. The
    numbers follow, 4 bytes each. In ``VBRI`` the bytes are always there, 10 bytes after the start.
    """
    if (place := head.find(b"VBRI")) >= 0:
        number = head[place + 10 : place + 14]
    else:
        match = re.search(b"Xing|Info", head)
        flags = head[match.end() + 3] if match and len(head) > match.end() + 3 else 0
        if match is None or not flags & 2:
            return None
        place = match.end() + (8 if flags & 1 else 4)
        number = head[place : place + 4]
    return int.from_bytes(number, "big") or None


def _walk(byte_range: ByteRange, first: int) -> tuple[int, int]:
    """Go from frame to frame up to the next stream's first frame, or to bytes that are not a whole frame.

    Return that position, and the samples per channel.
    """
    position, samples = first, 0
    while frame := _frame((head := byte_range.bytes_at(position, FIRST_BYTES))[:3]):
        if position + frame[0] > byte_range.end:
            return byte_range.end, samples  # a last frame that is cut
        if position > first and _has_mark(head):
            break
        position += frame[0]
        samples += frame[1]
    return position, samples


def _next_stream(byte_range: ByteRange, stop: int, search: bool) -> int | None:
    """Return where the stream behind ``stop`` begins, None if there is none.

    Args:
        byte_range: the file.
        stop: where a stream ends.
        search: whether to look for frames behind unknown bytes.
    """
    if not byte_range.bounded:
        return None  # the next entry of an archive
    begin = stop
    while (head := byte_range.bytes_at(begin, 32)).startswith((b"TAG", b"APETAGEX")):
        size = 128 if head.startswith(b"TAG") else 32 + int.from_bytes(head[12:16], "little")
        begin = min(begin + size, byte_range.end)
    if _is_frames(byte_range, after_tags(byte_range, begin)):
        return begin
    if search:
        rest = (
            byte_range.bytes_at(begin, min(byte_range.end - begin, LONGEST_SEARCH))
            if begin < byte_range.end
            else b""
        )
        for match in _SYNC.finditer(rest):
            if _is_frames(byte_range, begin + match.start()):
                return begin + match.start()
    return None


def _is_frames(byte_range: ByteRange, position: int) -> bool:
    """Return whether some whole frames lie at a position: a few bytes could be a frame by chance."""
    for _ in range(FRAMES_OF_A_STREAM):
        frame = _frame(byte_range.bytes_at(position, 3))
        if frame is None or position + frame[0] > byte_range.end:
            return False
        position += frame[0]
    return True


def after_tags(byte_range: ByteRange, position: int) -> int:
    """Return the position of the first byte after the ID3v2 tags at ``position``."""
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
