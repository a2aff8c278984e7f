"""Language labels: what corpora write, ISO 639-3 codes, English names, and labels that count as one.

``iso639.tsv`` lists the languages known here, all of ISO 639-1 among them; ``aliases.tsv`` every
other label that is understood: deprecated codes, bibliographic and extended ones, corpus usage and
further names.
A deprecated code is understood and never returned.

Source: ISO 639-3 registration authority, https://iso639-3.sil.org; subtags after RFC 5646.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lid_toolkit.errors import LidError, nearest

_LOCALE = re.compile(r"([a-z]{2,3}|[A-Z]{2,3})([_-][A-Za-z0-9]+)+")
"""A code with subtags. What follows a name, a blank or ``Ho`` (as in Ho-Chunk) is part of another name."""

_SUBTAGS = re.compile(r"(-[a-z]{4})?(-[a-z]{2}|-\d{3})?(-[a-z0-9]{5,8}|-\d[a-z0-9]{3})*")
"""What may follow a language in a locale without changing it: a script, a region, variants."""


class Language(NamedTuple):
    """A language: ISO 639-3 code, ISO 639-1 code (``""``: none), English name, and merged label.

    ``merged`` is the code that this one counts as where macrolanguages are merged, mostly its own.
    """

    code: str
    short: str
    name: str
    merged: str


def code(label: str) -> str:
    """Return the ISO 639-3 code of a corpus's label.

    A label may be a code of ISO 639-1, 639-2 or 639-3, deprecated ones included, an English name, or
    a locale: a code in one case, then subtags after ``_`` or ``-`` (``en_US``, ``zh-Hant-TW``). Else
    case makes no difference, nor do ``_``, ``-`` or a blank within a name.
    Where a corpus says only Chinese (``zh``) it is taken to mean Mandarin (``cmn``).

    Raises:
        LidError: no such label is known.
    """
    known, normal = _codes(), _normal(label)
    if normal in known:
        return known[normal]
    if _LOCALE.fullmatch(label.strip()):
        for end in sorted((dash.start() for dash in re.finditer("-", normal)), reverse=True):
            if normal[:end] in known and _SUBTAGS.fullmatch(normal[end:]):
                return known[normal[:end]]
    advice = nearest(normal, known, otherwise="give its ISO 639-3 code")
    raise LidError(f"unknown language '{label}'", where="language", mend=advice)


def name(label: str) -> str:
    """Return the English name of an ISO 639 code, or the label itself where none is known."""
    language = languages().get(_codes().get(label, "")) if label.islower() else None
    return language.name if language else label


def merged(label: str) -> str:
    """Return the label that ``label`` counts as where macrolanguages are merged.

    Two labels that corpora give to the same speech then are one: a macrolanguage and its main
    member (``zho`` and ``cmn``), or its varieties (``ara`` and ``arz``). Members that corpora tell
    apart stay apart, as ``yue`` from ``zho`` or ``ind`` from ``msa``. Unknown labels are their own.
    """
    language = languages().get(label)
    return language.merged if language else label


@functools.cache
def languages() -> dict[str, Language]:
    """Return the known languages by ISO 639-3 code."""
    rows = (Language(code, short, name, merged or code) for code, short, name, merged in _rows("iso639.tsv"))
    return {language.code: language for language in rows}


@functools.cache
def aliases() -> dict[str, tuple[str, str]]:
    """Return further labels: each one's ISO 639-3 code, and of what kind it is."""
    return {_normal(alias): (code, kind) for alias, code, kind in _rows("aliases.tsv")}


@functools.cache
def _codes() -> dict[str, str]:
    """Return the ISO 639-3 code of every known label; aliases and codes come before names."""
    table = languages().values()
    return {
        **{_normal(language.name): language.code for language in table},
        **{language.code: language.code for language in table},
        **{language.short: language.code for language in table if language.short},
        **{alias: code for alias, (code, _) in aliases().items()},
    }


def _normal(label: str) -> str:
    return re.sub(r"[\s_-]+", "-", label.strip().casefold())


def _rows(file: str) -> Iterator[list[str]]:
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    return (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
