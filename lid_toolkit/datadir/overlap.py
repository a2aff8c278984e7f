"""Compare data directories: what two sets have in common, and labels that the training set does not have."""

from __future__ import annotations

import numpy as np

from lid_toolkit.datadir.check import Scanned, faults_of_rows, rows_with_labels
from lid_toolkit.datadir.datadir import places
from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.mixtures import UTT2LANGS, labels_in

REMOVE = "remove it from one of the sets"
TOGETHER = "split the whole with split_data_dir.py --by speaker"


def unknown_labels(test: Scanned, train: Scanned) -> list[Faults]:
    """Return the labels of a test set that the training set does not have."""
    if not {"utt2lang"} <= test.scans.keys() & train.scans.keys():
        return []
    known = set(train.scans["utt2lang"].table.codes()[0])
    found = rows_with_labels(
        test,
        lambda label: label not in known,
        "unknown label",
        lambda key, label: f"'{key}': language '{label}' is not in {train.path / 'utt2lang'}",
        "remove its utterances, or add the language to training",
    )
    if UTT2LANGS in test.scans:
        found += rows_with_labels(
            test,
            lambda text: not known.issuperset(labels_in(text)),
            "unknown label",
            lambda key, text: f"'{key}': a language of '{text}' is not in {train.path / 'utt2lang'}",
            "correct the label, or add the language to training",
            table=UTT2LANGS,
        )
    return found


def shared_recordings(one: Scanned, other: Scanned) -> list[Faults]:
    """Return the recordings of ``one`` that are also in ``other``.

    They have the same path or archive entry, even if it is written differently.
    """
    if not {"wav.scp"} <= one.scans.keys() & other.scans.keys():
        return []
    scan, there = one.scans["wav.scp"], other.scans["wav.scp"].table
    hashes = np.fromiter(map(hash, places(scan.table)), dtype=np.int64, count=len(scan.table))
    hashes_there = np.fromiter(map(hash, places(there)), dtype=np.int64, count=len(there))
    rows = np.flatnonzero(np.isin(hashes, hashes_there))
    if not len(rows):
        return []
    likely = set(hashes[rows].tolist())
    owners = {
        place: row for row, place in enumerate(places(there)) if hash(place) in likely
    }  # by text: two different references may have the same hash
    own = {row: place for row, place in enumerate(places(scan.table)) if hash(place) in likely}
    rows = np.array([row for row in rows.tolist() if own[row] in owners], dtype=np.int64)
    owner_of = {scan.table.key(row): there.key(owners[own[row]]) for row in rows.tolist()}
    path = one.path / "wav.scp"

    def what(key: str, _: str) -> str:
        return f"'{key}': this recording is also in {other.path / 'wav.scp'}, as '{owner_of[key]}'"

    return [faults_of_rows("recording in two sets", path, scan, rows, what, REMOVE)] if len(rows) else []


def shared_speakers(one: Scanned, other: Scanned) -> list[Faults]:
    """Return the speakers of ``one`` that are also in ``other``, each with its first utterance in ``one``."""
    if not {"utt2spk"} <= one.scans.keys() & other.scans.keys():
        return []
    scan, there = one.scans["utt2spk"], other.scans["utt2spk"].table
    speakers, speaker_u = scan.table.codes()
    speakers_there, speaker_there_u = there.codes()
    counts_there = dict(zip(speakers_there, np.bincount(speaker_there_u).tolist(), strict=True))
    _, firsts, counts = np.unique(speaker_u, return_index=True, return_counts=True)
    shared = [number for number, speaker in enumerate(speakers) if speaker in counts_there]
    counts_here = {speakers[number]: int(counts[number]) for number in shared}
    if not shared:
        return []

    def what(_: str, speaker: str) -> str:
        elsewhere = f"{counts_there[speaker]} in {other.path / 'utt2spk'}"
        return f"speaker '{speaker}' has {counts_here[speaker]} utterances here and {elsewhere}"

    path = one.path / "utt2spk"
    return [faults_of_rows("speaker in two sets", path, scan, firsts[shared], what, TOGETHER)]
