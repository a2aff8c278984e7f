"""The layout of VoxLingua107 on disk: language codes, folders, archives and file names.

``LANG/*.wav`` is for training and ``dev/LANG/*.wav`` for testing. They are distributed as ``LANG.zip`` and
``dev.zip``, which contain ``LANG/*.wav``; ``zip_urls.txt`` lists the zips. A file name gives the video, the
speaker in the video, and start and end in seconds: ``VIDEO__U__S109---0553.260-0562.850.wav``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lid_toolkit import languages
from local.corpus import without_blanks

_LISTED = """
    ab af am ar as az ba be bg bn bo br bs ca ceb cs cy da de el en eo es et eu fa fi fo fr gl gn gu gv ha
    haw hi hr ht hu hy ia id is it iw ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl
    nn no oc pa pl ps pt ro ru sa sco sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi war
    yi yo zh
"""
CODES = tuple(_LISTED.split())
DEV = "dev"
ZIP_LIST = "zip_urls.txt"

_SECONDS = re.compile(r"---\d+\.\d+-\d+\.\d+$")


@dataclass(frozen=True)
class Archive:
    """A zip of the corpus, ``LANG.zip`` or ``dev.zip``, whose folders are extracted to ``root``."""

    path: Path
    root: Path

    @property
    def codes(self) -> tuple[str, ...]:
        """The language codes that the folders in the zip may have."""
        return CODES if self.path.stem == DEV else (self.path.stem,)


@dataclass(frozen=True)
class Corpus:
    """A directory with the corpus, as zips, extracted, or partly extracted."""

    path: Path

    def archive(self, name: str) -> Archive:
        """Return the zip with that name, whether or not it exists."""
        return Archive(self.path / name, self.path / DEV if name == f"{DEV}.zip" else self.path)

    def archives(self) -> list[Archive]:
        """Return the zips that exist."""
        names = [f"{stem}.zip" for stem in (*CODES, DEV)]
        return [self.archive(name) for name in names if (self.path / name).is_file()]

    def folders(self) -> list[Path]:
        """Return the language folders for training."""
        return [self.path / code for code in CODES if (self.path / code).is_dir()]

    def dev_folders(self) -> list[Path]:
        """Return the language folders for testing."""
        return [self.path / DEV / code for code in CODES if (self.path / DEV / code).is_dir()]

    def has(self, name: str) -> bool:
        """Return whether the zip with that name exists or has been extracted completely."""
        extracted = (self.path / Path(name).stem).is_dir() and not self.half_extracted(name).exists()
        return (self.path / name).is_file() or extracted

    def half_extracted(self, name: str) -> Path:
        """Return the path of the marker file that exists while a zip is being extracted."""
        return self.path / ".done" / f"extracting_{name}"

    def others(self) -> Iterator[str]:
        """Yield the names of folders that do not belong to the corpus."""
        if self.path.is_dir():
            known = {*CODES, DEV}
            yield from sorted(
                p.name for p in self.path.iterdir() if p.is_dir() and p.name[0] != "." and p.name not in known
            )


@functools.cache
def label(code: str) -> str:
    """Return the ISO 639-3 code for a language code of the corpus, which uses the old ``iw`` and ``jw``."""
    return languages.code(code)


def utterance_id(code: str, stem: str) -> str:
    """Return ``LANGUAGE_STEM``, with ISO 639-3 codes as in ESPnet's recipe and ``_`` for white space."""
    return f"{label(code)}_{without_blanks(stem)}"


def video(stem: str) -> str:
    """Return the YouTube id of a file's video. The id itself may contain ``_`` and ``-``."""
    name, mark, _ = stem.rpartition("__U__")
    return name if mark else _SECONDS.sub("", stem)
