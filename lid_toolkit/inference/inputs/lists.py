"""Lists of recordings: ``wav.scp``, paths, and tables in CSV, TSV or JSON lines. A line gives one input.

A faulty line gives an input with its fault. Therefore a line is a row: a quoted field of a CSV file may not
contain a line break, because a quote that is not closed would swallow the following rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from lid_toolkit.audio.reader import AudioError, audio_info
from lid_toolkit.audio.references import is_pipe
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.inference.inputs.item import Input, broken, text_of
from lid_toolkit.prepare.manifest import DELIMITERS, seconds_of, unquoted

LONGEST_LINE = 1 << 20
"""Longest line in bytes: a file without line ends is not read whole."""

COLUMNS = ("path", "start", "end", "id")


def lines(stream: BinaryIO, name: str) -> Iterator[tuple[str, str | Input]]:
    """Yield ``name:number`` and the text of each line that is not blank, or the input of a line too long.

    Bytes that are not UTF-8 are kept as surrogates, because a path may contain them.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        where = f"{name}:{number}"
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield where, broken(where, f"the line is longer than {LONGEST_LINE >> 20} MiB")
            continue
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if number == 1:
            text = text.removeprefix("\ufeff")
        if text.strip():
            yield where, text


def read_paths(stream: BinaryIO, name: str) -> Iterator[Input]:
    """Yield the path on each line, relative to the current directory."""
    for _, text in lines(stream, name):
        yield text if isinstance(text, Input) else Input(text_of(text.strip()), text.strip())


def read_scp(stream: BinaryIO, name: str) -> Iterator[Input]:
    """Yield the recordings of a ``wav.scp``; paths are relative to the current directory."""
    for where, text in lines(stream, name):
        yield text if isinstance(text, Input) else _scp_input(where, text)


def _scp_input(where: str, text: str) -> Input:
    key, *rest = text.split(maxsplit=1)
    ref = "".join(rest).strip()
    if not ref:
        return broken(where, "the line has no path", "give an id and a path")
    if is_pipe(ref):
        return broken(key, "is a command, which is not run", "format the directory, or save the audio")
    return Input(text_of(key), ref)


def read_data_dir(directory: Path) -> Iterator[Input]:
    """Yield the utterances of a data directory: those of ``segments`` if there is one, else of ``wav.scp``.

    Raises:
        LidError: there are segments, and ``wav.scp`` is not a valid table.
    """
    segments = directory / "segments"
    if not segments.exists():
        with open(directory / "wav.scp", "rb") as stream:
            yield from read_scp(stream, str(directory / "wav.scp"))
        return
    recordings = read_table(directory / "wav.scp")
    with open(segments, "rb") as stream:
        for where, text in lines(stream, str(segments)):
            if isinstance(text, Input):
                yield text
                continue
            words = text.split()
            if len(words) < 4 or words[1] not in recordings:
                what = "the line is not an id, a recording in wav.scp, a start and an end"
                yield broken(where, what)
                continue
            row = {"path": recordings[words[1]], "id": words[0], "start": words[2], "end": words[3]}
            yield _row_input(row, Path(), where)


def read_rows(stream: BinaryIO, path: Path) -> Iterator[Input]:
    """Yield the rows of a table with the fields ``path``, and optionally ``start``, ``end`` and ``id``.

    ``.csv`` and ``.tsv`` name their columns on the first line; in ``.tsv``, quotes inside a field are text.
    ``.jsonl`` has an object on each line. Paths are relative to the table.
    """
    rows = lines(stream, str(path))
    delimiter = DELIMITERS.get(path.suffix.lower())
    columns: list[str] = []
    for where, text in rows:
        if isinstance(text, Input):
            yield text
            continue
        try:
            if delimiter is None:
                row = _json_row(text)
            elif not columns:
                columns = _values(text, delimiter)
                if "path" not in columns:
                    raise LidError("the first line has no column 'path'", mend="it must name the columns")
                continue
            else:
                row = _named(_values(text, delimiter), columns)
        except LidError as error:
            yield broken(where, error.what, error.mend)
            if delimiter is not None and "path" not in columns:
                return
        else:
            yield _row_input(row, path.parent, where)


def _values(line: str, delimiter: str) -> list[str]:
    if delimiter == "\t":
        return [unquoted(value) for value in line.split(delimiter)]
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:
        what = "not CSV: a quote is not closed, or text follows it"
        raise LidError(what, mend="a row must be on one line") from None


def _named(values: list[str], columns: list[str]) -> Mapping[str, object]:
    if len(values) != len(columns):
        raise LidError(f"has {len(values)} columns, but the first line has {len(columns)}")
    return dict(zip(columns, values, strict=True))


def _json_row(line: str) -> Mapping[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise LidError("not JSON", mend="write one object on each line") from None
    if not isinstance(row, dict):
        raise LidError("not a JSON object", mend='e.g. {"path": "a.wav"}')
    return row


def _row_input(row: Mapping[str, object], folder: Path, where: str) -> Input:
    """Return the input of a row; its id is ``id``, else the path, with the times if there are any."""
    path, start, end, key = ("" if row.get(name) is None else str(row[name]).strip() for name in COLUMNS)
    if not path:
        return broken(where, "has no path")
    is_part = bool(start or end)
    name = key or (f"{path}:{start or 0}-{end or 'end'}" if is_part else path)
    try:
        start_s = seconds_of(start, "start", where) or 0.0
        end_s = seconds_of(end, "end", where)
    except LidError as error:
        return broken(name, error.what)
    if is_pipe(path):
        return broken(name, "is a command, which is not run")
    place = str(folder / path)
    return _part(name, place, start_s, end_s) if is_part else Input(text_of(name), place)


def _part(name: str, place: str, start_s: float, end_s: float | None) -> Input:
    """Return the input of a part of a recording, whose header says where it ends if the row does not."""
    if end_s is None:
        try:
            info = audio_info(place)
        except AudioError as error:
            return broken(name, error.what, error.mend)
        end_s = info.num_samples / info.rate
    if end_s <= start_s:
        return broken(name, f"ends at {end_s:g} s, but starts at {start_s:g} s")
    return Input(text_of(name), (place, start_s, end_s))
