"""Formats of records in files: CSV, TSV, parquet and RTTM."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.inputs.parquet import require_pyarrow

Rows: TypeAlias = "Iterable[dict[str, Any]]"

JSON_LINES = ".jsonl"
PARQUET = ".parquet"
COLUMNS = (
    *("id", "status", "language", "name", "score", "margin", "duration", "speech_seconds", "windows"),
    *("vad", "reason", "scores", "segments"),
)
"""Columns of a table. ``scores`` and ``segments`` are JSON in CSV and TSV."""

GROUP = 4096
"""Rows of a group in a parquet file, which is kept in memory."""


def require_writer(output: Path) -> None:
    """Raise LidError if the suffix of a file is not that of a format, or the format's package is missing."""
    suffix = output.suffix.lower()
    if suffix not in (JSON_LINES, *WRITERS):
        known = ", ".join((JSON_LINES, *WRITERS))
        raise LidError(f"unknown format '{suffix}'", where=output, mend=f"use {known}")
    if suffix == PARQUET:
        require_pyarrow(output)


def write_csv(rows: Rows, output: Path) -> None:
    """Write a table with commas, quoted where necessary (RFC 4180)."""
    _write_delimited(rows, output, ",")


def write_tsv(rows: Rows, output: Path) -> None:
    """Write a table with tabs, quoted as in CSV where necessary."""
    _write_delimited(rows, output, "\t")


def _write_delimited(rows: Rows, output: Path, delimiter: str) -> None:
    with write_whole(output) as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_cell(row.get(name)) for name in COLUMNS] for row in rows)


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def write_parquet(rows: Rows, output: Path) -> None:
    """Write a parquet file: ``scores`` is a map, ``segments`` a list of structures.

    Raises:
        LidError: pyarrow is not installed.
    """
    require_pyarrow(output)
    import pyarrow as pa
    from pyarrow import parquet as pq

    text, number = pa.string(), pa.float64()
    segment = pa.struct([("start", number), ("end", number), ("language", text), ("score", number)])
    kinds = {
        **dict.fromkeys(COLUMNS, text),
        **dict.fromkeys(("score", "margin", "duration", "speech_seconds"), number),
        **{"windows": pa.int64(), "scores": pa.map_(text, number), "segments": pa.list_(segment)},
    }
    schema = pa.schema([(name, kinds[name]) for name in COLUMNS])
    with write_whole(output, "wb") as stream, pq.ParquetWriter(stream, schema) as writer:
        for group in _groups(rows):
            plain = [{**row, "scores": list((row.get("scores") or {}).items())} for row in group]
            writer.write_table(pa.Table.from_pylist(plain, schema))


def _groups(rows: Rows) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while group := list(itertools.islice(remaining, GROUP)):
        yield group


def write_rttm(rows: Rows, output: Path) -> None:
    """Write the segments in NIST's Rich Transcription Time Marked format; see :func:`rttm_lines`."""
    with write_whole(output) as stream:
        for row in rows:
            stream.write(rttm_lines(row))


def rttm_lines(row: Mapping[str, Any]) -> str:
    """Return the segments of a record in NIST's Rich Transcription Time Marked format.

    A line is ``SPEAKER id 1 start duration <NA> <NA> language score <NA>``: tools for diarization read the
    language as they would a speaker. An input without segments has one from its begin to its end, and one
    without a language has none. Spaces and other special characters in an id are written as ``%20``.

    Source: NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan", appendix A.
    """
    name = quote(row["id"], safe="/:.,+-_~=@#[]()")
    return "".join(
        f"SPEAKER {name} 1 {part['start']:.3f} {part['end'] - part['start']:.3f} <NA> <NA> "
        f"{part['language']} {part['score']:.4f} <NA>\n"
        for part in row.get("segments") or _whole(row)
    )


def _whole(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    if row.get("language") is None or row.get("duration") is None:
        return []
    return [{"start": 0.0, "end": row["duration"], "language": row["language"], "score": row["score"]}]


WRITERS: Mapping[str, Callable[[Rows, Path], None]] = {
    ".csv": write_csv,
    ".tsv": write_tsv,
    PARQUET: write_parquet,
    ".rttm": write_rttm,
}
