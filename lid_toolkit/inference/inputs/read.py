"""From the words of a command line to a stream of inputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from lid_toolkit.errors import LidError, reason_of
from lid_toolkit.inference.inputs.item import Input, broken, is_recording, text_of
from lid_toolkit.inference.inputs.lists import read_data_dir, read_paths, read_rows, read_scp
from lid_toolkit.inference.inputs.parquet import read_parquet
from lid_toolkit.inference.inputs.tar import TAR_SUFFIXES, read_tar
from lid_toolkit.prepare.manifest import DELIMITERS, JSON_SUFFIXES

STANDARD_INPUT = "-"

LISTS: Mapping[str, Callable[[BinaryIO, str], Iterator[Input]]] = {
    ".txt": read_paths,
    ".scp": read_scp,
    **dict.fromkeys((*DELIMITERS, *JSON_SUFFIXES), lambda stream, name: read_rows(stream, Path(name))),
}
PARQUET = ".parquet"


def read_inputs(words: Iterable[str], standard_input: BinaryIO) -> Iterator[Input]:
    """Yield the recordings that each word names, in order.

    Args:
        words: recordings; folders, which are searched at any depth, in order of names; data directories;
            lists (``.scp``, ``.txt``, ``.csv``, ``.tsv``, ``.jsonl``); tar shards; parquet files; ``-`` for
            paths on standard input.
        standard_input: what ``-`` reads.

    Raises:
        LidError: a parquet file is named, and pyarrow is not installed.
    """
    for word in words:
        if word == STANDARD_INPUT:
            yield from read_paths(standard_input, STANDARD_INPUT)
        elif os.path.isdir(word):  # noqa: PTH112  # of a Path, it raises for a name that is too long
            yield from _read_folder(Path(word))
        else:
            yield from _read_file(word)


def _read_file(name: str) -> Iterator[Input]:
    path, lower = Path(name), name.lower()
    if lower.endswith(TAR_SUFFIXES):
        yield from read_tar(path)
    elif lower.endswith(PARQUET):
        yield from read_parquet(path)
    elif read := LISTS.get(path.suffix.lower()):
        try:
            with open(path, "rb") as stream:
                yield from read(stream, name)
        except (OSError, ValueError) as error:
            yield broken(name, reason_of(error))
    else:
        yield Input(text_of(name), name)


def _read_folder(folder: Path) -> Iterator[Input]:
    if (folder / "wav.scp").is_file():
        try:
            yield from read_data_dir(folder)
        except (LidError, OSError) as error:
            yield broken(str(folder), str(error) if isinstance(error, LidError) else reason_of(error))
        return
    found, closed = False, list[OSError]()
    for place, subfolders, files in os.walk(folder, onerror=closed.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            if is_recording(name) or name.lower().endswith((*TAR_SUFFIXES, PARQUET)):
                found = True
                yield from _read_file(os.path.join(place, name))  # noqa: PTH118  # Path would drop "./"
    for fault in closed:
        yield broken(str(fault.filename), reason_of(fault))
    if not found and not closed:
        yield broken(str(folder), "the folder has no recordings")
