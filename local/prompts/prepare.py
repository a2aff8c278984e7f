"""Stage 1 for corpus `prompts`: make train, dev and test directories from Debian's voice-prompt packages."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from lid_toolkit.audio.reader import AudioError, read_audio
from lid_toolkit.cli import run
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.progress import Progress
from lid_toolkit.steps import Step
from local.corpus import Utterance, alone, option_parser, report, share, sources, write_set, write_wav
from local.parallel import parallel
from local.prompts.duplicates import Fingerprint, fingerprint, first_copies
from local.prompts.packages import PACKAGES, Package, fetch, find, recordings, unpack
from local.prompts.speech import Wave, fault, measure, to_8k

SHORTEST_S, LONGEST_S = 1.0, 20.0
DEV_SHARE = 0.1
GSM_RATE = 8000
UNREADABLE, MOST_UNREADABLE = "unreadable", 0.01
NOT_SPEECH = ("silence/*", "beep", "beeperr", "*-2tone", "confbridge-join", "confbridge-leave", "tt-monkeys")


@dataclass(frozen=True)
class Prompt:
    """A recording in an unpacked package, and the path of its WAV copy if it has to be converted."""

    package: Package
    name: str
    path: Path
    converted: Path

    @property
    def key(self) -> str:
        """The utterance id: the speaker and the name; ``-`` replaces ``/`` and other special characters."""
        return f"{speaker(self)}-{re.sub(r'[^A-Za-z0-9_]+', '-', self.name)}"


@dataclass(frozen=True)
class Heard:
    """The result of checking a recording: utterance, reason to drop it (or ``""``), and fingerprint."""

    utterance: Utterance
    fault: str
    fingerprint: Fingerprint | None = None


def speaker(recording: Prompt) -> str:
    """Return the speaker id: the package's voice, or, in the game, the character given by the file name."""
    package = recording.package
    if package.voice != "fillets":
        return f"{package.language}-{package.voice}"
    parts = re.split(r"[-_]", Path(recording.name).name)
    fish = next((part for part in parts[:-1] if part in ("m", "v")), "others")
    return f"{package.language}-{package.voice}-{fish}"


def read(path: Path) -> tuple[Wave, int]:
    """Return a recording as mono float32 (samples,) and its rate. ``.gsm`` files are headerless GSM 06.10."""
    if path.suffix != ".gsm":
        return read_audio(str(path))
    wave, rate = soundfile.read(
        path, dtype="float32", format="RAW", subtype="GSM610", samplerate=GSM_RATE, channels=1
    )
    return wave, int(rate)


def listen(recording: Prompt) -> Heard:
    """Read and check one recording. Headerless files are also written as WAV, which every tool can read."""
    utterance = Utterance(
        recording.key, recording.package.language, speaker(recording), recording.path, duration=0.0
    )
    try:
        wave, rate = read(recording.path)
    except (AudioError, soundfile.SoundFileError) as error:
        return Heard(utterance, f"{UNREADABLE} ({getattr(error, 'what', error)})")
    utterance = replace(utterance, duration=len(wave) / rate)
    reason = unfit(recording.name, utterance.duration)
    if reason:
        return Heard(utterance, reason)
    at_8k = to_8k(wave, rate)
    reason = fault(measure(at_8k))
    if not reason and recording.path.suffix == ".gsm":
        write_wav(recording.converted, np.rint(wave * 32768).astype(np.int16), rate)
        utterance = replace(utterance, audio=recording.converted)
    return Heard(utterance, reason, fingerprint(at_8k))


def unfit(name: str, seconds: float) -> str:
    """Return why a recording is dropped because of its name or duration, or ``""``.

    Args:
        name: path relative to the package's root, without suffix.
        seconds: duration.
    """
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in NOT_SPEECH):
        return "not speech (by name)"
    if seconds < SHORTEST_S:
        return f"too short ({seconds:.2f} s)"
    if seconds > LONGEST_S:
        return f"too long ({seconds:.1f} s)"
    return ""


def refuse_unreadable(heard: Sequence[Heard], corpus_dir: Path) -> None:
    """Raise LidError if more than 1 % of the recordings cannot be read: the copy is then probably damaged."""
    broken = [h.utterance for h in heard if h.fault.startswith(UNREADABLE)]
    if len(broken) > MOST_UNREADABLE * len(heard):
        raise LidError(
            f"{len(broken)} of {len(heard)} recordings cannot be read, e.g. {broken[0].audio}",
            where=corpus_dir,
            mend="delete this directory and run this again",
        )


