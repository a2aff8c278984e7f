"""Records on standard output: columns for people, JSON lines for programs."""

from __future__ import annotations

import sys
from typing import Any

from lid_toolkit.inference.outputs.journal import line_of

ID_WIDTH, NAME_WIDTH = 40, 20


def print_json(row: dict[str, Any]) -> None:
    """Print a record as a line of JSON."""
    sys.stdout.write(line_of(row))
    sys.stdout.flush()


def print_columns(row: dict[str, Any]) -> None:
    """Print a record as columns: id, language, its name, the scores, seconds; why it has no language."""
    sys.stdout.write(columns_of(row) + "\n")
    sys.stdout.flush()


def columns_of(row: dict[str, Any]) -> str:
    """Return a record as a line for people."""
    seconds = "" if row["duration"] is None else f"{row['duration']:.1f} s"
    name = row["name"] or ""
    if row["language"] is None:
        about = row["reason"] or ""
    else:
        about = "  ".join(f"{label} {score:.3f}" for label, score in row["scores"].items())
    key = row["id"] if len(row["id"]) <= ID_WIDTH else "…" + row["id"][1 - ID_WIDTH :]
    answer = row["language"] or row["status"]
    return (
        f"{key:<{ID_WIDTH}}  {answer:<9}  {name[:NAME_WIDTH]:<{NAME_WIDTH}}  {seconds:>9}  {about}".rstrip()
    )
