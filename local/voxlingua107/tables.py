"""Make data directories from listings: remove dev utterances from train, and hold out the selection set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.datadir import lang2utt_blocks, write_tables
from lid_toolkit.datadir.tables.table import Table, merged_blocks, table_from_pairs
from lid_toolkit.errors import LidError
from local.voxlingua107.layout import label, utterance_id, video
from local.voxlingua107.listing import FolderListing
from local.voxlingua107.selection import Hashes, barred, held_out, video_hashes

TRAIN, SELECTION, DEV = "train_voxlingua107", "selection_voxlingua107", "dev_voxlingua107"
MOST_BROKEN = 0.01
IN_DEV, UNTRAINED = "in dev", "language not in train"


@dataclass(frozen=True)
class Rows:
    """The utterances of one language in a set: tables by file name, durations and videos in table order."""

    label: str
    tables: Mapping[str, Table]
    seconds_u: npt.NDArray[np.float32]
    videos_u: Hashes

    def __len__(self) -> int:
        return len(self.seconds_u)


@dataclass(frozen=True)
class Sets:
    """The rows of each set by language, and the dropped utterances of train and dev as ``(id, reason)``."""

    rows: Mapping[str, Sequence[Rows]]
    dropped: Mapping[str, Sequence[tuple[str, str]]]


def make_sets(train: Sequence[FolderListing], dev: Sequence[FolderListing]) -> Sets:
    """Divide the listings into the three sets.

    Raises:
        LidError: more than 1 % of the files cannot be read, or a set is left without utterances.
    """
    refuse_broken([*train, *dev])
    dev_stems = frozenset(stem for listing in dev for stem in listing.stems())
    kept, gone = zip(*(_without(listing, dev_stems) for listing in train), strict=True) if train else ((), ())
    rows = [_rows(listing) for listing in kept if listing.names]
    trained = {listing.code for listing in kept if listing.names}  # not languages whose files are all in dev
    dev_rows = [_rows(listing) for listing in dev if listing.names and listing.code in trained]
    in_dev = np.concatenate([np.zeros(0, np.uint64), *(item.videos_u for item in dev_rows)])
    stay = barred([item.videos_u for item in rows], in_dev)
    out = [held_out(item.videos_u, stay) for item in rows]
    sets = {
        TRAIN: [_select(item, ~picked) for item, picked in zip(rows, out, strict=True)],
        SELECTION: [_select(item, picked) for item, picked in zip(rows, out, strict=True)],
        DEV: dev_rows,
    }
    for name, items in sets.items():
        if not sum(map(len, items)):
            raise LidError("no utterance is left for this set", where=name, mend="see docs/voxlingua107.md")
    dropped = {TRAIN: [pair for pairs in gone for pair in pairs], DEV: _untrained(dev, trained)}
    for name, listings in ((TRAIN, train), (DEV, dev)):
        dropped[name] += [(utterance_id(x.code, stem), why) for x in listings for stem, why in x.dropped]
    ordered = {name: sorted(filter(len, items), key=lambda item: item.label) for name, items in sets.items()}
    return Sets(ordered, dropped)


def refuse_broken(listings: Sequence[FolderListing]) -> None:
    """Raise LidError if more than 1 % of the files cannot be read: the copy is then probably damaged."""
    broken = sum(len(listing.dropped) for listing in listings)
    files = broken + sum(len(listing.seconds) for listing in listings)
    if broken > MOST_BROKEN * files:
        worst = max(listings, key=lambda listing: len(listing.dropped))
        stem, why = worst.dropped[0]
        raise LidError(
            f"{broken} of {files} files cannot be read, e.g. {stem}: {why}",
            where=worst.folder,
            mend="delete the folder and run this again; the zip is downloaded again if it is missing",
        )


def write_sets(datadir: Path, sets: Sets) -> list[Path]:
    """Write the data directories and return their tables.

    ``utt2spk`` gives the video, because the speakers are unknown. ``dropped`` is written if utterances were
    dropped.
    """
    written: list[Path] = []
    for name, items in sets.rows.items():
        directory = datadir / name
        blocks = {
            file: merged_blocks([item.tables[file] for item in items], file) for file in items[0].tables
        }
        blocks["lang2utt"] = lang2utt_blocks((item.label, item.tables["utt2lang"]) for item in items)
        if sets.dropped.get(name):
            blocks["dropped"] = table_from_pairs(sets.dropped[name], directory / "dropped").blocks()
        else:
            (directory / "dropped").unlink(missing_ok=True)
        written += write_tables(directory, blocks)
    return written


def report(sets: Sets) -> str:
    """Return a text table of utterances, videos, hours and durations per set, and of dropped utterances."""
    lines = [f"{'set':<24}{'language':<10}{'utts':>9}{'videos':>8}{'hours':>9}   seconds: min median max"]
    for name, items in sets.rows.items():
        lines += [f"{name:<24}{item.label:<10}{_summary([item])}" for item in items]
        lines.append(f"{name:<24}{'all':<10}{_summary(items)}")
    selected = {item.label for item in sets.rows[SELECTION]}
    if without := [item.label for item in sets.rows[TRAIN] if item.label not in selected]:
        lines.append(f"no video of these languages could be held out for {SELECTION}: {' '.join(without)}")
    reasons = Counter(why.split(":")[0] for pairs in sets.dropped.values() for _, why in pairs)
    lines += [f"dropped: {count} ({why})" for why, count in reasons.most_common()]
    videos = {name: np.concatenate([item.videos_u for item in items]) for name, items in sets.rows.items()}
    near = int(np.isin(videos[TRAIN], videos[DEV]).sum())
    lines.append(f"{near} utterances in {TRAIN} are from videos that are also in {DEV}")
    return "\n".join(lines)


def _without(listing: FolderListing, stems: frozenset[str]) -> tuple[FolderListing, list[tuple[str, str]]]:
    """Return a listing without the files named ``stems``, and the removed files as ``(id, reason)``."""
    names = listing.stems()
    gone = [stem in stems for stem in names]
    if not any(gone):
        return listing, []
    left = [stem for stem, is_gone in zip(names, gone, strict=True) if not is_gone]
    dropped = [(utterance_id(listing.code, stem), IN_DEV) for stem in names if stem in stems]
    return replace(listing, names="\n".join(left).encode(), seconds=listing.seconds[~np.array(gone)]), dropped


def _untrained(dev: Sequence[FolderListing], trained: Collection[str]) -> list[tuple[str, str]]:
    strange = (listing for listing in dev if listing.code not in trained)
    return [(utterance_id(listing.code, stem), UNTRAINED) for listing in strange for stem in listing.stems()]


def _rows(listing: FolderListing) -> Rows:
    stems = listing.stems()
    ids = [utterance_id(listing.code, stem) for stem in stems]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    ids, stems = [ids[i] for i in order], [stems[i] for i in order]
    videos = [video(stem) for stem in stems]
    language = label(listing.code)
    columns = {
        "wav.scp": [f"{listing.folder}/{stem}.wav" for stem in stems],
        "utt2lang": [language] * len(ids),
        "utt2spk": videos,
    }
    tables = {
        file: table_from_pairs(zip(ids, column, strict=True), f"{listing.folder} ({file})")
        for file, column in columns.items()
    }
    return Rows(language, tables, listing.seconds[order], video_hashes(videos))


def _select(rows: Rows, these: npt.NDArray[np.bool_]) -> Rows:
    tables = {file: table.select(np.flatnonzero(these)) for file, table in rows.tables.items()}
    return Rows(rows.label, tables, rows.seconds_u[these], rows.videos_u[these])


def _summary(items: Sequence[Rows]) -> str:
    seconds = np.concatenate([item.seconds_u for item in items])
    videos = len(np.unique(np.concatenate([item.videos_u for item in items])))
    spread = f"{seconds.min():.1f} {np.median(seconds):.1f} {seconds.max():.1f}"
    return f"{len(seconds):>9}{videos:>8}{seconds.sum(dtype=np.float64) / 3600:>9.1f}   {spread}"