def choose(heard: Sequence[Heard]) -> tuple[list[Utterance], dict[str, str]]:
    """Return the utterances to keep, and by id the reasons for dropping the others.

    The first of several duplicates is kept. If duplicates have different languages, all are dropped,
    because the language of such a recording is unknown.
    """
    dropped = {h.utterance.key: h.fault for h in heard if h.fault}
    fit = [h for h in heard if not h.fault]
    prints = [h.fingerprint for h in fit if h.fingerprint is not None]
    copies = first_copies(prints, [h.utterance.duration for h in fit])
    for item, original in zip(fit, copies, strict=True):
        if original is None:
            continue
        first = fit[original].utterance
        dropped[item.utterance.key] = f"duplicate (of {first.key})"
        if first.language != item.utterance.language:
            dropped[first.key] = f"in several languages (also {item.utterance.key})"
    return [h.utterance for h in fit if h.utterance.key not in dropped], dropped


def split(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Split into sets: held-out speakers to test, a tenth of the others to dev, by a hash of the id."""
    held_out = {f"{p.language}-{p.voice}" for p in PACKAGES if p.held_out}
    sets: dict[str, list[Utterance]] = {"train_prompts": [], "dev_prompts": [], "test_prompts": []}
    for utterance in utterances:
        if utterance.speaker in held_out:
            sets["test_prompts"].append(utterance)
        elif share(utterance.key) < DEV_SHARE:
            sets["dev_prompts"].append(utterance)
        else:
            sets["train_prompts"].append(utterance)
    return sets


def gather(debs: Sequence[Path], corpus_dir: Path) -> list[Prompt]:
    """Unpack the packages, in the order of ``PACKAGES``, and list their recordings."""
    found = []
    with Progress("unpack prompts", len(debs), "package") as progress:
        for package, deb in zip(PACKAGES, debs, strict=True):
            tree = unpack(deb, corpus_dir / "unpacked")
            wav = corpus_dir / "wav" / deb.stem
            items = [Prompt(package, n, p, wav / f"{n}.wav") for n, p in recordings(package, tree)]
            if not items:
                raise LidError(f"contains no recordings in {package.root}", where=deb)
            found += items
            progress.advance()
    return found


def prepare(datadir: Path, corpus_dir: Path, jobs: int, dry_run: bool) -> None:
    """Make the three data directories unless they are current, and print a summary."""
    folder = corpus_dir / "debs"
    debs = [(find(p, folder) or folder / p.name) if dry_run else fetch(p, folder) for p in PACKAGES]
    step = Step(
        "prepare prompts",
        datadir / ".done" / "prompts.json",
        {**sources(__file__), **{package.name: deb for package, deb in zip(PACKAGES, debs, strict=True)}},
        {"corpus_dir": str(corpus_dir)},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    with step.work("preparing prompts", lock=None) as work:
        if work is not None:
            work.finish(make(debs, datadir, corpus_dir, jobs))


def make(debs: Sequence[Path], datadir: Path, corpus_dir: Path, jobs: int) -> list[Path]:
    """Unpack and check the recordings, write the data directories, and return all files written."""
    heard = list(parallel(listen, gather(debs, corpus_dir), jobs, "listen to prompts"))
    refuse_unreadable(heard, corpus_dir)
    utterances, dropped = choose(heard)
    write_table(corpus_dir / "dropped", dropped.items())
    sets = split(utterances)
    tables = [path for name, members in sets.items() for path in write_set(datadir / name, members)]
    reasons = Counter(reason.split(" (")[0] for reason in dropped.values())
    print(report(sets))
    print(f"dropped {len(dropped)} of {len(heard)}:", ", ".join(f"{r} {n}" for r, n in reasons.most_common()))
    logging.info("dropped recordings with reasons: %s", corpus_dir / "dropped")
    return [*tables, *(u.audio for u in utterances)]


def main(arguments: Sequence[str]) -> None:
    """Parse the options and prepare the corpus."""
    parser = option_parser(
        "prompts", "Prepare corpus prompts: real speech from Debian's voice-prompt packages."
    )
    options = parser.parse_args(arguments)
    corpus_dir = options.corpus_dir.absolute()
    with alone("prompts", corpus_dir, options.datadir, dry_run=options.dry_run):
        prepare(options.datadir, corpus_dir, options.nj, options.dry_run)


if __name__ == "__main__":
    run(main)
