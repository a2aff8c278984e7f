"""Recordings of packages: read and check each one, and drop what is not speech or occurs twice."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from lid_toolkit.audio.fingerprint import SAME_ABOVE, Fingerprint, fingerprint, same_sound, to_8k
from lid_toolkit.audio.reader import AudioError, read_audio
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.duplicates import alike
from local.corpus import Utterance, write_wav
from local.parallel import parallel
from local.speech import Wave, fault, measure

LONGEST_S = 20.0
UNREADABLE, MOST_UNREADABLE = "unreadable", 0.01
HEADERLESS = {".gsm": ("GSM610", 8000), ".als": ("PCM_U8", 11025)}
"""Formats without a header, by suffix: libsndfile's subtype and rate in Hz. ``.als`` is from Drascula."""

REFUSED, MOST_COPIED = "source refused", 0.1


@dataclass(frozen=True)
class Take:
    """A recording that may become an utterance.

    Attributes:
        key: utterance id.
        language: language label, ISO 639-3.
        speaker: speaker id.
        source: what the recording is from: all recordings of a source have one label for the same reason.
        path: the file.
        converted: the path of its WAV copy if it has to be converted.
        fault: why it is dropped without reading it, or ``""``.
    """

    key: str
    language: str
    speaker: str
    source: str
    path: Path
    converted: Path
    fault: str = ""


@dataclass(frozen=True, eq=False)
class Heard:
    """The result of checking a take: utterance, reason to drop it (or ``""``), and fingerprint."""

    utterance: Utterance
    source: str
    fault: str
    fingerprint: Fingerprint | None = None


def read(path: Path) -> tuple[Wave, int]:
    """Return a recording as mono float32 (samples,) and its rate; also of a format in ``HEADERLESS``."""
    suffix = path.suffix.lower()
    if suffix not in HEADERLESS:
        return read_audio(str(path))
    subtype, rate = HEADERLESS[suffix]
    wave, _ = soundfile.read(
        path, dtype="float32", format="RAW", subtype=subtype, samplerate=rate, channels=1
    )
    return wave, rate


def listen(take: Take, shortest_s: float) -> Heard:
    """Read and check one recording. Headerless files are also written as WAV, which every tool can read."""
    utterance = Utterance(take.key, take.language, take.speaker, take.path, duration=0.0)
    try:
        wave, rate = read(take.path)
    except (AudioError, soundfile.SoundFileError) as error:
        return Heard(utterance, take.source, f"{UNREADABLE} ({getattr(error, 'what', error)})")
    utterance = replace(utterance, duration=len(wave) / rate)
    reason = take.fault or unfit(utterance.duration, shortest_s)
    if reason:
        return Heard(utterance, take.source, reason)
    at_8k = to_8k(wave, rate)
    reason = fault(measure(at_8k))
    if not reason and take.path.suffix.lower() in HEADERLESS:
        write_wav(take.converted, np.rint(wave * 32768).astype(np.int16), rate)
        utterance = replace(utterance, audio=take.converted)
    return Heard(utterance, take.source, reason, fingerprint(at_8k))


def unfit(seconds: float, shortest_s: float) -> str:
    """Return why a recording is dropped because of its duration, or ``""``."""
    if seconds < shortest_s:
        return f"too short ({seconds:.2f} s)"
    if seconds > LONGEST_S:
        return f"too long ({seconds:.1f} s)"
    return ""


def listen_to_all(takes: Sequence[Take], shortest_s: float, jobs: int, corpus_dir: Path) -> list[Heard]:
    """Listen to all takes in parallel.

    Raises:
        LidError: more than 1 % of the recordings cannot be read: the copy is then probably damaged.
    """
    heard = list(parallel(functools.partial(listen, shortest_s=shortest_s), takes, jobs, "listen"))
    refuse_unreadable(heard, corpus_dir)
    return heard


def refuse_unreadable(heard: Sequence[Heard], corpus_dir: Path) -> None:
    """Raise LidError if more than 1 % of the recordings cannot be read."""
    broken = [h.utterance for h in heard if h.fault.startswith(UNREADABLE)]
    if len(broken) > MOST_UNREADABLE * len(heard):
        raise LidError(
            f"{len(broken)} of {len(heard)} recordings cannot be read, e.g. {broken[0].audio}",
            where=corpus_dir,
            mend="delete this directory and run this again",
        )


def choose(heard: Sequence[Heard]) -> tuple[list[Utterance], dict[str, str]]:
    """Return the utterances to keep, and by id the reasons for dropping the others.

    The first of several copies of a sound is kept. If copies have different languages, all are dropped,
    because the language of such a recording is unknown. A source is refused as a whole if more than a tenth
    of it is the same as in a source before it with another language: its labels are not to be believed.
    """
    dropped = {h.utterance.key: h.fault for h in heard if h.fault}
    fit = [h for h in heard if not h.fault]
    pairs = [(fit[one], fit[other]) for one, other in same_pairs(fit)]
    for source, reason in mislabelled(fit, pairs).items():
        dropped |= {h.utterance.key: reason for h in fit if h.source == source}
    for first, again in pairs:
        one, other = first.utterance, again.utterance
        if any(dropped.get(key, "").startswith(REFUSED) for key in (one.key, other.key)):
            continue
        if one.language != other.language:
            dropped[one.key] = f"in several languages (also {other.key})"
            dropped[other.key] = f"in several languages (also {one.key})"
        else:
            dropped.setdefault(other.key, f"duplicate (of {one.key})")
    return [h.utterance for h in fit if h.utterance.key not in dropped], dropped


def mislabelled(fit: Sequence[Heard], pairs: Sequence[tuple[Heard, Heard]]) -> dict[str, str]:
    """Return the sources to refuse, each with the reason; see :func:`choose`."""
    sizes = Counter(h.source for h in fit)
    copies: dict[tuple[str, str], set[str]] = {}
    for first, again in pairs:
        if first.utterance.language != again.utterance.language and first.source != again.source:
            copies.setdefault((again.source, first.source), set()).add(again.utterance.key)
    return {
        source: f"{REFUSED} ({len(keys)} of {sizes[source]} recordings are the same as in {original})"
        for (source, original), keys in copies.items()
        if len(keys) > MOST_COPIED * sizes[source]
    }


def same_pairs(fit: Sequence[Heard]) -> list[tuple[int, int]]:
    """Return the pairs of recordings that are the same sound, as ascending indices.

    :mod:`lid_toolkit.prepare.duplicates` says what the same sound is.
    """
    prints = [h.fingerprint for h in fit if h.fingerprint is not None]
    if not prints:
        return []
    values, spreads = np.stack([p.values for p in prints]), np.array([p.spread for p in prints])
    waves = functools.lru_cache(maxsize=1000)(lambda index: to_8k(*read(fit[index].utterance.audio)))
    found = sorted(
        (int(one), int(other))
        for first, second, _ in alike(values, spreads)
        for one, other in zip(first, second, strict=True)
    )
    return [(one, other) for one, other in found if same_sound(waves(one), waves(other)) > SAME_ABOVE]
