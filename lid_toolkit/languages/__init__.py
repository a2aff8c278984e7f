"""Language labels: what corpora write, ISO 639-3 codes, English names, and labels that count as one.

``iso639.tsv`` lists the languages known here, all of ISO 639-1 among them; ``aliases.tsv`` every
other label that is understood: deprecated codes, bibliographic ones, corpus usage and further names.
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

_SUBTAG = re.compile(r"[a-z]{2}|\d{3}|[a-z]{4}|[a-z0-9]{5,8}")
"""What may follow a language in a locale without changing it: a region, a script, a variant."""


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
    a locale (``en_US``, ``zh-Hant-TW``); case, and ``_``, ``-`` or a blank, make no difference.
    Where a corpus says only Chinese (``zh``) it is taken to mean Mandarin (``cmn``).

    Raises:
        LidError: no such label is known.
    """
    known = _codes()
    parts = _normal(label).split("-")
    for stop in range(len(parts), 0, -1):
        found = known.get("-".join(parts[:stop]))
        if found and _keeps_language(parts[stop:]):
            return found
        if found and stop == 1 and _keeps_language(parts[2:]) and parts[1] in languages():
            return parts[1]  # an extended language, as in zh-yue
    advice = nearest(_normal(label), known, otherwise="give its ISO 639-3 code")
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


def _keeps_language(subtags: list[str]) -> bool:
    return all(map(_SUBTAG.fullmatch, subtags))


def _normal(label: str) -> str:
    return re.sub(r"[\s_-]+", "-", label.strip().casefold())


def _rows(file: str) -> Iterator[list[str]]:
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    return (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
