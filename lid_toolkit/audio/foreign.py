"""Recordings that libsndfile cannot decode, by the first bytes of their files: read otherwise, or convert."""

from __future__ import annotations

from typing import NamedTuple

from lid_toolkit.audio.mp3 import after_tags
from lid_toolkit.audio.references import COPY_AGAIN, ByteRange
from lid_toolkit.audio.sph import is_sph


class Foreign(NamedTuple):
    """A format that libsndfile cannot decode.

    Attributes:
        name: what users call it.
        mark: its first characteristic bytes.
        place: their position.
        demuxer: FFmpeg's name of the format; "" if it is not read.
    """

    name: str
    mark: bytes
    place: int = 0
    demuxer: str = ""


FOREIGN = (
    Foreign("m4a, mp4, mov or 3gp", b"ftyp", 4, "mov"),
    Foreign("webm or mkv", b"\x1aE\xdf\xa3", demuxer="matroska"),
    Foreign("wma or asf", b"0&\xb2u\x8ef\xcf\x11", demuxer="asf"),
    Foreign("amr", b"#!AMR", demuxer="amr"),
    Foreign("flv", b"FLV\x01", demuxer="flv"),
    Foreign("ac3", b"\x0bw", demuxer="ac3"),
    *(Foreign("aac", bytes([0xFF, second]), demuxer="aac") for second in (0xF0, 0xF1, 0xF8, 0xF9)),
    Foreign("wavpack", b"wvpk", demuxer="wv"),
    Foreign("avi", b"AVI LIST", 8, "avi"),
    Foreign("mpeg video", b"\x00\x00\x01\xba", demuxer="mpeg"),
    Foreign("ape", b"MAC "),
    Foreign("RealMedia", b".RMF"),
    Foreign("html", b"<!DOCTYPE"),
    Foreign("zip", b"PK\x03\x04"),
    Foreign("gzip", b"\x1f\x8b"),
)

SUFFIXES = (
    *(
        ".3g2",
        ".3gp",
        ".aac",
        ".ac3",
        ".amr",
        ".asf",
        ".avi",
        ".eac3",
        ".flv",
        ".m4a",
        ".m4b",
        ".mka",
        ".mkv",
    ),
    *(".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wma", ".wv"),
)
"""Suffixes of files in the formats that are read."""

NOT_AUDIO = ("html", "zip", "gzip")
CONVERT = "convert it, e.g. with ffmpeg -i IN OUT.flac, or remove it"


def foreign(byte_range: ByteRange) -> Foreign | None:
    """Return the format of a recording that libsndfile cannot decode; None if it is not known."""
    head = byte_range.bytes_at(after_tags(byte_range, byte_range.begin), 16)
    return next((format_ for format_ in FOREIGN if head[format_.place :].startswith(format_.mark)), None)


def mend_for(byte_range: ByteRange, what: str) -> str:
    """Return how to mend a recording for which libsndfile gives the error ``what``."""
    if format_ := foreign(byte_range):
        mend = "download it again or unpack it" if format_.name in NOT_AUDIO else CONVERT
        return f"it is {format_.name}: {mend}"
    if is_sph(byte_range):
        return "if it is compressed: decode it with sph2pipe -f wav"
    return CONVERT if is_unknown(what) else COPY_AGAIN


def is_unknown(what: str) -> bool:
    """Return whether an error of libsndfile means an unknown format, not a damaged file."""
    return any(
        word in what.lower()
        for word in ("not recognised", "unknown format", "not supported", "unsupported", "unimplemented")
    )
