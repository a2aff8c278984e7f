"""Ogg pages: libsndfile reads a file that ends inside a page without an error.

Layout of a page: RFC 3533, section 6.
"""

from __future__ import annotations

from lid_toolkit.audio.references import ByteRange

MARK = b"OggS"
VERSION = b"\0"
HEADER_BYTES = 27
LONGEST_PAGE = HEADER_BYTES + 255 + 255 * 255


def is_ogg(byte_range: ByteRange) -> bool:
    """Return whether these bytes are an Ogg stream."""
    return byte_range.bytes_at(byte_range.begin, len(MARK)) == MARK


def ends_inside_page(byte_range: ByteRange) -> bool:
    """Return whether an Ogg stream was cut off inside a page.

    Byte 26 of a page's header is the number of segments; that many bytes with the segments' sizes
    follow, then the segments. A last page with sizes 255 and 40 is whole if 295 bytes follow its header
    and sizes.
    """
    tail_start = max(byte_range.begin, byte_range.end - LONGEST_PAGE)
    tail = byte_range.bytes_at(tail_start, byte_range.end - tail_start)
    page = tail.rfind(MARK)
    # The audio itself may contain the four bytes of the mark; a page also has the version after it.
    while page >= 0 and tail[page + 4 : page + 5] not in (VERSION, b""):
        page = tail.rfind(MARK, 0, page)
    if page < 0:
        return False
    segments = tail[page + HEADER_BYTES - 1 : page + HEADER_BYTES]
    table = tail[page + HEADER_BYTES : page + HEADER_BYTES + (segments[0] if segments else 0)]
    if not segments or len(table) < segments[0]:
        return True
    return page + HEADER_BYTES + len(table) + sum(table) > len(tail)
