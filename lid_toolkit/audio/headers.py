"""Lengths that headers declare and libsndfile lowers in silence when the file is shorter: au, sph, aiff.

Layouts: Sun's ``audio.h`` (au); NIST SPHERE 2.6 (sph); Apple, "Audio Interchange File Format" 1.3
(aiff). A wav's header is read by :mod:`lid_toolkit.audio.wav`.
"""

from __future__ import annotations

import re
import struct

from lid_toolkit.audio.entry import Entry

AU_MARK, NIST_MARK, AIFF_MARK = b".snd", b"NIST_1A\n", b"FORM"
UNKNOWN_AU_BYTES = 0xFFFFFFFF
HEAD_BYTES = 1024

_NIST_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d{1,12})", re.MULTILINE)


def declared_end(entry: Entry) -> int | None:
    """Return where an entry ends by its own header; None if that does not tell."""
    begin, head = entry.begin, entry.bytes_at(entry.begin, HEAD_BYTES)
    if head.startswith(AU_MARK) and len(head) >= 12:
        offset, size = struct.unpack_from(">II", head, 4)
        return None if size == UNKNOWN_AU_BYTES else begin + offset + size
    if head.startswith(AIFF_MARK) and head[8:12] in (b"AIFF", b"AIFC"):
        return begin + 8 + int(struct.unpack_from(">I", head, 4)[0])
    if head.startswith(NIST_MARK):
        return _nist_end(head, begin)
    return None


def _nist_end(head: bytes, begin: int) -> int | None:
    """Return where an uncompressed sph file ends."""
    fields = {name: int(value) for name, value in _NIST_FIELD.findall(head)}
    length = head[len(NIST_MARK) : len(NIST_MARK) + 8].strip()
    if len(fields) < 3 or not length.isdigit() or b"embedded-shorten" in head:
        return None
    size = fields[b"sample_count"] * fields[b"channel_count"] * fields[b"sample_n_bytes"]
    return begin + int(length) + size
