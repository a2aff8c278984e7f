"""What to do with a recording that libsndfile cannot decode, by the first bytes of its file."""

from __future__ import annotations

from lid_toolkit.audio.references import COPY_AGAIN, ByteRange
from lid_toolkit.audio.sph import is_sph

FOREIGN = {
    "m4a, mp4 or mov": (4, b"ftyp"),
    "webm or mkv": (0, b"\x1aE\xdf\xa3"),
    "wma or asf": (0, b"0&\xb2u\x8ef\xcf\x11"),
    "amr": (0, b"#!AMR"),
    "flv": (0, b"FLV\x01"),
    "ac3": (0, b"\x0bw"),
    "aac (MPEG-4)": (0, b"\xff\xf1"),
    "aac (MPEG-2)": (0, b"\xff\xf9"),
    "ape": (0, b"MAC "),
    "wavpack": (0, b"wvpk"),
    "RealMedia": (0, b".RMF"),
    "mpeg video": (0, b"\x00\x00\x01\xba"),
    "html": (0, b"<!DOCTYPE"),
    "zip": (0, b"PK\x03\x04"),
    "gzip": (0, b"\x1f\x8b"),
}
"""Other formats: the position and value of their first characteristic bytes."""

NOT_AUDIO = ("html", "zip", "gzip")
CONVERT = "convert it, e.g. with ffmpeg -i IN OUT.flac, or remove it"


def mend_for(byte_range: ByteRange, what: str) -> str:
    """Return how to mend a recording for which libsndfile gives the error ``what``."""
    head = byte_range.bytes_at(byte_range.begin, 16)
    for name, (place, mark) in FOREIGN.items():
        if head[place:].startswith(mark):
            return f"it is {name}: {'download it again or unpack it' if name in NOT_AUDIO else CONVERT}"
    if is_sph(byte_range):
        return "if it is compressed: decode it with sph2pipe -f wav"
    return CONVERT if is_unknown(what) else COPY_AGAIN


def is_unknown(what: str) -> bool:
    """Return whether an error of libsndfile means an unknown format, not a damaged file."""
    return any(
        word in what.lower()
        for word in ("not recognised", "unknown format", "not supported", "unimplemented")
    )
