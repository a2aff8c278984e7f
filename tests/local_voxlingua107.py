"""VoxLingua107 in miniature: zips in the true layout, with speech that is made here."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import soxr
from local_sounds import spoken

from lid_toolkit.audio.fingerprint import RATE

VOICES = {"en": "en-us", "iw": "he", "no": "nb", "zh": "cmn"}
IDS = ("-a__U_b-_0", "9tHpbvG__U", "_-_-_-_-_-", "abcdefghij", "zzzzzzzzzz")
"""YouTube ids have eleven letters, digits, ``_`` and ``-``; some of these look like what follows an id."""

SHARED = "GGG---1.0-2"
SEGMENTS = ((12.5, 14.0), (553.26, 554.26))


def videos_of(code: str) -> tuple[str, ...]:
    """Return a language's videos; one comes under every language."""
    return (*(start + code[0] for start in IDS), SHARED)


def stem(video: str, start: float, end: float) -> str:
    return f"{video}__U__S1---{start:08.3f}-{end:08.3f}"


@functools.cache
def wav(code: str, seconds: float) -> bytes:
    """Return a recording in a language at 16 kHz, as the corpus's are."""
    samples = soxr.resample(spoken("one two three four five", VOICES[code]), RATE, 16000)
    samples = np.resize(samples, round(seconds * 16000))
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16000, format="WAV")
    return stream.getvalue()


def recordings(code: str) -> dict[str, bytes]:
    """Return what a language's folder holds, by member name."""
    spans = [(video, *span) for video in videos_of(code) for span in SEGMENTS]
    return {f"{code}/{stem(*span)}.wav": wav(code, span[2] - span[1]) for span in spans}


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip whose members are compressed, with entries of folders too."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for folder in dict.fromkeys(name.partition("/")[0] for name in members):
            target.mkdir(folder) if hasattr(target, "mkdir") else target.writestr(f"{folder}/", b"")
        for name, content in members.items():
            target.writestr(name, content)


def lay_zips(folder: Path) -> None:
    """Write three languages, dev with parts of three of their videos, and the list, which lacks dev."""
    folder.mkdir(parents=True, exist_ok=True)
    codes = ("en", "iw", "no")
    for code in codes:
        write_zip(folder / f"{code}.zip", recordings(code))
    dev = {f"en/{stem(video, *SEGMENTS[0])}.wav": wav("en", 1.5) for video in videos_of("en")[3:]}
    dev[f"zh/{stem(videos_of('zh')[0], *SEGMENTS[0])}.wav"] = wav("zh", 1.5)
    write_zip(folder / "dev.zip", dev)
    lines = [f"http://bark.phon.ioc.ee/voxlingua107/{code}.zip\n" for code in codes]
    (folder / "zip_urls.txt").write_text("".join(lines))


def spoiled(archive: Path) -> tuple[bytes, str]:
    """Return a zip's bytes with one byte of its first recording's data changed."""
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as source:
        info = next(info for info in source.infolist() if info.file_size)
    data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0xFF
    return bytes(data), info.filename


def content(data: Path) -> dict[Path, bytes]:
    """Return all of the corpus's tables under a data directory."""
    return {path: path.read_bytes() for path in data.glob("*_voxlingua107/*")}
