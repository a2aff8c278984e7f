"""Read a user's own collection: one folder per language, or a manifest in CSV or JSON lines.

Two public layouts are recognised: ``audiofolder`` of Hugging Face's ``datasets``, which has ``metadata.csv``
or ``metadata.jsonl``, and that of Common Voice, which has ``validated.tsv`` and ``clips/``.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import soundfile

from lid_toolkit.audio import foreign
from lid_toolkit.audio.decoder import HEADERLESS
from lid_toolkit.errors import LidError, nearest, reason_of
from lid_toolkit.files import require_directory
from lid_toolkit.prepare.columns import NAMES, REQUIRED, find_columns, require_columns, separator_of

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
        speaker: the speaker's id without spaces, or ``""`` if it is not known.
    """

    path: str
    language: str
    name: str
    where: str
    start: float = 0.0
    end: float | None = None
    key: str = ""
    speaker: str = ""

    @property
    def is_part(self) -> bool:
        """Whether it is only a part of a recording."""
        return self.start > 0 or self.end is not None


def read_folder(
    folder: Path, speakers: bool = True, columns: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Item]:
    """Yield the recordings at any depth below ``folder/LANGUAGE/``, sorted by path.

    The folder below the language's is the speaker: ``folder/LANGUAGE/SPEAKER/…``. If the folder has the
    layout ``audiofolder`` or that of Common Voice, its manifests are read instead. Hidden files are skipped.
    Files that are not audio are skipped with one warning.

    Args:
        folder: the folder.
        speakers: whether folders below a language's are speakers.
        columns: see :func:`read_manifest`.

    Raises:
        LidError: the folder does not exist, a recording is not in a language's folder, or there are
            ``columns`` but no manifest.
    """
    require_directory(folder)
    folder = folder.absolute()
    if manifests := manifests_of(folder):
        for manifest in manifests:
            logging.info("reading %s", manifest)
            yield from read_manifest(manifest, columns)
        return
    if columns:
        raise LidError(
            "has no manifest, so there are no columns to name", where=folder, mend="leave columns out"
        )
    left_out: list[str] = []
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        place = Path(parent).relative_to(folder)
        speaker = speaker_id("-".join(place.parts[:2])) if speakers and len(place.parts) > 1 else ""
        for name in sorted(name for name in files if not name.startswith(".")):
            path = f"{parent}/{name}"
            if Path(name).suffix.lower() not in SUFFIXES:
                left_out.append(path)
            elif not place.parts:
                mend = f"move it to {folder}/LANGUAGE/"
                raise LidError("is not in a folder of a language", where=path, mend=mend)
            else:
                yield Item(path, place.parts[0], str(Path(*place.parts[1:], name)), path, speaker=speaker)
    if left_out:
        logging.warning(
            "%s: skipped %d files that are not audio, e.g. %s", folder, len(left_out), left_out[0]
        )


def manifests_of(folder: Path) -> list[Path]:
    """Return the manifests of a folder in the layout ``audiofolder`` or of Common Voice; else an empty list.

    ``audiofolder`` has ``metadata.csv`` or ``metadata.jsonl`` with ``file_name``. Common Voice has
    ``validated.tsv`` and ``clips/``, for one language, or in the folder of each language.

    Raises:
        LidError: the folder has both files of ``audiofolder``.
    """
    metadata = [
        path for path in (folder / "metadata.csv", folder / "metadata.jsonl") if _has_file_names(path)
    ]
    if len(metadata) > 1:
        raise LidError("has both metadata.csv and metadata.jsonl", where=folder, mend="remove one of them")
    tables = sorted(folder.glob("*/validated.tsv"))
    voices = [path for path in (folder / "validated.tsv", *tables) if (path.parent / "clips").is_dir()]
    return metadata or [path for path in voices if path.is_file()]


