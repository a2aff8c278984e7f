"""Speed perturbation of a data directory: a table stores the factors, and formatting changes the audio.

Copies at 0.9, 1 and 1.1 times the speed, as in Ko et al., "Audio augmentation for speech recognition",
Interspeech 2015. Their ids are those of Kaldi's ``utils/data/perturb_data_dir_speed.sh``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lid_toolkit.datadir.datadir import (
    DataDir,
    by_language,
    lang2utt_blocks,
    read_data_dir,
    require_two_dirs,
    table_paths,
    write_tables,
)
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError
from lid_toolkit.files import require_directory
from lid_toolkit.steps import Step

SLOWEST, FASTEST = 0.1, 10.0


def parse_factors(text: str) -> tuple[str, ...]:
    """Parse factors separated by spaces into their shortest form, e.g. ``("0.9", "1", "1.1")``.

    Raises:
        LidError: there is no factor, or a factor is not a number from 0.1 to 10 or is given twice.
    """
    where, example = "speed factors", "e.g. 0.9 1.0 1.1"
    factors: list[str] = []
    for word in text.split():
        if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", word) or not SLOWEST <= float(word) <= FASTEST:
            raise LidError(f"'{word}' is not a number from 0.1 to 10", where=where, mend=example)
        factor = f"{float(word):g}"
        if factor in factors:
            raise LidError(f"{word} is given twice", where=where, mend="remove one")
        factors.append(factor)
    if not factors:
        raise LidError("at least one factor is needed", where=where, mend=example)
    return tuple(factors)


def perturb_data_dir(source: Path, target: Path, factors: tuple[str, ...], dry_run: bool = False) -> None:
    """Write ``target`` with a copy of the utterances of ``source`` for each factor.

    The ids of copies begin with ``sp0.9-``, except for factor 1. Speaker ids have the same prefix, since a
    voice at another speed is another voice. The copies refer to the original recordings, with the times in
    ``segments`` unchanged; the table ``utt2speed`` contains the factors, which formatting applies.

    Raises:
        LidError: the source is not valid or is already speed-perturbed, or ``target`` is ``source``.
    """
    require_two_dirs(source, target)
    step = Step(
        f"perturb speed of {source.name}",
        target / ".done" / "perturb_speed.json",
        table_paths(source),
        {"factors": list(factors)},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    require_directory(source)  # before the lock creates the target
    with step.work("perturbing speed", lock=target) as work:
        if work is None:
            return
        data = read_data_dir(source)
        prefixes = {factor: b"" if factor == "1" else f"sp{factor}-".encode() for factor in factors}
        _check_original(data, prefixes)
        work.finish(write_tables(target, _tables(data, prefixes)))


def _check_original(data: DataDir, prefixes: Mapping[str, bytes]) -> None:
    """Raise LidError if the directory, or an utterance in it, is a perturbed copy."""
    if data.utt2speed is not None:
        raise LidError("is speed-perturbed already", where=data.path, mend="use the original directory")
    keys = data.utt2lang
    for prefix in filter(None, prefixes.values()):
        row = keys.bisect(prefix)
        if row < len(keys) and keys.key(row).encode().startswith(prefix):
            raise LidError(
                f"utterance '{keys.key(row)}' has the name of a speed-perturbed copy",
                where=data.path,
                mend="use the original directory",
            )


def _tables(data: DataDir, prefixes: Mapping[str, bytes]) -> dict[str, Iterator[bytes]]:
    """Return the text of each table of the perturbed directory, in pieces."""
    whole_row = rb"([^ \n]+) ([^\n]+)\n"

    def keep(block: bytes, _: str, prefix: bytes) -> bytes:
        return prefix + block[:-1].replace(b"\n", b"\n" + prefix) + b"\n"

    def speaker(block: bytes, _: str, prefix: bytes) -> bytes:
        return re.sub(whole_row, prefix + rb"\1 " + prefix + rb"\2\n", block)

    def speed(block: bytes, factor: str, prefix: bytes) -> bytes:
        return re.sub(whole_row, prefix + rb"\1 " + factor.encode() + rb"\n", block)

    changes = {"utt2spk": speaker}
    tables = {
        name: _copies(table, prefixes, changes.get(name, keep))
        for name, table in data.tables.items()
        if data.segments is None or name != "wav.scp"
    }
    if data.segments is not None:
        tables["wav.scp"] = data.wav_scp.blocks()
    copies = (
        (label, Table.of_blocks(_copies(rows, prefixes, keep))) for label, rows in by_language(data.utt2lang)
    )
    return {
        **tables,
        "lang2utt": lang2utt_blocks(copies),
        "utt2speed": _copies(data.utt2lang, prefixes, speed),
    }


def _copies(
    table: Table, prefixes: Mapping[str, bytes], change: Callable[[bytes, str, bytes], bytes]
) -> Iterator[bytes]:
    """Yield the rows of all copies in key order; ``change`` is applied to each block of rows of a copy.

    The keys of a copy are consecutive: they begin with its prefix, and no original key does.
    """
    marked = sorted((prefix, factor) for factor, prefix in prefixes.items() if prefix)
    at = 0
    for prefix, factor in marked:
        if "1" in prefixes:
            cut = table.bisect(prefix)
            yield from (change(block, "1", b"") for block in table.blocks(at, cut))
            at = cut
        yield from (change(block, factor, prefix) for block in table.blocks())
    if "1" in prefixes:
        yield from (change(block, "1", b"") for block in table.blocks(at))
