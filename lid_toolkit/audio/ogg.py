"""Ogg streams, from page to page.

libsndfile reads a file that ends inside a page without an error, and only the first of several streams that
follow each other in one file ("chained": RFC 3533, section 4). Layout of a page: section 6.
"""

from __future__ import annotations

from dataclasses import replace

from lid_toolkit.audio.references import AudioError, ByteRange

MARK = b"OggS\0"
"""The first bytes of a page: the mark, and the version."""

HEADER_BYTES = 27
LONGEST_HEAD = HEADER_BYTES + 255
FIRST_PAGE = 0x02
SEARCH_BYTES = 1 << 16

LONGEST_OPUS_PACKET_S = 0.12
LONGEST_VORBIS_PACKET = 8192


def is_ogg(byte_range: ByteRange) -> bool:
    """Return whether these bytes are an Ogg stream."""
    return byte_range.bytes_at(byte_range.begin, len(MARK)) == MARK


def ogg_streams(byte_range: ByteRange) -> list[ByteRange]:
    """Return the bytes of each of the streams that follow each other.

    Byte 26 of a page's header is the number of segments; that many bytes with the segments' sizes follow,
    then the segments. A page with sizes 255 and 40 is whole if 295 bytes follow its header and sizes. Bit 1
    of byte 5 marks the first page of a stream. Streams that are played together, such as picture and sound,
    have their first pages next to each other; a first page after other pages begins the next stream.

    Raises:
        AudioError: the last page is truncated.
    """
    begins, data_seen = [byte_range.begin], False
    position: int | None = byte_range.begin
    while position is not None and position < byte_range.end:
        head = byte_range.bytes_at(position, min(LONGEST_HEAD, byte_range.end - position))
        if not head.startswith(MARK):
            position = _next_page(byte_range, position)
            continue
        if head[5:6] and head[5] & FIRST_PAGE and data_seen:
            begins.append(position)
            data_seen = False
        elif head[5:6] and not head[5] & FIRST_PAGE:
            data_seen = True
        count = head[HEADER_BYTES - 1] if len(head) >= HEADER_BYTES else 0
        sizes = head[HEADER_BYTES : HEADER_BYTES + count]
        end = position + HEADER_BYTES + count + sum(sizes)
        if len(head) < HEADER_BYTES + count or end > byte_range.end:
            raise AudioError(
                "truncated: ends inside an Ogg page", where=byte_range.ref, mend="copy it again, or remove it"
            )
        position = end
    ends = [*begins[1:], byte_range.end]
    return [replace(byte_range, begin=begin, end=end) for begin, end in zip(begins, ends, strict=True)]


def longest_packet(subtype: str, rate: int) -> int:
    """Return the largest number of samples in a packet of a codec that libsndfile calls ``subtype``."""
    return round(LONGEST_OPUS_PACKET_S * rate) if subtype == "OPUS" else LONGEST_VORBIS_PACKET


def _next_page(byte_range: ByteRange, position: int) -> int | None:
    """Return the position of the next page, None if there is none: other bytes may lie between pages.

    An archive entry without a length ends at these bytes: the key of the next entry.
    """
    while byte_range.bounded and position < byte_range.end:
        block = byte_range.bytes_at(position, min(SEARCH_BYTES, byte_range.end - position))
        if (place := block.find(MARK)) >= 0:
            return position + place
        position += max(1, len(block) - len(MARK) + 1)
    return None
