"""Read a user's own collection: one folder per language, or a manifest in CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import soundfile

from lid_toolkit.audio import foreign
from lid_toolkit.audio.decoder import HEADERLESS
from lid_toolkit.errors import LidError, nearest, reason_of
from lid_toolkit.files import require_directory

REQUIRED, OPTIONAL = ("path", "language"), ("start", "end", "id")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
SUFFIXES = frozenset(f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW") | {
    *HEADERLESS,
    *foreign.SUFFIXES,
    ".aif",
    ".opus",
    ".oga",
    ".sph",
}
"""Suffixes of the files in a folder that count as recordings."""


@dataclass(frozen=True)
class Item:
    """An utterance as the folder or manifest describes it.

    Attributes:
        path: absolute path of the recording.
        language: its label.
        name: the recording's path below the language's folder, or as in the manifest; used to make an id.
        where: the line of the manifest, or the recording, for messages.
        start: start in the recording in seconds.
        end: end in the recording in seconds; None for the recording's end.
        key: the id from the manifest, or ``""``.
    """

    path: str
    language: str
    name: str
    where: str
    start: float = 0.0
    end: float | None = None
    key: str = ""

    @property
    def is_part(self) -> bool:
        """Whether it is only a part of a recording."""
        return self.start > 0 or self.end is not None


def read_folder(folder: Path) -> Iterator[Item]:
    """Yield the recordings at any depth below ``folder/LANGUAGE/``, sorted by path.

    Hidden files are skipped. Files that are not audio are skipped with one warning.

    Raises:
        LidError: the folder does not exist, or a recording is not in a language's folder.
    """
    require_directory(folder)
    folder = folder.absolute()
    left_out: list[str] = []
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        place = Path(parent).relative_to(folder)
        for name in sorted(name for name in files if not name.startswith(".")):
            path = f"{parent}/{name}"
            if Path(name).suffix.lower() not in SUFFIXES:
                left_out.append(path)
            elif not place.parts:
                mend = f"move it to {folder}/LANGUAGE/"
                raise LidError("is not in a folder of a language", where=path, mend=mend)
            else:
                yield Item(path, place.parts[0], str(Path(*place.parts[1:], name)), path)
    if left_out:
        logging.warning(
            "%s: skipped %d files that are not audio, e.g. %s", folder, len(left_out), left_out[0]
        )


def read_manifest(path: Path) -> Iterator[Item]:
    """Yield the rows of a manifest in order: ``.csv`` or ``.tsv`` with a header, or one JSON object per line.

    ``.csv`` may have quoted fields; in ``.tsv``, as in Common Voice, quotes inside a field are text.

    The fields are ``path`` (relative to the manifest), ``language``, and optionally ``start`` and ``end`` in
    seconds and ``id``. Others are ignored with a warning.

    Raises:
        LidError: the file does not exist, its format is not supported, or a row is faulty (with
            ``file:line``).
    """
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, *JSON_SUFFIXES):
        raise LidError(
            f"'{suffix}' is not supported", where=path, mend=f"use {', '.join(DELIMITERS)} or .jsonl"
        )
    others: dict[str, None] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = (
                _csv_rows(stream, path, DELIMITERS[suffix])
                if suffix in DELIMITERS
                else _json_rows(stream, path)
            )
            for line, row in rows:
                others.update(dict.fromkeys(name for name in row if name not in (*REQUIRED, *OPTIONAL)))
                yield _item(row, path, f"{path}:{line}")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise LidError(reason_of(error).lower(), where=path) from None
    except UnicodeDecodeError:
        raise LidError("not UTF-8", where=path, mend="convert the file with iconv") from None
    if others:
        logging.warning("%s: ignored unknown fields: %s", path, ", ".join(others))


def _csv_rows(stream: IO[str], path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the rows with the number of their first line. In a table with tabs, quotes are text.

    Spreadsheets quote whole fields there too; these quotes are removed.
    """
    fields: list[str] = []
    for line, values, lines in _csv_values(stream, path, delimiter):
        where = f"{path}:{line}"
        if not fields:
            fields = _columns(values, where)
            continue
        if delimiter == "\t":
            values = [unquoted(value) for value in values]
        if len(values) != len(fields):
            raise LidError(f"has {len(values)} columns, but the first line has {len(fields)}", where=where)
        row = dict(zip(fields, values, strict=True))
        _refuse_swallowed(lines, delimiter, row, where)
        yield line, row
    if not fields:
        _columns([], f"{path}:1")