def _has_file_names(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8-sig") as stream:
            return "file_name" in stream.readline()
    except (OSError, UnicodeDecodeError):
        return False


def read_manifest(path: Path, columns: Mapping[str, str] = MappingProxyType({})) -> Iterator[Item]:
    """Yield the rows of a manifest in order: ``.csv`` or ``.tsv`` with a header, or one JSON object per line.

    Columns of a ``.csv`` are separated by commas, semicolons or tabs, and fields may be quoted. In a table
    with tabs, as in Common Voice, quotes inside a field are text.

    The fields are ``path`` (relative to the manifest, or to ``clips/`` beside one of Common Voice),
    ``language``, and optionally ``speaker``, ``start`` and ``end`` in seconds and ``id``;
    :data:`.columns.NAMES` has other names for them. Other columns are ignored with a warning.

    Args:
        path: the manifest.
        columns: the names of columns by field, where they are other ones.

    Raises:
        LidError: the file does not exist, its format is not supported, or a row is faulty (with
            ``file:line``).
    """
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, *JSON_SUFFIXES):
        raise LidError(
            f"'{suffix}' is not supported", where=path, mend=f"use {', '.join(DELIMITERS)} or .jsonl"
        )
    seen: dict[str, None] = {}
    used: set[str] = set()
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = _csv_rows(stream, path, columns) if suffix in DELIMITERS else _json_rows(stream, path)
            last: tuple[str, ...] = ()
            names: Mapping[str, str] = {}
            for line, row in rows:
                if tuple(row) != last:
                    last = tuple(row)
                    names = find_columns(last, columns, f"{path}:{line}")
                    seen.update(dict.fromkeys(row))
                    used.update(names.values())
                yield _item(row, names, path, f"{path}:{line}")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise LidError(reason_of(error).lower(), where=path) from None
    except UnicodeDecodeError:
        raise LidError("not UTF-8", where=path, mend="convert the file with iconv") from None
    if unseen := [name for name in columns.values() if seen and name not in seen]:
        raise LidError(f"no row has '{unseen[0]}'", where=path, mend=nearest(unseen[0], seen))
    if others := [name for name in seen if name not in used]:
        logging.warning("%s: ignored unknown fields: %s", path, ", ".join(others))


def _csv_rows(
    stream: IO[str], path: Path, chosen: Mapping[str, str]
) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the rows with the number of their first line. In a table with tabs, quotes are text.

    Spreadsheets quote whole fields there too; these quotes are removed.
    """
    first_line = next((line for line in stream if line.strip()), "")
    stream.seek(0)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else separator_of(first_line, chosen)
    fields: list[str] = []
    place = 0
    for line, values, lines in _csv_values(stream, path, delimiter):
        where = f"{path}:{line}"
        if not fields:
            fields = _columns(values, chosen, where)
            place = fields.index(find_columns(fields, chosen, where)["path"])
            continue
        if delimiter == "\t":
            values = [unquoted(value) for value in values]
        if len(values) != len(fields):
            raise LidError(f"has {len(values)} columns, but the first line has {len(fields)}", where=where)
        _refuse_swallowed(lines, delimiter, values, place, where)
        yield line, dict(zip(fields, values, strict=True))
    if not fields:
        _columns([], chosen, f"{path}:1")


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


def _columns(fields: list[str], chosen: Mapping[str, str], where: str) -> list[str]:
    """Return the names of the columns; raise LidError if one is missing, repeated or has two names."""
    fields = [name.strip() for name in fields]
    require_columns(find_columns(fields, chosen, where), fields, chosen, where)
    for name in fields:
        if fields.count(name) > 1:
            raise LidError(f"column '{name}' occurs twice", where=where, mend="rename or remove one")
    return fields


def _refuse_swallowed(
    lines: list[str], delimiter: str, values: Sequence[str], place: int, where: str
) -> None:
    """Raise LidError if lines that belong to a quoted field look like rows: then a quote was not closed.

    Example: ``a.wav,eng,"no end`` and ``b.wav,deu,the "end"`` are one row of three columns for a CSV reader.
    A line of text may have as many commas, but not the name of a recording in the place of the path.
    """
    suffixes = {*SUFFIXES, Path(values[place]).suffix.lower()}
    for line in lines[1:]:
        words = line.split(delimiter)
        if len(words) >= len(values) and Path(words[place].strip('" \r\n')).suffix.lower() in suffixes:
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


def _item(row: Mapping[str, object], names: Mapping[str, str], manifest: Path, where: str) -> Item:
    texts = {field: _text(row.get(names.get(field, "")), field, where) for field in NAMES}
    for field in REQUIRED:
        if not texts[field]:
            raise LidError(f"has no {field}", where=where)
    start = seconds_of(texts["start"], "start", where) or 0.0
    end = seconds_of(texts["end"], "end", where)
    if end is not None and end <= start:
        raise LidError(f"ends at {end:g} s, but starts at {start:g} s", where=where)
    if texts["id"] and len(texts["id"].split()) != 1:
        raise LidError(f"id '{texts['id']}' contains a space", where=where)
    name, speaker = texts["path"], speaker_id(texts["speaker"])
    path = _folder_of(manifest, names) / name
    return Item(str(path), texts["language"], name, where, start, end, texts["id"], speaker)


def _text(value: object, field: str, where: str) -> str:
    if isinstance(value, dict | list):
        raise LidError(f"the {field} is not a text or a number", where=where)
    return "" if value is None else str(value).strip()


def _folder_of(manifest: Path, names: Mapping[str, str]) -> Path:
    """Return the folder in which paths start: in Common Voice ``clips/``, which its tables do not name."""
    folder = manifest.absolute().parent
    is_common_voice = names.get("speaker") == "client_id" and (folder / "clips").is_dir()
    return folder / "clips" if is_common_voice else folder


def speaker_id(name: str) -> str:
    """Return the id of a speaker: the name with ``_`` instead of white space."""
    return re.sub(r"\s+", "_", name.strip())


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
