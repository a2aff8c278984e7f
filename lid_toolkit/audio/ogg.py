"""Ogg pages: whether a file ends inside one, which libsndfile passes over in silence.

Layout of a page: RFC 3533, section 6.
"""

from __future__ import annotations

import os

MARK = b"OggS"
HEADER_BYTES = 27
LONGEST_PAGE = HEADER_BYTES + 255 + 255 * 255


def is_ogg(descriptor: int, begin: int) -> bool:
    """Say whether an Ogg stream starts at ``begin``."""
    return os.pread(descriptor, len(MARK), begin) == MARK


def ends_inside_page(descriptor: int, begin: int, end: int) -> bool:
    """Say whether the Ogg stream from ``begin`` to ``end`` was cut off inside a page."""
    tail_start = max(begin, end - LONGEST_PAGE)
    tail = os.pread(descriptor, end - tail_start, tail_start)
    page = tail.rfind(MARK)
    while page >= 0 and tail[page + 4 : page + 5] not in (
        b"\0",
        b"",
    ):  # chance: no stream structure version 0
        page = tail.rfind(MARK, 0, page)
    if page < 0:
        return False
    segments = tail[page + HEADER_BYTES - 1 : page + HEADER_BYTES]
    table = tail[page + HEADER_BYTES : page + HEADER_BYTES + (segments[0] if segments else 0)]
    if not segments or len(table) < segments[0]:
        return True
    return page + HEADER_BYTES + len(table) + sum(table) > len(tail)
