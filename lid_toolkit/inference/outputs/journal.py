"""The records of a run, one JSON object on each line, that survive the end of the run at any moment.

Beside an output ``DIR/NAME`` there is the folder ``DIR/.done/NAME`` with the run's lock, its settings and,
unless the output itself is JSON lines, its records:

    .lock           held by the run
    settings.json   what the answers depend on: the model, the policy, windows
    records.jsonl   the records, from which the output is written at the end
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole
from lid_toolkit.inference.inputs.item import Input
from lid_toolkit.inference.outputs.formats import JSON_LINES, WRITERS, require_writer

Row: TypeAlias = "dict[str, Any]"
"""A record: ``id``, then what :meth:`Prediction.as_dict` has."""

SYNC_S = 5.0
"""A power failure loses the records of at most this many seconds; a killed process loses none."""

BLOCK = 1 << 16


class Journal:
    """An open journal; see :func:`open_journal`."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path = path
        self._stream = stream
        self._synced = time.monotonic()

    def rows(self) -> Iterator[Row]:
        """Yield the records.

        Raises:
            LidError: a line is not a record.
        """
        with open(self.path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield _row(line, f"{self.path}:{number}")

    def add(self, row: Row) -> None:
        """Append a record."""
        self._stream.write(line_of(row).encode())
        self._stream.flush()
        if time.monotonic() - self._synced > SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Wait until the records are on the disk."""
        os.fsync(self._stream.fileno())
        self._synced = time.monotonic()


def continued(rows: Iterable[Row], inputs: Iterator[Input], output: Path) -> Iterator[Row]:
    """Yield the records of a run to continue, and take their inputs from ``inputs``.

    Raises:
        LidError: the inputs are not those of the records, in the same order.
    """
    for number, row in enumerate(rows, start=1):
        item = next(inputs, None)
        if item is None or item.id != row["id"]:
            now = "there is none" if item is None else f"it is '{item.id}'"
            what = f"input {number} was '{row['id']}', and now {now}"
            raise LidError(what, where=output, mend="give the same inputs in the same order")
        yield row


def line_of(row: Row) -> str:
    """Return a record as a line of JSON."""
    return json.dumps(row, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def open_journal(
    output: Path, settings: Mapping[str, object], resume: bool, unknown: str = "unknown"
) -> Iterator[Journal]:
    """Open the journal of an output; if all goes well until the end, write the output.

    Args:
        output: the file to write; its suffix says the format.
        settings: what the answers depend on, as values of JSON.
        resume: continue a run that was ended, if there is one. A torn last line is dropped.
        unknown: what stands for the language of an ``unknown`` input in every format but JSON lines.

    Raises:
        LidError: the suffix is not known, the output exists and is not to be continued, it was made with
            other settings, or another process is writing it.
    """
    require_writer(output)
    work = output.parent / ".done" / output.name
    is_journal = output.suffix.lower() == JSON_LINES
    path = output if is_journal else work / "records.jsonl"
    with locked(work, f"identification to {output.name}", "wait for it, or choose another output"):
        if not resume:
            _refuse_existing(output, path)
        if _has_content(path):
            _require_same(work / "settings.json", settings, output)
        elif _has_content(output):
            raise LidError("cannot be continued: its records are lost", where=output, mend="remove it")
        else:
            with write_whole(work / "settings.json") as record:
                json.dump(settings, record, ensure_ascii=False, indent=1)
        with open(path, "ab") as stream:
            _drop_torn_line(path)
            journal = Journal(path, stream)
            yield journal
            journal.sync()
        if not is_journal:
            WRITERS[output.suffix.lower()](_labelled(journal.rows(), unknown), output)


def _labelled(rows: Iterable[Row], unknown: str) -> Iterator[Row]:
    for row in rows:
        yield {**row, "language": unknown} if row["status"] == "unknown" else row


def _refuse_existing(output: Path, journal: Path) -> None:
    for path in (output, journal):
        if _has_content(path):
            what = "exists" if path == output else "has records of an earlier run"
            raise LidError(what, where=output, mend=f"add --resume to continue, or remove {path}")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _require_same(path: Path, settings: Mapping[str, object], output: Path) -> None:
    """Raise LidError if the settings of the run to continue are unknown or not these."""
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        what = "cannot be continued: its settings are lost"
        raise LidError(what, where=output, mend="remove it to identify again") from None
    now = json.loads(json.dumps(settings))
    if others := sorted(name for name in {**earlier, **now} if earlier.get(name) != now.get(name)):
        what = f"was written with another {' and '.join(others)}"
        raise LidError(what, where=output, mend="give the same options, or remove it")


def _drop_torn_line(path: Path) -> None:
    """Cut a file after its last line end."""
    with open(path, "r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - BLOCK)
            stream.seek(begin)
            place = stream.read(end - begin).rfind(b"\n")
            if place >= 0:
                stream.truncate(begin + place + 1)
                return
            end = begin
        stream.truncate(0)


def _row(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or "status" not in row:
        raise LidError("is not a record", where=where, mend="remove the file to identify again")
    return row