def _csv_values(stream: IO[str], path: Path, delimiter: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield the number of each row's first line, its values, and its lines; several if a field is quoted."""
    read: list[str] = []

    def lines() -> Iterator[str]:
        for line in stream:
            read.append(line)
            yield line

    if delimiter == "\t":
        reader = csv.reader(lines(), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    first = 1
    try:
        for values in reader:
            if values:
                yield first, values, read
            first += len(read)
            read.clear()
    except csv.Error as error:
        mend = "check the quotes of this row"
        raise LidError(f"not CSV: {error}", where=f"{path}:{first}", mend=mend) from None


def unquoted(value: str) -> str:
    """Return a field of a table with tabs without the quotes that a spreadsheet puts around it."""
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1].replace('""', '"') if is_quoted else value


def _columns(fields: list[str], where: str) -> list[str]:
    """Return the names of the columns; raise LidError if one is missing or repeated."""
    for name in REQUIRED:
        if name not in fields:
            mend = nearest(name, fields, otherwise="the first line names the columns")
            raise LidError(f"has no column '{name}'", where=where, mend=mend)
    for name in fields:
        if fields.count(name) > 1:
            raise LidError(f"column '{name}' occurs twice", where=where, mend="rename or remove one")
    return fields


def _refuse_swallowed(lines: list[str], delimiter: str, row: Mapping[str, str], where: str) -> None:
    """Raise LidError if lines that belong to a quoted field look like rows: then a quote was not closed.

    Example: ``a.wav,eng,"no end`` and ``b.wav,deu,the "end"`` are one row of three columns for a CSV reader.
    A line of text may have as many commas, but not the name of a recording in the place of the path.
    """
    place = [*row].index("path")
    suffixes = {*SUFFIXES, Path(row["path"]).suffix.lower()}
    for line in lines[1:]:
        values = line.split(delimiter)
        if len(values) >= len(row) and Path(values[place].strip('" \r\n')).suffix.lower() in suffixes:
            raise LidError(
                f"a quote of this row closes {len(lines) - 1} lines later, after what looks like another row",
                where=where,
                mend="close the quote, or write it twice where it is part of a text",
            )


def _json_rows(stream: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise LidError(
                f"not JSON: {error}", where=f"{path}:{line}", mend="write one object per line"
            ) from None
        if not isinstance(row, dict):
            raise LidError(
                "not a JSON object", where=f"{path}:{line}", mend='e.g. {"path": …, "language": …}'
            )
        yield line, row


def _item(row: Mapping[str, object], manifest: Path, where: str) -> Item:
    texts = {name: "" if row.get(name) is None else str(row[name]).strip() for name in (*REQUIRED, *OPTIONAL)}
    for name in REQUIRED:
        if not texts[name]:
            raise LidError(f"has no {name}", where=where)
    start = seconds_of(texts["start"], "start", where) or 0.0
    end = seconds_of(texts["end"], "end", where)
    if end is not None and end <= start:
        raise LidError(f"ends at {end:g} s, but starts at {start:g} s", where=where)
    if texts["id"] and len(texts["id"].split()) != 1:
        raise LidError(f"id '{texts['id']}' contains a space", where=where)
    name = texts["path"]
    path = manifest.absolute().parent / name
    return Item(str(path), texts["language"], name, where, start, end, texts["id"])


def seconds_of(text: str, name: str, where: str) -> float | None:
    """Parse a time in seconds; an empty one is None.

    Raises:
        LidError: it is not a number of at least 0; the message has ``name`` and ``where``.
    """
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise LidError(f"{name} '{text}' is not a number of seconds", where=where)
    return seconds
