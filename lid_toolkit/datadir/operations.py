"""Combine, split, subset and copy data directories, formatted ones too.

All known files are copied: ``segments``, ``utt2speed``, ``utt2spk``, ``utt2dataset``, ``utt2langs``,
``utt2num_samples`` and the one-word files of a formatted set; ``lang2utt`` is made again. Other files are not
copied, and a warning lists them. A subset and the parts of a split keep references to extracted features.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.datadir import (
    BY_LANGUAGE_TABLES,
    DIGEST,
    FEATURES,
    FEATURES_DESCRIPTION,
    LENGTHS,
    SAMPLING_RATE,
    SET_METADATA_FILES,
    by_language,
    lang2utt_blocks,
    other_files,
    parse_segments,
    read_data_dir,
    read_lengths,
    read_sampling_rate,
    require_two_dirs,
    write_tables,
)
from lid_toolkit.datadir.dealing import some_groups
from lid_toolkit.datadir.mixtures import UTT2LANGS, check_mixtures, relabelled
from lid_toolkit.datadir.tables.table import Table, merge_tables, merged_blocks, read_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked, write_whole

UTTERANCE_REPORT_FILES = ("failed", "dropped", "clipped")
"""What formatting reports about the utterances of one set: not valid for a subset or a combined set."""

ROW = re.compile(rb"([^ \n]+) ([^\n]+)\n")


@dataclass(frozen=True, eq=False)
class Set:
    """The content of a data directory.

    Attributes:
        wav_scp: its recordings.
        tables: its tables with one row per utterance by file name, including ``utt2lang``.
        words: the content of its ``SET_METADATA_FILES``, and of the description of its features, by name.
    """

    wav_scp: Table
    tables: Mapping[str, Table]
    words: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.utt2lang)

    @property
    def utt2lang(self) -> Table:
        """The languages."""
        return self.tables["utt2lang"]

    def select(self, rows: NDArray[np.integer]) -> Set:
        """Return the set of these utterances, given as ascending rows of its tables."""
        tables = {name: table.select(rows) for name, table in self.tables.items()}
        if "segments" not in tables:
            return Set(self.wav_scp.select(rows), tables, self.words)
        recordings = parse_segments(tables["segments"], self.wav_scp).recordings
        return Set(self.wav_scp.select(np.unique(recordings)), tables, self.words)


def read_set(path: Path, features: bool = False) -> Set:
    """Read all known files of a data directory, and those of extracted features only with ``features``.

    Raises like :func:`read_data_dir`, and if the references to features have other utterances.
    """
    data = read_data_dir(path)
    tables = {name: table for name, table in data.tables.items() if name != "wav.scp"}
    if (path / LENGTHS).exists():
        tables[LENGTHS] = read_lengths(path, data.utt2lang)
    words = {
        name: (path / name).read_text(encoding="utf-8")
        for name in (*SET_METADATA_FILES, *([FEATURES_DESCRIPTION] if features else []))
        if (path / name).exists()
    }
    if FEATURES_DESCRIPTION in words:
        tables[FEATURES] = read_table(path / FEATURES)
        if not tables[FEATURES].same_keys(data.utt2lang):
            what = "its utterances differ from those of the other tables"
            raise LidError(what, where=path / FEATURES, redo="feature extraction")
    known = {"wav.scp", *tables, *words, *BY_LANGUAGE_TABLES, *UTTERANCE_REPORT_FILES}
    if others := other_files(path, known):
        logging.warning("%s: not copied: %s", path, ", ".join(others))
    return Set(data.wav_scp, tables, words)


def write_set(path: Path, data: Set) -> None:
    """Write a set as a data directory; LidError if another process writes to it."""
    blocks = {name: table.blocks() for name, table in data.tables.items()}
    _write(path, {**blocks, "wav.scp": data.wav_scp.blocks()}, data.utt2lang, data.words)


def combine(sources: Sequence[Path], target: Path, datasets: Sequence[str] = ()) -> int:
    """Write ``target`` with the utterances of all sources and return how many there are.

    ``utt2dataset`` says which source each utterance is from; a source that has this table keeps its own.
    If only some sources have ``segments``, ``utt2speed`` or ``utt2langs``, the utterances of the others are
    whole recordings at speed 1 in one language. Other files that some sources do not have, or one-word files
    in which they differ, are left out with a warning. A recording that several sources have in common is
    written once.

    Args:
        sources: data directories.
        target: the new data directory.
        datasets: the name of each source in ``utt2dataset``; empty: the name of its directory.

    Raises:
        LidError: a faulty source, an utterance in two sources, a recording with two references, formatted
            sets with different sampling rates, or not one name for each source.
    """
    for source in sources:
        require_two_dirs(source, target)
    named = _dataset_names(sources, datasets)
    parts = [read_set(path) for path in sources]
    _check_rates(parts, sources, target)
    names = {"utt2dataset"}.union(*(part.tables for part in parts))
    parts = [_filled(part, names, dataset) for part, dataset in zip(parts, named, strict=True)]
    columns: dict[str, list[Table]] = {}
    for name in sorted(names):
        if lacking := [path for path, part in zip(sources, parts, strict=True) if name not in part.tables]:
            logging.warning("%s: %s left out, because %s does not have it", target, name, lacking[0])
        else:
            columns[name] = [part.tables[name] for part in parts]
    mend = "add a prefix to the ids of one source with copy_data_dir.py"
    utt2lang = merge_tables(columns.pop("utt2lang"), target / "utt2lang", mend=mend)
    blocks = {name: merged_blocks(tables, target / name) for name, tables in columns.items()}
    blocks["wav.scp"] = merged_blocks(
        [part.wav_scp for part in parts], target / "wav.scp", repeats="segments" in names, mend=mend
    )
    _write(target, {"utt2lang": utt2lang.blocks(), **blocks}, utt2lang, _common_words(parts, target))
    return len(utt2lang)


def split(source: Path, parts: int, target: Path) -> None:
    """Write the utterances of ``source`` in order to ``target/1`` to ``target/PARTS``, equally many to each.

    Raises:
        LidError: a faulty source, or fewer utterances than parts.
    """
    data = read_set(source, features=True)
    if len(data) < parts:
        what = f"cannot split {len(data)} utterances into {parts} parts"
        raise LidError(what, where=source, mend="use fewer parts")
    bounds = np.linspace(0, len(data), parts + 1).astype(np.int64)
    for number in range(parts):
        write_set(target / str(number + 1), data.select(np.arange(bounds[number], bounds[number + 1])))


@dataclass(frozen=True)
class Choice:
    """Which utterances of a set to select; all conditions apply together.

    Attributes:
        utterances: only these; None: all.
        languages: only those in these languages; empty: all.
        per_language: at most this many of each language, drawn at random; 0: all.
        count: at most this many in total, after the other conditions; 0: all.
        first: select the first ``count`` in order instead of drawing them.
        seed: seed of the random draws.
        shortest_s: only those of at least this many seconds.
        longest_s: only those of at most this many seconds; 0: no limit.
        speakers: only this proportion of the speakers of each language; 0: all.
    """

    utterances: Sequence[str] | None = None
    languages: Sequence[str] = ()
    per_language: int = 0
    count: int = 0
    first: bool = False
    seed: int = 1
    shortest_s: float = 0.0
    longest_s: float = 0.0
    speakers: float = 0.0


def subset(source: Path, target: Path, choice: Choice) -> int:
    """Write the chosen utterances of ``source`` to ``target`` and return how many there are.

    Utterances of a list that formatting or extraction has left out of ``source`` are left out here too.

    Raises:
        LidError: a faulty source, an unknown utterance or language, durations asked for of a set that is not
            formatted, speakers of one without ``utt2spk``, or no utterance selected.
    """
    require_two_dirs(source, target)
    data = read_set(source, features=True)
    rows = _chosen(data, choice, source)
    if not len(rows):
        raise LidError("no utterance selected", where=source)
    write_set(target, data.select(rows))
    return len(rows)


def copy(
    source: Path, target: Path, *, utt_prefix: str = "", label: Callable[[str], str] | None = None
) -> int:
    """Copy ``source`` to ``target`` and return how many utterances it has.

    Args:
        source: a data directory.
        target: the new data directory.
        utt_prefix: added before each utterance, each recording, and each speaker in ``utt2spk``.
        label: returns the new label for a language.

    Raises:
        LidError: a faulty source, a prefix that contains spaces, or an error from ``label``.
    """
    require_two_dirs(source, target)
    if re.search(r"\s", utt_prefix):
        raise LidError(f"'{utt_prefix}' contains a space", where="utt_prefix")
    data = read_set(source)
    tables = {**data.tables, "wav.scp": data.wav_scp}
    if label is not None:
        new = {old.encode(): label(old).encode() for old in data.utt2lang.codes()[0]}
        tables["utt2lang"] = _changed(data.utt2lang, lambda key, value: (key, new[value]))
        if UTT2LANGS in tables:
            tables[UTT2LANGS] = _relabelled(tables[UTT2LANGS], label)
            check_mixtures(tables[UTT2LANGS], tables["utt2lang"], source / UTT2LANGS)
    if utt_prefix:
        tables = {name: _prefixed(name, table, utt_prefix.encode()) for name, table in tables.items()}
    wav_scp = tables.pop("wav.scp")
    write_set(target, Set(wav_scp, tables, data.words))
    return len(data)


def _write(
    path: Path, blocks: Mapping[str, Iterator[bytes]], utt2lang: Table, words: Mapping[str, str]
) -> None:
    with locked(path, "writing a data directory"):
        inverted = BY_LANGUAGE_TABLES if LENGTHS in blocks else BY_LANGUAGE_TABLES[:1]
        may_exist = {*SET_METADATA_FILES, *BY_LANGUAGE_TABLES, *UTTERANCE_REPORT_FILES, LENGTHS}
        may_exist |= {FEATURES, FEATURES_DESCRIPTION}
        for name in may_exist - {*words, *inverted, *blocks}:
            (path / name).unlink(missing_ok=True)
        for name, word in words.items():
            with write_whole(path / name) as stream:
                stream.write(word)
        languages = {name: lang2utt_blocks(by_language(utt2lang)) for name in inverted}
        write_tables(path, {**languages, **blocks})


def _check_rates(parts: Sequence[Set], sources: Sequence[Path], target: Path) -> None:
    """Raise LidError if two formatted sets differ in sampling rate: their sample counts cannot be mixed."""
    rates = {
        part.words[SAMPLING_RATE].strip(): path
        for part, path in zip(parts, sources, strict=True)
        if SAMPLING_RATE in part.words
    }
    if len(rates) > 1:
        (first, one), (second, other), *_ = rates.items()
        raise LidError(
            f"{one} has a sampling rate of {first} Hz, {other} of {second} Hz",
            where=target,
            mend="format them at one rate",
        )


def _dataset_names(sources: Sequence[Path], datasets: Sequence[str]) -> list[str]:
    """Return the name of each source in ``utt2dataset``; warn if two sources have the same one by default."""
    if datasets and len(datasets) != len(sources):
        what = f"{len(datasets)} names for {len(sources)} data directories"
        raise LidError(what, where="datasets", mend="give one name for each directory")
    if datasets:
        return list(datasets)
    names = ["_".join(path.resolve().name.split()) for path in sources]
    for name in sorted({name for name in names if names.count(name) > 1}):
        same = " and ".join(str(path) for path, own in zip(sources, names, strict=True) if own == name)
        logging.warning("%s are one dataset, '%s', in utt2dataset; --datasets gives other names", same, name)
    return names


def _filled(part: Set, names: Collection[str], dataset: str) -> Set:
    """Return the set with those tables of ``names`` that it lacks, but whose content is known."""
    name_of_set = dataset.encode("utf-8", "replace")
    rows: Mapping[str, Callable[[bytes, bytes], tuple[bytes, bytes]]] = {
        "segments": lambda key, _: (key, key + b" 0 -1"),
        "utt2speed": lambda key, _: (key, b"1"),
        UTT2LANGS: lambda key, label: (key, label),
        "utt2dataset": lambda key, _: (key, name_of_set),
    }
    lacking = (rows.keys() & names) - part.tables.keys()
    made = {name: _changed(part.utt2lang, rows[name]) for name in lacking}
    return replace(part, tables={**part.tables, **made})


def _relabelled(mixtures: Table, label: Callable[[str], str]) -> Table:
    """Return ``utt2langs`` with changed labels."""
    new = {text.encode(): relabelled(text, label).encode() for text in mixtures.codes()[0]}
    return _changed(mixtures, lambda key, value: (key, new[value]))


def _prefixed(name: str, table: Table, prefix: bytes) -> Table:
    """Return the table with a prefix before its keys, and before the ids at the start of its values."""
    before = prefix if name in ("segments", "utt2spk") else b""
    return _changed(table, lambda key, value: (prefix + key, before + value))


def _changed(table: Table, change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Table:
    """Return the table with changed keys and values; the order of the keys must not change."""

    def row(match: re.Match[bytes]) -> bytes:
        return b"%s %s\n" % change(match[1], match[2])

    return Table.of_blocks(ROW.sub(row, block) for block in table.blocks())


def _common_words(parts: Sequence[Set], target: Path) -> dict[str, str]:
    """Return the one-word files that are the same in all parts, and the digest of their digests."""
    words = {}
    for name in SET_METADATA_FILES:
        found = [part.words.get(name, "") for part in parts]
        if len(set(found)) == 1:
            words[name] = found[0]
        elif name == DIGEST and all(found):
            words[name] = f"{hashlib.blake2b(''.join(found).encode(), digest_size=16).hexdigest()}\n"
        else:
            logging.warning("%s: %s left out, because the sources differ in it", target, name)
    return {name: word for name, word in words.items() if word}


def _chosen(data: Set, choice: Choice, source: Path) -> NDArray[np.int64]:
    """Return the rows of the selected utterances in ascending order."""
    rng = np.random.default_rng(choice.seed)
    rows = np.arange(len(data), dtype=np.int64)
    if choice.utterances is not None:
        wanted = sorted(set(choice.utterances), key=str.encode)
        rows = data.utt2lang.rows(wanted)
        lacking = {wanted[place] for place in np.flatnonzero(rows < 0).tolist()}
        if unknown := sorted(lacking - _left_out(source)):
            raise LidError(f"utterance '{unknown[0]}' not found", where=source)
        if lacking:
            logging.warning("%s: %d utterances of the list were left out before", source, len(lacking))
        rows = rows[rows >= 0]
    if choice.shortest_s or choice.longest_s:
        rows = rows[_has_duration(data, choice, source)[rows]]
    labels, codes = data.utt2lang.codes()
    if choice.languages:
        rows = rows[np.isin(codes[rows], _places(choice.languages, labels, source))]
    if choice.speakers and len(rows):
        rows = rows[some_groups(_speakers(data, source)[rows], codes[rows], choice.speakers, rng)]
    if choice.per_language:
        drawn = rng.permutation(rows)
        drawn = drawn[np.argsort(codes[drawn], kind="stable")]
        first = np.searchsorted(codes[drawn], codes[drawn])
        rows = np.sort(drawn[np.arange(len(drawn)) - first < choice.per_language])
    if choice.count and choice.first:
        rows = rows[: choice.count]
    elif choice.count:
        rows = np.sort(rng.permutation(rows)[: choice.count])
    return rows


def _places(wanted: Sequence[str], labels: Sequence[str], source: Path) -> list[int]:
    """Return the places of languages among the labels of a set."""
    if missing := sorted(set(wanted) - set(labels)):
        mend = f"its languages: {', '.join(labels[:10])}{' …' * (len(labels) > 10)}"
        raise LidError(f"language '{missing[0]}' not found", where=source / "utt2lang", mend=mend)
    return [labels.index(label) for label in wanted]


def _speakers(data: Set, source: Path) -> NDArray[np.int32]:
    """Return the number of each utterance's speaker, (utterances,)."""
    if "utt2spk" not in data.tables:
        mend = "write the speaker of each utterance to it"
        raise LidError("does not exist", where=source / "utt2spk", mend=mend)
    return data.tables["utt2spk"].codes()[1]


def _left_out(source: Path) -> set[str]:
    """Return the utterances that formatting or extraction has left out of a set."""
    paths = [source / name for name in ("failed", "dropped")]
    return {key for path in paths if path.exists() for key, _ in read_table(path, allow_empty=True)}


def _has_duration(data: Set, choice: Choice, source: Path) -> NDArray[np.bool_]:
    """Return which utterances of a formatted set, (utterances,), have a duration within the limits."""
    if LENGTHS not in data.tables:
        raise LidError("has no durations", where=source / LENGTHS, redo="formatting")
    seconds_u = data.tables[LENGTHS].integers() / read_sampling_rate(source)
    return (seconds_u >= choice.shortest_s) & (seconds_u <= (choice.longest_s or np.inf))
