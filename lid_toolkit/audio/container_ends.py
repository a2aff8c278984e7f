"""Where a file ends by its own structure. FFmpeg does not report that bytes are missing.

Layouts: ISO/IEC 14496-12 (the boxes of mp4, m4a, mov, 3gp), RFC 8794 and 9559 (the elements of webm and mkv),
Microsoft's "Advanced Systems Format Specification" (the objects of wma), and RIFF (avi).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lid_toolkit.audio.references import COPY_AGAIN, AudioError, ByteRange

FILE_TYPE = b"ftyp"
EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")

JOINED = "join the sounds instead of the files, e.g. with ffmpeg"

Parts = Iterator[tuple[int, bool]]
"""The position in the file at which each part of a recording ends, and whether another recording follows."""


def require_whole(byte_range: ByteRange, demuxer: str) -> None:
    """Check that a file has all the bytes that its parts say, and that it is one recording.

    Args:
        byte_range: the recording.
        demuxer: FFmpeg's name of its format. Those without such a structure are not checked.

    Raises:
        AudioError: it is truncated, or another recording follows in the same file.
    """
    walk = _WALKS.get(demuxer)
    for end, another in walk(byte_range) if walk else ():
        if end > byte_range.end:
            what = f"truncated: the last {end - byte_range.end} bytes are missing"
            raise AudioError(what, where=byte_range.ref, mend=COPY_AGAIN)
        if another:
            what = "another recording follows in the same file, and would not be read"
            raise AudioError(what, where=byte_range.ref, mend=JOINED)


def _boxes(byte_range: ByteRange) -> Parts:
    position = byte_range.begin
    while position + 8 <= byte_range.end:
        size = int.from_bytes(byte_range.bytes_at(position, 4), "big")
        if size == 1:
            size = int.from_bytes(byte_range.bytes_at(position + 8, 8), "big")
        if size < 8:  # 0: the last box reaches to the end of the file; other values: no box
            return
        position += size
        yield position, _follows(byte_range, position + 4, FILE_TYPE)


def _elements(byte_range: ByteRange) -> Parts:
    position = byte_range.begin
    for mark in (EBML, SEGMENT):
        head = byte_range.bytes_at(position, 12)
        size, width = _vint(head[4:])
        if head[:4] != mark or size is None:
            return
        position += 4 + width + size
        yield position, mark == SEGMENT and _follows(byte_range, position, EBML)


def _vint(data: bytes) -> tuple[int | None, int]:
    """Return the value and width of a number of EBML; None for a size that is not known."""
    width = 9 - data[0].bit_length() if data else 9
    if width > 8 or len(data) < width:
        return None, 0
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width


def _objects(byte_range: ByteRange) -> Parts:
    position = byte_range.begin + int.from_bytes(byte_range.bytes_at(byte_range.begin + 16, 8), "little")
    yield position, False
    if _follows(byte_range, position, ASF_DATA):  # a size of 0 is that of a live stream
        size = int.from_bytes(byte_range.bytes_at(position + 16, 8), "little")
        yield position + size, False


def _riff(byte_range: ByteRange) -> Parts:
    if size := int.from_bytes(byte_range.bytes_at(byte_range.begin + 4, 4), "little"):
        yield byte_range.begin + 8 + size, False


def _follows(byte_range: ByteRange, position: int, mark: bytes) -> bool:
    return position < byte_range.end and byte_range.bytes_at(position, len(mark)) == mark


_WALKS: dict[str, Callable[[ByteRange], Parts]] = {
    "mov": _boxes,
    "matroska": _elements,
    "asf": _objects,
    "avi": _riff,
}
