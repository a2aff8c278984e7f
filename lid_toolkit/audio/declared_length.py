"""Lengths that headers declare and libsndfile lowers in silence when the file is shorter.

Layouts: Sun's ``audio.h`` (au); NIST SPHERE 2.6 (sph); Apple, "Audio Interchange File Format" 1.3
(aiff); EBU Tech 3306 (rf64); Sony's Wave64 (w64); Creative's Voice File (voc). A wav's header is read
by :mod:`lid_toolkit.audio.wav_header`.
"""

from __future__ import annotations

import re
import struct

from lid_toolkit.audio.entry import Entry

AU_MARK, NIST_MARK, AIFF_MARK = b".snd", b"NIST_1A\n", b"FORM"
RF64_MARK, VOC_MARK = b"RF64", b"Creative Voice File\x1a"
W64_MARK = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
UNKNOWN_AU_BYTES = 0xFFFFFFFF
UNKNOWN_64_BYTES = 1 << 62
"""Writers that cannot seek back leave 2^63 - 1 or 2^64 - 1."""

VOC_END, VOC_SOUND, VOC_KINDS = 0, (1, 9), 10
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
    if head.startswith(RF64_MARK) and head[8:16] == b"WAVEds64" and len(head) >= 28:
        return _end_64(begin + 8, head, 20)
    if head.startswith(W64_MARK) and len(head) >= 24:
        return _end_64(begin, head, 16)
    if head.startswith(VOC_MARK) and len(head) >= 26:
        return _voc_end(entry, head)
    return None


def _end_64(begin: int, head: bytes, place: int) -> int | None:
    """Return where a file of as many bytes from ``begin`` on ends as the header says at ``place``."""
    size = int(struct.unpack_from("<Q", head, place)[0])
    return None if size >= UNKNOWN_64_BYTES else begin + size


def _voc_end(entry: Entry, head: bytes) -> int | None:
    """Return where the first block of samples of a voc file ends, which is all that libsndfile reads."""
    position = entry.begin + int(struct.unpack_from("<H", head, 20)[0])
    while len(block := entry.bytes_at(position, 4)) == 4 and VOC_END < block[0] < VOC_KINDS:
        position += 4 + int.from_bytes(block[1:], "little")
        if block[0] in VOC_SOUND or position > entry.end:
            return position
    return None


def _nist_end(head: bytes, begin: int) -> int | None:
    """Return where an uncompressed sph file ends."""
    fields = {name: int(value) for name, value in _NIST_FIELD.findall(head)}
    length = head[len(NIST_MARK) : len(NIST_MARK) + 8].strip()
    if len(fields) < 3 or not length.isdigit() or b"embedded-shorten" in head:
        return None
    size = fields[b"sample_count"] * fields[b"channel_count"] * fields[b"sample_n_bytes"]
    return begin + int(length) + size
