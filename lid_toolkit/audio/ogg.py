"""Ogg pages: whether a file ends inside one, which libsndfile passes over in silence.

Layout of a page: RFC 3533, section 6.
"""

from __future__ import annotations

from lid_toolkit.audio.entry import Entry

MARK = b"OggS"
VERSION = b"\0"
HEADER_BYTES = 27
LONGEST_PAGE = HEADER_BYTES + 255 + 255 * 255


def is_ogg(entry: Entry) -> bool:
    """Say whether an entry is an Ogg stream."""
    return entry.bytes_at(entry.begin, len(MARK)) == MARK


def ends_inside_page(entry: Entry) -> bool:
    """Say whether the Ogg stream that an entry is was cut off inside a page."""
    tail_start = max(entry.begin, entry.end - LONGEST_PAGE)
    tail = entry.bytes_at(tail_start, entry.end - tail_start)
    page = tail.rfind(MARK)
    while page >= 0 and tail[page + 4 : page + 5] not in (VERSION, b""):  # the mark, by chance in the data
        page = tail.rfind(MARK, 0, page)
    if page < 0:
        return False
    segments = tail[page + HEADER_BYTES - 1 : page + HEADER_BYTES]
    table = tail[page + HEADER_BYTES : page + HEADER_BYTES + (segments[0] if segments else 0)]
    if not segments or len(table) < segments[0]:
        return True
    return page + HEADER_BYTES + len(table) + sum(table) > len(tail)
