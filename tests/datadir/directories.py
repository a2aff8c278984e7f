"""Small data directories for tests: written as given, faults and all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PLAIN = {
    "wav.scp": "a a.wav\nb b.wav\nc c.wav\n",
    "utt2lang": "a eng\nb fra\nc eng\n",
    "lang2utt": "eng a c\nfra b\n",
}
SEGMENTED = {
    "wav.scp": "r1 1.wav\nr2 2.wav\n",
    "segments": "a r1 0 1.5\nb r1 1.5 -1\nc r2 0 1\n",
    "utt2lang": "a eng\nb fra\nc eng\n",
    "lang2utt": "eng a c\nfra b\n",
    "utt2spk": "a s\nb s\nc t\n",
}


def write_files(path: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Write files; None leaves one out."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if text is not None:
            (path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
