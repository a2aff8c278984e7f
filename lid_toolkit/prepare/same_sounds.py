"""Find utterances of data directories that are the same sound, under two language labels or in two sets.

1. Each utterance is read once, for its fingerprint (:mod:`lid_toolkit.audio.fingerprint`). The fingerprints
   are in a temporary file, 0.5 KB for each utterance.
2. :mod:`lid_toolkit.prepare.duplicates` finds the pairs that are alike.
3. The pair of each utterance that is most alike is read again, and decided by its spectra, frame by frame.

Shapes: u utterances of all directories, d dimensions, p pairs.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lid_toolkit import languages
from lid_toolkit.audio.fingerprint import BANDS, RATES, SAME_ABOVE, fingerprint, same_sound, to_8k
from lid_toolkit.audio.reader import AudioError, Reading, audio_info, read_audio
from lid_toolkit.datadir.check import Scanned
from lid_toolkit.datadir.datadir import Segments
from lid_toolkit.datadir.faults import Faults
from lid_toolkit.datadir.tables.table import Table
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.check_recordings import spread
from lid_toolkit.prepare.duplicates import alike
from lid_toolkit.progress import Progress

SCOPES = ("languages", "sets")
"""Which pairs are looked for: under two labels, or also in two sets."""

CHUNK = 64
KIND = "same sound"

Item = TypeVar("Item")


class Span(NamedTuple):
    """Where an utterance is: reference, start and end in seconds (-1: its end), channel (-1: none named)."""

    ref: str
    start: float = 0.0
    end: float = -1.0
    channel: int = -1


@dataclass(frozen=True, eq=False)
class Utterances:
    """The utterances of several data directories, numbered in turn.

    Attributes:
        scans: the directories.
        bounds: (directories + 1,) the first number of each, and the number of all.
    """

    scans: tuple[Scanned, ...]
    bounds: NDArray[np.int64]

    @staticmethod
    def of(scans: Sequence[Scanned]) -> Utterances:
        """Return the utterances of directories whose tables have no faults."""
        sizes = [len(scanned.scans["utt2lang"].table) for scanned in scans]
        return Utterances(tuple(scans), np.cumsum([0, *sizes]))

    def place(self, number: int) -> tuple[Scanned, int]:
        """Return the directory of an utterance, and its row there."""
        directory = int(np.searchsorted(self.bounds, number, side="right")) - 1
        return self.scans[directory], number - int(self.bounds[directory])

    def spans(self) -> Iterator[Span]:
        """Yield where each utterance is."""
        for scanned in self.scans:
            yield from _spans(scanned.scans["wav.scp"].table, scanned.parsed[0] if scanned.parsed else None)

    def span(self, number: int) -> Span:
        """Return where one utterance is."""
        scanned, row = self.place(number)
        wav_scp = scanned.scans["wav.scp"].table
        if scanned.parsed is None:
            return Span(wav_scp.value(row))
        return _part(wav_scp, scanned.parsed[0], row)

    def groups(self, scope: str) -> NDArray[np.int64]:
        """Return a number for each utterance; only pairs with different ones are looked for."""
        names = [languages_of(scanned.scans["utt2lang"].table) for scanned in self.scans]
        known = sorted({name for labels, _ in names for name in labels})
        numbers = [
            np.array([known.index(name) for name in labels])[codes] + (scope == "sets") * number * len(known)
            for number, (labels, codes) in enumerate(names)
        ]
        return np.concatenate(numbers).astype(np.int64)


def languages_of(utt2lang: Table) -> tuple[list[str], NDArray[np.int32]]:
    """Return the languages, as codes where they are known, and the number of each row's language."""
    labels, codes = utt2lang.codes()
    return [_code(label) for label in labels], codes


def _code(label: str) -> str:
    try:
        return languages.code(label)
    except LidError:
        return label


def same_sound_faults(
    scans: Sequence[Scanned], scope: str, reading: Reading, num_jobs: int = 1
) -> list[Faults]:
    """Return the utterances that are the same sound as another one, by directory.

    Recordings that cannot be read are left out.

    Args:
        scans: directories whose tables have no faults.
        scope: one of ``SCOPES``.
        reading: how to read references.
        num_jobs: number of processes.
    """
    utterances = Utterances.of(scans)
    partner_u = partners(utterances, scope, reading, num_jobs)
    found = []
    for directory, scanned in enumerate(scans):
        first, last = utterances.bounds[directory : directory + 2]
        rows = np.flatnonzero(partner_u[first:last] >= 0)
        if len(rows):
            scan = scanned.scans["utt2lang"]
            others = [utterances.place(number) for number in partner_u[first:last][rows].tolist()]
            describe = functools.partial(_describe, scan.table, rows, others)
            mend = "listen to both: a label is wrong, or remove one"
            path = scanned.path / "utt2lang"
            found.append(Faults(KIND, path, scan.lines_of(rows), describe, mend))
    return found


