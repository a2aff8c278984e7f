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

from lid_toolkit.audio.decoder import HEADERLESS
from lid_toolkit.errors import LidError, nearest

REQUIRED, OPTIONAL = ("path", "language"), ("start", "end", "id")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
SUFFIXES = frozenset(f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW") | {
    *HEADERLESS,
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
    if not folder.is_dir():
        raise LidError("no such folder", where=folder)
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
        raise LidError((error.strerror or "cannot be read").lower(), where=path) from None
    except UnicodeDecodeError:
        raise LidError("not UTF-8", where=path, mend="convert the file with iconv") from None
    if others:
        logging.warning("%s: ignored unknown fields: %s", path, ", ".join(others))


def _csv_rows(stream: IO[str], path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
    try:
        fields = reader.fieldnames or []
        for name in REQUIRED:
            if name not in fields:
                mend = nearest(name, fields, otherwise="the first line names the columns")
                raise LidError(f"has no column '{name}'", where=f"{path}:1", mend=mend)
        for row in reader:
            if None in row or None in row.values():
                raise LidError(f"must have {len(fields)} columns", where=f"{path}:{reader.line_num}")
            yield reader.line_num, row
    except csv.Error as error:
        raise LidError(f"not CSV: {error}", where=f"{path}:{reader.line_num}") from None


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
    start = _seconds(texts["start"], "start", where) or 0.0
    end = _seconds(texts["end"], "end", where)
    if end is not None and end <= start:
        raise LidError(f"ends at {end:g} s, but starts at {start:g} s", where=where)
    if texts["id"] and len(texts["id"].split()) != 1:
        raise LidError(f"id '{texts['id']}' contains a space", where=where)
    name = texts["path"]
    path = manifest.absolute().parent / name
    return Item(str(path), texts["language"], name, where, start, end, texts["id"])


def _seconds(text: str, name: str, where: str) -> float | None:
    """Parse a time; an empty one is None."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise LidError(f"{name} '{text}' is not a number of seconds", where=where)
    return seconds
