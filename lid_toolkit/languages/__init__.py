"""Language labels: labels of corpora, ISO 639-3 codes, English names, and merged macrolanguages.

``iso639.tsv`` lists the known languages, including all of ISO 639-1. ``aliases.tsv`` lists all other labels
that are accepted: deprecated, bibliographic and extended codes, labels of corpora, and other names. A
deprecated code is accepted but never returned.

Source: ISO 639-3 registration authority, https://iso639-3.sil.org; subtags as in RFC 5646.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lid_toolkit.errors import LidError, nearest

_LOCALE = re.compile(r"([a-z]{2,3}|[A-Z]{2,3})([_-][A-Za-z0-9]+)+")
"""A code, all in one case, with subtags. ``Ho-Chunk`` is a name and does not match."""

_SUBTAGS = re.compile(r"(-[a-z]{4})?(-[a-z]{2}|-\d{3})?(-[a-z0-9]{5,8}|-\d[a-z0-9]{3})*")
"""The subtags of a locale that do not change the language: script, region, variants."""

UNLABELLED = "und"
"""The label of an utterance whose language is not known: undetermined, in ISO 639-3."""

SIMILAR_LABELS = 0.6
"""``least_similarity`` for labels: a code has few letters, and a name may have another word behind it."""


class Language(NamedTuple):
    """A language.

    Attributes:
        code: ISO 639-3 code.
        short: ISO 639-1 code, or ``""``.
        name: English name.
        merged: the code to use instead if macrolanguages are merged; usually the same as ``code``.
    """

    code: str
    short: str
    name: str
    merged: str


def code(label: str) -> str:
    """Return the ISO 639-3 code of a label in a corpus.

    A label may be an ISO 639-1, 639-2 or 639-3 code, including deprecated ones, an English name, or a locale.
    A locale is a code, followed by subtags after ``_`` or ``-`` (``en_US``, ``zh-Hant-TW``); the code must be
    all in upper case or all in lower case. Otherwise, case is ignored, and ``_``, ``-`` and spaces in a name
    are equivalent. Chinese without a variety (``zh``) means Mandarin (``cmn``).

    Raises:
        LidError: the label is unknown.
    """
    known, normal = _codes(), _normal(label)
    if normal in known:
        return known[normal]
    if _LOCALE.fullmatch(label.strip()):
        for end in sorted((dash.start() for dash in re.finditer("-", normal)), reverse=True):
            if normal[:end] in known and _SUBTAGS.fullmatch(normal[end:]):
                return known[normal[:end]]
    advice = nearest(normal, known, "give its ISO 639-3 code", SIMILAR_LABELS)
    raise LidError(f"unknown language '{label}'", where="language", mend=advice)


def name(label: str) -> str:
    """Return the English name for a lower-case label such as ``deu``; an unknown label is returned as is."""
    language = languages().get(_codes().get(label, "")) if label.islower() else None
    return language.name if language else label


def merged(label: str) -> str:
    """Return the label to use instead of ``label`` if macrolanguages are merged.

    Labels that corpora use for the same speech become one: a macrolanguage and its main member (``zho`` and
    ``cmn``), or its varieties (``ara`` and ``arz``). Members that corpora distinguish remain separate, such
    as ``yue`` and ``zho``, or ``ind`` and ``msa``. An unknown label is returned unchanged.
    """
    language = languages().get(label)
    return language.merged if language else label


def find(wanted: str, labels: Sequence[str], where: object = "language") -> str:
    """Return the label that means a language: the same text, else the same code, else the same if merged.

    Args:
        wanted: a label, or anything that :func:`code` accepts.
        labels: the labels of a model.
        where: what names the language, for the error.

    Raises:
        LidError: no label means it, or several do.
    """
    if wanted in labels:
        return wanted
    for level in (_code_or_none, _merged_code_or_none):
        meant = level(wanted)
        found = [label for label in labels if meant is not None and level(label) == meant]
        if len(found) > 1:
            what = f"'{wanted}' may be any of {', '.join(found)}"
            raise LidError(what, where=where, mend="give one of these labels")
        if found:
            return found[0]
    mend = nearest(str(wanted), labels, least_similarity=SIMILAR_LABELS)
    raise LidError(f"the model does not know '{wanted}'", where=where, mend=mend)


@functools.cache
def _code_or_none(label: str) -> str | None:
    try:
        return code(label)
    except LidError:
        return None


def _merged_code_or_none(label: str) -> str | None:
    found = _code_or_none(label)
    return None if found is None else merged(found)


def case_variants(labels: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that are the same ISO 639 code in different case, e.g. ``[["ENG", "eng"]]``."""
    by_code: dict[str, list[str]] = {}
    for label in sorted(labels):
        by_code.setdefault(label.lower(), []).append(label)
    codes = languages().keys() | {language.short for language in languages().values() if language.short}
    return [same for lower, same in by_code.items() if len(same) > 1 and lower in codes]


@functools.cache
def languages() -> dict[str, Language]:
    """Return the known languages by ISO 639-3 code."""
    rows = (Language(code, short, name, merged or code) for code, short, name, merged in _rows("iso639.tsv"))
    return {language.code: language for language in rows}


@functools.cache
def aliases() -> dict[str, tuple[str, str]]:
    """Return the ISO 639-3 code and the kind of every alias."""
    return {_normal(alias): (code, kind) for alias, code, kind in _rows("aliases.tsv")}


@functools.cache
def _codes() -> dict[str, str]:
    """Return the ISO 639-3 code of every known label. Aliases and codes have priority over names."""
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
