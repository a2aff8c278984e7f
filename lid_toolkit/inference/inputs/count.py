"""How many inputs the words of a command line name, where that is quick to find out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lid_toolkit.inference.inputs.item import is_recording
from lid_toolkit.inference.inputs.lists import lines
from lid_toolkit.inference.inputs.read import LISTS, PARQUET, STANDARD_INPUT
from lid_toolkit.inference.inputs.tar import TAR_SUFFIXES
from lid_toolkit.prepare.manifest import DELIMITERS


def count_inputs(words: Iterable[str]) -> int | None:
    """Return the number of inputs; None if standard input or a tar shard is among them, or one is broken.

    Arguments are those of :func:`lid_toolkit.inference.inputs.read.read_inputs`. Only names are read.
    """
    try:
        counts = [_count(word) for word in words]
    except (OSError, ValueError):
        return None
    return None if None in counts else sum(filter(None, counts))


def _count(word: str) -> int | None:
    path, lower = Path(word), word.lower()
    if word == STANDARD_INPUT or lower.endswith(TAR_SUFFIXES):
        return None
    if path.is_dir():
        return _count_folder(path)
    if lower.endswith(PARQUET):
        from pyarrow import parquet as pq

        return int(pq.read_metadata(path).num_rows)
    if path.suffix.lower() not in LISTS:
        return 1
    with open(path, "rb") as stream:
        return sum(1 for _ in lines(stream, word)) - (path.suffix.lower() in DELIMITERS)


def _count_folder(folder: Path) -> int | None:
    for name in ("segments", "wav.scp"):
        if (folder / "wav.scp").is_file() and (folder / name).is_file():
            with open(folder / name, "rb") as stream:
                return sum(1 for _ in lines(stream, name))
    count = 0
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            if is_recording(name):
                count += 1
            elif not name.startswith(".") and name.lower().endswith((*TAR_SUFFIXES, PARQUET)):
                within = _count(os.path.join(place, name))  # noqa: PTH118
                if within is None:
                    return None
                count += within
    return count
