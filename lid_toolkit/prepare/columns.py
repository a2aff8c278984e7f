"""Find the columns of a manifest by their usual names, or by those that the user gives."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from lid_toolkit.errors import LidError, nearest

REQUIRED = ("path", "language")
NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav"),
    "language": ("language", "lang", "label", "locale", "language_code"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id"),
    "start": ("start",),
    "end": ("end",),
    "id": ("id", "utt_id"),
}
"""For each field, the names that its column may have, in upper or lower case. The first has priority."""

SEPARATORS = (",", ";", "\t")


def parse_columns(text: str) -> dict[str, str]:
    """Parse ``FIELD=COLUMN,…``, e.g. ``path=recording,language=lg``.

    Raises:
        LidError: a part is not of this form, or its field does not exist or is given twice.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, mark, column = (word.strip() for word in part.partition("="))
        if not mark or not column:
            raise LidError(f"'{part}' is not FIELD=COLUMN", where="columns", mend="e.g. path=recording")
        if field not in NAMES:
            raise LidError(f"unknown field '{field}'", where="columns", mend=nearest(field, NAMES))
        if field in chosen:
            raise LidError(f"field '{field}' is given twice", where="columns")
        chosen[field] = column
    return chosen


def find_columns(columns: Sequence[str], chosen: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the column of each field that a manifest has.

    Args:
        columns: the names of all its columns.
        chosen: the names of columns by field, where the user gave them.
        where: the line, for messages.

    Raises:
        LidError: several columns may be the same field.
    """
    found = {field: name for field, name in chosen.items() if name in columns}
    for field in NAMES.keys() - chosen.keys():
        own = [name for name in columns if name.lower() in NAMES[field] and name not in chosen.values()]
        own = [name for name in own if name.lower() == field] or own
        if len(own) > 1:
            mend = f"say which: columns {field}={own[0]}"
            raise LidError(f"both '{own[0]}' and '{own[1]}' may be the {field}", where=where, mend=mend)
        if own:
            found[field] = own[0]
    return found


def require_columns(
    found: Mapping[str, str], columns: Sequence[str], chosen: Mapping[str, str], where: str
) -> None:
    """Raise LidError unless the required columns and those that the user gave were found."""
    for field in (*REQUIRED, *chosen):
        if field not in found:
            name = chosen.get(field, field)
            other = f"name the column of the {field}: columns {field}=NAME"
            raise LidError(
                f"has no column '{name}'", where=where, mend=nearest(name, columns, otherwise=other)
            )


def separator_of(first_line: str, chosen: Mapping[str, str]) -> str:
    """Return the separator with which the first line has the required columns; by default, a comma."""
    for separator in SEPARATORS:
        columns = next(csv.reader([first_line], delimiter=separator), [])
        names = {name.lower() for name in columns}
        if all(chosen.get(field) in columns or names & {*NAMES[field]} for field in REQUIRED):
            return separator
    return SEPARATORS[0]
