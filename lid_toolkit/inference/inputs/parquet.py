"""Recordings in parquet files, as Hugging Face ``datasets`` writes them.

The column with audio has a structure of ``bytes`` (a file of any format) and ``path``; or it has bytes or
paths alone. See https://huggingface.co/docs/datasets/audio_dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lid_toolkit.errors import LidError, reason_of
from lid_toolkit.inference.inputs.item import Input, broken, text_of

ROWS = 16
BUFFER = 1 << 20
INSTALL = 'pip install "lid_toolkit[parquet]"'


def require_pyarrow(where: object) -> None:
    """Raise LidError if pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise LidError("parquet files need pyarrow", where=where, mend=INSTALL) from None


def read_parquet(path: Path) -> Iterator[Input]:
    """Yield the audio of each row; the id is ``FILE/ROW``, with rows counted from 0.

    Rows are read in small groups. Damage ends the file with an input that says so.

    Raises:
        LidError: pyarrow is not installed.
    """
    require_pyarrow(path)
    import pyarrow as pa
    from pyarrow import parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            column = _audio_column(file.schema_arrow)
            if column is None:
                yield broken(str(path), "has no column of audio", "name it 'audio'")
                return
            for batch in file.iter_batches(ROWS, columns=[column]):
                for value in batch.column(0):
                    yield _input(f"{path}/{row}", value.as_py(), path.parent)
                    row += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"broken parquet file: {reason_of(error).splitlines()[0]}, after {row} rows"
        yield broken(str(path), what, "copy it again")


def _audio_column(schema: Any) -> str | None:
    """Return the name of the column: ``audio``, else the first one with ``bytes`` and ``path``."""
    if "audio" in schema.names:
        return "audio"
    for field in schema:
        names = {inner.name for inner in field.type} if str(field.type).startswith("struct") else set()
        if {"bytes", "path"} <= names:
            return str(field.name)
    return None


def _input(name: str, value: object, folder: Path) -> Input:
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(content, str):
        content, path = None, content
    if isinstance(content, bytes):
        return Input(text_of(name), content)
    if isinstance(path, str) and path:
        return Input(text_of(name), str(folder / path))
    return broken(name, "the row has neither bytes nor a path")
