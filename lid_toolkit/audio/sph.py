"""NIST SPHERE (sph) files: libsndfile reads a truncated one as a shorter recording, without an error.

The header is lines of text such as ``sample_count -i 48000`` (NIST SPHERE 2.6).
"""

from __future__ import annotations

import re

from lid_toolkit.audio.references import ByteRange

MARK = b"NIST_1A\n"
HEAD_BYTES = 1024

_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d{1,12})", re.MULTILINE)


def is_sph(byte_range: ByteRange) -> bool:
    """Return whether these bytes are an sph file."""
    return byte_range.bytes_at(byte_range.begin, len(MARK)) == MARK


def sph_end(byte_range: ByteRange) -> int | None:
    """Return the position in the file at which an sph file ends according to its header.

    None for other formats, for compressed sph, and where the header does not say.
    """
    head = byte_range.bytes_at(byte_range.begin, HEAD_BYTES)
    fields = {name: int(value) for name, value in _FIELD.findall(head)}
    length = head[len(MARK) : len(MARK) + 8].strip()
    if not head.startswith(MARK) or len(fields) < 3 or not length.isdigit() or b"embedded-shorten" in head:
        return None
    size = fields[b"sample_count"] * fields[b"channel_count"] * fields[b"sample_n_bytes"]
    return byte_range.begin + int(length) + size
