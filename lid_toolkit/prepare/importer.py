"""Make a data directory from a user's recordings: read every header, and report broken recordings.

Shapes: u utterances.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lid_toolkit import languages
from lid_toolkit.audio.reader import AudioError, audio_info
from lid_toolkit.datadir.datadir import read_data_dir, write_data_dir
from lid_toolkit.datadir.tables.table import Table, table_from_pairs, write_table
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.files import locked
from lid_toolkit.prepare.manifest import Item
from lid_toolkit.progress import Progress

TOLERANCE_S = 0.05
"""An end at most this long after the recording's end counts as its end: manifests contain rounded times."""


@dataclass(frozen=True)
class Checked:
    """An utterance whose recording was checked.

    Attributes:
        item: the utterance as the folder or manifest describes it.
        key: its id.
        seconds: its duration.
        fault: why it cannot be used, or ``""``.
    """

    item: Item
    key: str
    seconds: float
    fault: str = ""


@dataclass(frozen=True, eq=False)
class Imported:
    """What was imported.

    Attributes:
        utt2lang: as written.
        seconds_u: duration of each utterance in its order.
        rows: number of utterances that the folder or manifest describes, with those left out.
    """

    utt2lang: Table
    seconds_u: NDArray[np.float64]
    rows: int


def import_data(
    items: Iterable[Item], output_dir: Path, iso639: bool, max_failed: float, source: Path
) -> Imported:
    """Write a data directory of these utterances, and ``failed`` with those that cannot be used.

    Ids are those of the manifest, or ``LANGUAGE_PATH``, for a part followed by its start and end in
    milliseconds. Characters other than letters, digits, ``_``, ``.`` and ``-`` are replaced by ``-``.

    Args:
        items: the utterances.
        output_dir: the data directory.
        iso639: convert labels to ISO 639-3 codes; else keep them.
        max_failed: fraction of utterances that may be unusable.
        source: the folder or manifest, for messages.

    Raises:
        LidError: there are no utterances, a language is not known, two utterances have the same id, or too
            many utterances are unusable.
    """
    checked = list(check(items, iso639))
    if not checked:
        raise LidError("contains no recordings", where=source)
    failed = [utterance for utterance in checked if utterance.fault]
    if len(failed) > allowed_failures(max_failed, len(checked)) or len(failed) == len(checked):
        raise LidError(
            f"{len(failed)} of {len(checked)} utterances cannot be used, e.g. {failed[0].fault}",
            where=source,
            mend="repair them, or raise max_failed",
        )
    used = sorted((u for u in checked if not u.fault), key=lambda u: u.key.encode())
    for utterance in failed:
        logging.warning("left out: %s", utterance.fault)
    with locked(output_dir, "importing"):
        write(used, output_dir)
        if failed:
            write_table(output_dir / "failed", [(utterance.key, utterance.fault) for utterance in failed])
        else:
            (output_dir / "failed").unlink(missing_ok=True)
    return Imported(read_data_dir(output_dir).utt2lang, np.array([u.seconds for u in used]), len(checked))


def check(items: Iterable[Item], iso639: bool) -> Iterator[Checked]:
    """Yield each item with its id, label and duration. Consecutive parts of a recording share one reading."""
    last, length, fault = "", 0.0, ""
    with Progress("read headers", None, "utt") as progress:
        for item in items:
            if item.path != last:
                last, (length, fault) = item.path, _length(item.path)
            labelled = replace(item, language=_label(item, iso639))
            yield _checked(labelled, length, fault)
            progress.advance()


def write(utterances: Sequence[Checked], output_dir: Path) -> None:
    """Write the tables, with ``segments`` if an utterance is a part of a recording.

    ``utt2spk`` is written if a speaker is known. An utterance whose speaker is not known has a speaker of
    its own, with the utterance's id.
    """
    utt2lang = table_from_pairs(((u.key, u.item.language) for u in utterances), output_dir / "utt2lang")
    optional = {}
    if known := sum(bool(u.item.speaker) for u in utterances):
        speakers = ((u.key, u.item.speaker or u.key) for u in utterances)
        optional["utt2spk"] = table_from_pairs(speakers, output_dir / "utt2spk")
        if known < len(utterances):
            what = "%s: the speaker of %d utterances is not known: each has one of its own"
            logging.warning(what, output_dir, len(utterances) - known)
    wav_scp = [(u.key, u.item.path) for u in utterances]
    if any(u.item.is_part for u in utterances):
        recordings = _recording_ids({u.item.path: u.item.name for u in utterances})
        segments = ((u.key, f"{recordings[u.item.path]} {_span(u.item)}") for u in utterances)
        optional["segments"] = table_from_pairs(segments, output_dir / "segments")
        wav_scp = [(name, path) for path, name in recordings.items()]
    write_data_dir(output_dir, wav_scp, utt2lang, optional)


def _length(path: str) -> tuple[float, str]:
    try:
        info = audio_info(path)
    except AudioError as error:
        return 0.0, error.what
    return info.num_samples / info.rate, ""


def _label(item: Item, iso639: bool) -> str:
    if not iso639:
        return re.sub(r"\s+", "_", item.language)
    try:
        return languages.code(item.language)
    except LidError as error:
        advice = f"{error.mend}; or set iso639 to false to keep the labels"
        raise LidError(error.what, where=item.where, mend=advice) from None


def _checked(item: Item, length: float, fault: str) -> Checked:
    end = length if item.end is None else item.end
    if not fault and end > length + TOLERANCE_S:
        fault = f"ends at {end:g} s, but the recording ends at {length:.3f} s"
    if not fault and item.start >= length:
        fault = f"starts at {item.start:g} s, but the recording ends at {length:.3f} s"
    if item.end is not None and item.end >= length:
        item = replace(item, end=None)
    where = item.where if item.where == item.path else f"{item.where}: {item.path}"
    return Checked(item, _key(item), min(end, length) - item.start, f"{where}: {fault}" if fault else "")


def _key(item: Item) -> str:
    if item.key:
        return item.key
    part = f"-{round(1000 * item.start)}-{'' if item.end is None else round(1000 * item.end)}"
    return f"{item.language}_{_slug(item.name)}{part if item.is_part else ''}"


def _recording_ids(names: Mapping[str, str]) -> dict[str, str]:
    """Return an id for each path, made from its name; a number makes repeated ids unique."""
    ids: dict[str, str] = {}
    for path in sorted(names):
        slug = _slug(names[path])
        numbered = (f"{slug}-{number}" for number in itertools.count(2))
        ids[slug if slug not in ids else next(name for name in numbered if name not in ids)] = path
    return {path: name for name, path in ids.items()}


def _slug(name: str) -> str:
    path = Path(name)
    stem = path.with_suffix("") if path.name else path
    return re.sub(r"[^\w.-]+", "-", str(stem)).strip("-") or "recording"


def _span(item: Item) -> str:
    return f"{item.start:.6f} {'-1' if item.end is None else f'{item.end:.6f}'}"
