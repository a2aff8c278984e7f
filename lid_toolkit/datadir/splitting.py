"""Split a data directory into sets that have no speaker, recording or utterance in common.

:mod:`lid_toolkit.datadir.dealing` says which set each speaker goes to. The result depends on the content of
the tables, not on the order of their lines, and on the seed.

Shapes: u utterances, l languages, s sets.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.datadir.datadir import parse_segments, places
from lid_toolkit.datadir.dealing import Dealt, deal
from lid_toolkit.datadir.operations import Set, read_set, write_set
from lid_toolkit.errors import LidError

GROUPINGS = ("speaker", "recording", "utterance")
"""What two sets must not have in common."""

TOLERANCE = 1e-6
"""How far the sum of the shares may be from 1."""

MOST_NAMED = 10


@dataclass(frozen=True, eq=False)
class Division:
    """How a data directory was divided.

    Attributes:
        by: one of ``GROUPINGS``.
        names: the sets.
        labels: the languages.
        dealt: which set each utterance is in.
    """

    by: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    dealt: Dealt


def parse_shares(text: str) -> tuple[float, ...]:
    """Parse shares separated by spaces, e.g. ``0.8 0.1 0.1``.

    Raises:
        LidError: there are fewer than two, one is not a number above 0, or their sum is not 1.
    """
    where, example = "shares", "e.g. 0.8 0.1 0.1"
    shares = []
    for word in text.split():
        try:
            share = float(word)
        except ValueError:
            share = math.nan
        if not 0 < share < math.inf:
            raise LidError(f"'{word}' is not a number above 0", where=where, mend=example)
        shares.append(share)
    if len(shares) < 2:
        raise LidError("at least two are needed", where=where, mend=example)
    if abs(sum(shares) - 1) > TOLERANCE:
        raise LidError(f"their sum must be 1, but is {sum(shares):g}", where=where, mend=example)
    return tuple(shares)


def split_by_shares(
    source: Path, by: str, shares: Sequence[float], targets: Sequence[Path], seed: int = 1
) -> Division:
    """Write a data directory for each share.

    Args:
        source: a data directory.
        by: one of ``GROUPINGS``.
        shares: the share of the utterances that each set gets; their sum is 1.
        targets: the new data directories.
        seed: seed of the order in which equally large groups are dealt.

    Raises:
        LidError: a faulty source, or one that is speed-perturbed; no ``utt2spk``, which splitting by speaker
            needs; the source is also a target; or fewer groups than sets.
    """
    for target in targets:
        if target.resolve() == source.resolve():
            raise LidError("is both the source and a target", where=target, mend="choose another target")
    data = read_set(source)
    division = _divided(data, source, by, shares, [target.name for target in targets], seed)
    empty = np.flatnonzero(division.dealt.utterances_ls.sum(axis=0) == 0)
    if len(empty):
        what = f"too few {by}s: no {by} is left for '{division.names[empty[0]]}'"
        raise LidError(what, where=source, mend="make fewer sets")
    _warn(data, source, division)
    for number, target in enumerate(targets):
        write_set(target, data.select(np.flatnonzero(division.dealt.set_u == number)))
    return division


def split_in_folds(source: Path, by: str, folds: int, target: Path, seed: int = 1) -> Division:
    """Write ``target/K/train`` and ``target/K/test`` for each fold K, from 1: test is the fold.

    The arguments are those of :func:`split_by_shares`.

    Raises:
        LidError: as for :func:`split_by_shares`; also if a language has fewer groups than there are folds.
    """
    data = read_set(source)
    names = [str(number + 1) for number in range(folds)]
    division = _divided(data, source, by, [1 / folds] * folds, names, seed)
    lacking = np.flatnonzero((division.dealt.groups_ls == 0).any(axis=1))
    if len(lacking):
        groups = int(division.dealt.groups_ls[lacking[0]].sum())
        more = f"; {len(lacking) - 1} more languages have too few" if len(lacking) > 1 else ""
        raise LidError(
            f"'{division.labels[lacking[0]]}' has {groups} {by}{'s' * (groups != 1)}, "
            f"too few for {folds} folds{more}",
            where=source,
            mend="make fewer folds, or leave the language out with subset_data_dir.py",
        )
    _warn(data, source, division)
    for number, name in enumerate(names):
        is_test_u = division.dealt.set_u == number
        write_set(target / name / "train", data.select(np.flatnonzero(~is_test_u)))
        write_set(target / name / "test", data.select(np.flatnonzero(is_test_u)))
    return division


def table_of(division: Division) -> str:
    """Return a text table: for each language, its groups, and the utterances and their share in each set."""
    utterances_ls, groups_ls = division.dealt.utterances_ls, division.dealt.groups_ls
    rows = [*zip(division.labels, utterances_ls, groups_ls.sum(axis=1).tolist(), strict=True)]
    wide = max(len("language"), *map(len, division.labels))
    widths = [max(len(name) + 2, 18) for name in division.names]
    heads = (f"{name:>{width}}" for name, width in zip(division.names, widths, strict=True))
    lines = [f"{'language':<{wide}}{division.by + 's':>12}{'utterances':>12}{''.join(heads)}"]
    for label, utterances_s, groups in [*rows, ("all", utterances_ls.sum(axis=0), "")]:
        total = int(utterances_s.sum())
        texts = (f"{number} ({100 * number / total:.1f}%)" for number in utterances_s.tolist())
        cells = (f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        lines.append(f"{label:<{wide}}{groups:>12}{total:>12}{''.join(cells)}")
    return "\n".join(lines) + "\n"


def _divided(
    data: Set, source: Path, by: str, shares: Sequence[float], names: Sequence[str], seed: int
) -> Division:
    if "utt2speed" in data.tables:
        mend = "split the original directory, then perturb the training set"
        raise LidError(
            "is speed-perturbed: copies of an utterance would be in several sets", where=source, mend=mend
        )
    labels, language_u = data.utt2lang.codes()
    return Division(by, tuple(names), labels, deal(language_u, _groups(data, source, by), shares, seed))


def _groups(data: Set, source: Path, by: str) -> NDArray[np.int64]:
    """Return (utterances,) the number of each utterance's group."""
    if by == "utterance":
        return np.arange(len(data))
    if by == "recording":
        return _recordings(data)
    if "utt2spk" not in data.tables:
        mend = "write 'utterance speaker' lines, or split by recording"
        raise LidError(
            "does not exist, but splitting by speaker needs it", where=source / "utt2spk", mend=mend
        )
    speakers, speaker_u = data.tables["utt2spk"].codes()
    if len(speakers) == len(data) > 1:
        logging.warning("%s: each utterance has a speaker of its own", source / "utt2spk")
    return speaker_u.astype(np.int64)


