"""Language labels: ISO 639-3 codes, their ISO 639-1 short forms and English names.

Source: the ISO 639-3 registration authority's code tables, https://iso639-3.sil.org/code_tables.
"""

from __future__ import annotations

from lid_toolkit.errors import LidError, nearest

LANGUAGES: tuple[tuple[str, str, str], ...] = (
    ("ara", "ar", "Arabic"),
    ("ces", "cs", "Czech"),
    ("cmn", "", "Mandarin Chinese"),
    ("deu", "de", "German"),
    ("eng", "en", "English"),
    ("fin", "fi", "Finnish"),
    ("fra", "fr", "French"),
    ("hin", "hi", "Hindi"),
    ("ita", "it", "Italian"),
    ("kor", "ko", "Korean"),
    ("nld", "nl", "Dutch"),
    ("rus", "ru", "Russian"),
    ("spa", "es", "Spanish"),
    ("swa", "sw", "Swahili"),
    ("tur", "tr", "Turkish"),
)
"""ISO 639-3 code, ISO 639-1 code (``""``: none) and English name of every label the recipes use."""

_NAMES = {code: name for code, _, name in LANGUAGES}
_CODES = {short: code for code, short, _ in LANGUAGES if short} | {code: code for code in _NAMES}


def code(label: str) -> str:
    """Return the ISO 639-3 code of a label that is one, or is an ISO 639-1 code.

    Raises:
        LidError: the label is in neither column of ``LANGUAGES``.
    """
    if label not in _CODES:
        raise LidError(f"unknown language '{label}'", where="language", mend=nearest(label, _CODES))
    return _CODES[label]


def name(label: str) -> str:
    """Return the English name of a label, or the label itself where the table has none."""
    return _NAMES.get(_CODES.get(label, ""), label)
