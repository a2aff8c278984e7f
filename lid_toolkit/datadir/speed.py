"""Speed perturbation of a data directory (stage 2): the factor is noted, audio is left to stage 3.

Copies at 0.9, 1 and 1.1 times the speed as in Ko et al., "Audio augmentation for speech
recognition", Interspeech 2015; ids as Kaldi's ``utils/data/perturb_data_dir_speed.sh`` makes them.
"""

from __future__ import annotations

import re
from pathlib import Path

from lid_toolkit.datadir.datadir import DataDir, read_data_dir, table_paths, write_data_dir
from lid_toolkit.datadir.tables import Table, merge_tables, table_from_pairs
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked
from lid_toolkit.steps import Step

SLOWEST, FASTEST = 0.1, 10.0


def parse_factors(text: str) -> tuple[str, ...]:
    """Parse factors separated by blanks into their shortest form, e.g. ``("0.9", "1", "1.1")``.

    Raises:
        LidError: none, not a number, outside 0.1 to 10, or given twice.
    """
    factors: list[str] = []
    for word in text.split():
        if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", word) or not SLOWEST <= float(word) <= FASTEST:
            raise LidError(
                f"'{word}' is not a factor from 0.1 to 10", where="--factors", mend='e.g. "0.9 1.0 1.1"'
            )
        factor = f"{float(word):g}"
        if factor in factors:
            raise LidError(f"factor {word} comes twice", where="--factors", mend="leave one out")
        factors.append(factor)
    if not factors:
        raise LidError("no factor", where="--factors", mend='e.g. "0.9 1.0 1.1"')
    return tuple(factors)


def perturb_data_dir(source: Path, target: Path, factors: tuple[str, ...], dry_run: bool = False) -> None:
    """Write ``target``: the utterances of ``source`` once for each factor, other than 1 prefixed ``sp0.9-``.

    The copies refer to the original recordings, and ``segments`` keeps their times; the table
    ``utt2speed`` holds the factors, which stage 3 applies. Speakers are prefixed like utterances:
    a voice at another speed is another voice.

    Raises:
        LidError: a faulty source, one that is perturbed already, or ``target`` being ``source``.
    """
    if source.resolve() == target.resolve():
        raise LidError("source and target are one directory", where=target)
    step = Step(
        f"perturb speed of {source.name}",
        target / ".done" / "perturb_speed.json",
        table_paths(source),
        {"factors": list(factors)},
    )
    if not step.due(dry_run):
        return
    _ = step.digests  # before reading: what changes from here on makes the step stale
    data = read_data_dir(source)
    if data.utt2speed is not None:
        raise LidError("is speed-perturbed already", where=source, mend="give the original directory")
    with locked(target, "perturbing speed"):
        step.finish(_write(data, target, factors))


def _write(data: DataDir, target: Path, factors: tuple[str, ...]) -> list[Path]:
    prefixes = {factor: "" if factor == "1" else f"sp{factor}-" for factor in factors}

    def copies(table: Table) -> Table:
        return merge_tables([table.prefixed(prefix) for prefix in prefixes.values()], target)

    tables = {
        name: copies(table) for name, table in data.tables.items() if name not in ("wav.scp", "utt2spk")
    }
    utt2lang = tables.pop("utt2lang")
    if "utt2spk" in data.carried:
        tables["utt2spk"] = table_from_pairs(
            (prefix + utt, prefix + speaker)
            for prefix in prefixes.values()
            for utt, speaker in data.carried["utt2spk"]
        )
    tables["utt2speed"] = table_from_pairs(
        (prefix + utt, factor)
        for factor, prefix in prefixes.items()
        for utt in data.utt2lang.keys()  # noqa: SIM118
    )
    wav_scp = copies(data.wav_scp) if data.segments is None else data.wav_scp
    return write_data_dir(target, wav_scp, utt2lang, tables)