def _recordings(data: Set) -> NDArray[np.int64]:
    """Return (utterances,) the number of each utterance's recording; those with one reference are the same.

    References are compared by a hash of 64 bits. Two different ones with the same hash stay together too.
    """
    hashes = np.fromiter(map(hash, places(data.wav_scp)), dtype=np.int64, count=len(data.wav_scp))
    _, firsts, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    place = np.empty(len(firsts), dtype=np.int64)
    place[np.argsort(firsts)] = np.arange(len(firsts))  # the hash of a text differs between processes
    recordings = place[numbers]
    if "segments" not in data.tables:
        return recordings
    used = recordings[parse_segments(data.tables["segments"], data.wav_scp).recordings]
    return np.unique(used, return_inverse=True)[1].astype(np.int64)


def _warn(data: Set, source: Path, division: Division) -> None:
    """Warn of languages that are not in all sets, and of what the sets still have in common."""
    lacking = np.flatnonzero((division.dealt.groups_ls == 0).any(axis=1)).tolist()
    if lacking:
        named = "; ".join(_without(division, row) for row in lacking[:MOST_NAMED])
        more = "; …" if len(lacking) > MOST_NAMED else ""
        what = "%s: languages with too few %ss for all sets: %s%s"
        logging.warning(what, source, division.by, named, more)
    others = {"recording": _recordings(data)} if division.by != "recording" else {}
    if division.by != "speaker" and "utt2spk" in data.tables:
        others["speaker"] = data.tables["utt2spk"].codes()[1].astype(np.int64)
    for kind, group_u in others.items():
        shared = _shared(group_u, division.dealt.set_u)
        if shared:
            logging.warning("%s: %d %ss have utterances in several sets", source, shared, kind)


def _without(division: Division, row: int) -> str:
    names = (
        name for name, groups in zip(division.names, division.dealt.groups_ls[row], strict=True) if not groups
    )
    return f"{division.labels[row]} (not in {', '.join(names)})"


def _shared(group_u: NDArray[np.int64], set_u: NDArray[np.int64]) -> int:
    """Return the number of groups that are in several sets."""
    pairs = np.unique(group_u * (int(set_u.max()) + 1) + set_u)
    return int((np.unique(pairs // (int(set_u.max()) + 1), return_counts=True)[1] > 1).sum())


def named_targets(folder: Path, names: str, number: int) -> list[Path]:
    """Return the directories ``folder/NAME`` for names separated by spaces; without names, 1 to ``number``.

    Raises:
        LidError: not one name for each set, a name twice, or one that is not the name of a folder.
    """
    words = names.split() or [str(place + 1) for place in range(number)]
    if len(words) != number:
        what = f"{len(words)} name{'s' * (len(words) != 1)} for {number} sets"
        raise LidError(what, where="names", mend="give one for each share")
    for word in words:
        if words.count(word) > 1:
            raise LidError(f"'{word}' is given twice", where="names")
        if word == ".." or Path(word).name != word:
            raise LidError(f"'{word}' is not the name of a folder", where="names")
    return [folder / word for word in words]