def _describe(
    table: Table, rows: NDArray[np.int64], others: Sequence[tuple[Scanned, int]], number: int
) -> str:
    other, place = others[number]
    utt2lang, row = other.scans["utt2lang"].table, int(rows[number])
    also = f"'{utt2lang.key(place)}', which is '{utt2lang.value(place)}' in {other.path / 'utt2lang'}"
    return f"'{table.key(row)}', which is '{table.value(row)}', is the same sound as {also}"


def partners(utterances: Utterances, scope: str, reading: Reading, num_jobs: int) -> NDArray[np.int64]:
    """Return for each utterance the number of another one that is the same sound, or -1."""
    total = int(utterances.bounds[-1])
    partner_u, cosine_u = np.full(total, -1, dtype=np.int64), np.zeros(total, np.float32)
    with tempfile.TemporaryFile() as file:
        prints_ud, spread_u = _fingerprints(utterances, reading, num_jobs, file)
        for first, second, cosine in alike(prints_ud, spread_u, group_u=utterances.groups(scope)):
            for here, there in ((first, second), (second, first)):
                last, tie = cosine_u[here], there < partner_u[here]
                better = np.flatnonzero((cosine > last) | ((cosine == last) & tie))
                # of several new ones, the last is kept: that with the highest cosine, or the lowest number
                better = better[np.lexsort((-there[better], cosine[better]))]
                partner_u[here[better]], cosine_u[here[better]] = there[better], cosine[better]
    likely = np.flatnonzero(partner_u >= 0)
    pairs_p2 = np.sort(np.stack([likely, partner_u[likely]], axis=1), axis=1)
    distinct, pair_p = np.unique(pairs_p2, axis=0, return_inverse=True)
    is_same = np.array(list(_decided(utterances, distinct.tolist(), reading, num_jobs)), dtype=bool)
    partner_u[likely[~is_same[pair_p.ravel()]]] = -1
    return partner_u


def _fingerprints(
    utterances: Utterances, reading: Reading, num_jobs: int, file: IO[bytes]
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Return (utterances, 256) values in ``file``, and (utterances,) lengths, 0 where there is no sound."""
    total = int(utterances.bounds[-1])
    prints_ud = np.memmap(file, np.float16, "w+", shape=(total, RATES * BANDS))
    spread_u = np.zeros(total, np.float32)
    work = functools.partial(_print_chunk, reading=reading)
    with Progress("listen", total, "utt") as progress:
        done = 0
        for values_ud, spreads in spread(work, _chunks(utterances.spans()), num_jobs):
            prints_ud[done : done + len(spreads)], spread_u[done : done + len(spreads)] = values_ud, spreads
            done += len(spreads)
            progress.advance(len(spreads))
    return prints_ud, spread_u


def _decided(
    utterances: Utterances, pairs: Sequence[Sequence[int]], reading: Reading, num_jobs: int
) -> Iterator[bool]:
    """Yield for each pair of utterances whether they are the same sound."""
    spans = ((utterances.span(one), utterances.span(other)) for one, other in pairs)
    work = functools.partial(_compare_chunk, reading=reading)
    with Progress("compare", len(pairs), "pair") as progress:
        for decided in spread(work, _chunks(spans), num_jobs):
            progress.advance(len(decided))
            yield from decided


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    return iter(lambda: list(itertools.islice(items, CHUNK)), [])


def _print_chunk(chunk: Sequence[Span], reading: Reading) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    prints = [fingerprint(_wave(span, reading)) for span in chunk]
    values_ud = np.array([found.values for found in prints], np.float16)
    return values_ud, np.array([found.spread for found in prints], np.float32)


def _compare_chunk(chunk: Sequence[tuple[Span, Span]], reading: Reading) -> list[bool]:
    return [same_sound(*(_wave(span, reading) for span in pair)) > SAME_ABOVE for pair in chunk]


def _wave(span: Span, reading: Reading) -> NDArray[np.float32]:
    """Return an utterance at 8 kHz, (samples,); empty if it cannot be read."""
    reading = reading if span.channel < 0 else replace(reading, channel=span.channel)
    try:
        info = audio_info(span.ref, reading)
        stop = info.num_samples if span.end < 0 else min(round(span.end * info.rate), info.num_samples)
        wave, rate = read_audio(span.ref, round(span.start * info.rate), stop, reading)
    except (AudioError, ValueError):
        return np.zeros(0, np.float32)
    return to_8k(wave, rate)


def _spans(wav_scp: Table, segments: Segments | None) -> Iterator[Span]:
    if segments is None:
        yield from map(Span, wav_scp.values())
        return
    for row in range(len(segments.starts)):
        yield _part(wav_scp, segments, row)


def _part(wav_scp: Table, segments: Segments, row: int) -> Span:
    ref = wav_scp.value(int(segments.recordings[row]))
    return Span(ref, float(segments.starts[row]), float(segments.ends[row]), int(segments.channels[row]))
