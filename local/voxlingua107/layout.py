"""How VoxLingua107 lies on disk: its language codes, folders, archives and file names.

``LANG/*.wav`` to train on, ``dev/LANG/*.wav`` to test on; both come as zips, ``LANG.zip`` and ``dev.zip``,
which hold ``LANG/*.wav``. ``zip_urls.txt`` lists the zips. A file is named after the video it was cut
from, the speaker in it, and the seconds: ``VIDEO__U__S109---0553.260-0562.850.wav``.
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
    """A zip of the corpus: ``LANG.zip``, or ``dev.zip``; the folders in it belong into ``root``."""

    path: Path
    root: Path

    @property
    def codes(self) -> tuple[str, ...]:
        """The languages whose folders it may hold."""
        return CODES if self.path.stem == DEV else (self.path.stem,)


@dataclass(frozen=True)
class Corpus:
    """The corpus in a directory, as zips, extracted, or in part."""

    path: Path

    def archive(self, name: str) -> Archive:
        """Return the zip of that name, there or not."""
        return Archive(self.path / name, self.path / DEV if name == f"{DEV}.zip" else self.path)

    def archives(self) -> list[Archive]:
        """Return the zips that are there."""
        names = [f"{stem}.zip" for stem in (*CODES, DEV)]
        return [self.archive(name) for name in names if (self.path / name).is_file()]

    def folders(self) -> list[Path]:
        """Return the language folders to train on."""
        return [self.path / code for code in CODES if (self.path / code).is_dir()]

    def dev_folders(self) -> list[Path]:
        """Return the language folders to test on."""
        return [self.path / DEV / code for code in CODES if (self.path / DEV / code).is_dir()]

    def has(self, name: str) -> bool:
        """Say whether the zip of that name, or all that it would give, is there."""
        extracted = (self.path / Path(name).stem).is_dir() and not self.half_extracted(name).exists()
        return (self.path / name).is_file() or extracted

    def half_extracted(self, name: str) -> Path:
        """Return the mark that is there from when the extraction of a zip begins until it is over."""
        return self.path / ".done" / f"extracting_{name}"

    def others(self) -> Iterator[str]:
        """Yield the names of folders that are none of the corpus's."""
        if self.path.is_dir():
            known = {*CODES, DEV}
            yield from sorted(
                p.name for p in self.path.iterdir() if p.is_dir() and p.name[0] != "." and p.name not in known
            )


@functools.cache
def label(code: str) -> str:
    """Return the ISO 639-3 code of one of the corpus's, which keep the older ``iw`` and ``jw``."""
    return languages.code(code)


def utterance_id(code: str, stem: str) -> str:
    """Return ``LANGUAGE_STEM``, with ISO 639-3 as in ESPnet's recipe, and ``_`` in place of blanks."""
    return f"{label(code)}_{without_blanks(stem)}"


def video(stem: str) -> str:
    """Return the YouTube id of the video that a file was cut from; it may itself hold ``_`` and ``-``."""
    name, mark, _ = stem.rpartition("__U__")
    return name if mark else _SECONDS.sub("", stem)
