"""What the corpora share: options, utterances to data directories, a report of what was made."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.audio.wav_header import pcm16_wav_header
from lid_toolkit.cli import OptionParser, boolean, positive_int
from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Attributes:
        key: its id, without white space.
        language: its label, ISO 639-3.
        speaker: whose voice it is.
        audio: the recording, any file that libsndfile reads by its name.
        duration: seconds.
        recording: the id of the recording when it holds several utterances; else ``""``.
        start: where the utterance begins in the recording, seconds.
    """

    key: str
    language: str
    speaker: str
    audio: Path
    duration: float
    recording: str = ""
    start: float = 0.0


def option_parser(corpus: str | None, description: str) -> OptionParser:
    """Return a parser of the options that the script of every corpus takes; None has no directory."""
    parser = OptionParser(description)
    parser.add_argument("--datadir", type=Path, default=Path("data"), help="where the data directories go")
    if corpus is not None:
        parser.add_argument(
            "--corpus_dir", type=Path, default=Path("downloads") / corpus, help="where the recordings go"
        )
    parser.add_argument("--nj", type=positive_int, default=2, help="number of processes")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say what would be done")
    return parser


@contextlib.contextmanager
def alone(corpus: str, *directories: Path, dry_run: bool) -> Iterator[None]:
    """Keep other runs out of the directories. A dry run writes nothing and takes no lock."""
    with contextlib.ExitStack() as stack:
        for directory in () if dry_run else directories:
            stack.enter_context(locked(directory, f"preparing {corpus}"))
        yield


def write_set(directory: Path, utterances: Sequence[Utterance]) -> list[Path]:
    """Write the tables of one data directory and return their paths.

    ``wav.scp``, ``utt2lang``, ``lang2utt`` and ``utt2spk``; ``segments`` too when an utterance is part
    of a longer recording: then, as in Kaldi, every utterance has its line there.

    Raises:
        LidError: there is nothing to write, or two utterances share an id.
    """
    if not utterances:
        raise LidError("no utterance is left for this set", where=directory)
    languages: dict[str, list[str]] = {}
    for utterance in sorted(utterances, key=lambda u: u.key.encode()):
        languages.setdefault(utterance.language, []).append(utterance.key)
    tables = {
        "wav.scp": {u.recording or u.key: str(u.audio.absolute()) for u in utterances}.items(),
        "utt2lang": [(u.key, u.language) for u in utterances],
        "utt2spk": [(u.key, u.speaker) for u in utterances],
        "lang2utt": [(language, " ".join(keys)) for language, keys in languages.items()],
    }
    if any(u.recording for u in utterances):
        tables["segments"] = [(u.key, segment(u)) for u in utterances]
    else:
        (directory / "segments").unlink(missing_ok=True)
    for name, pairs in tables.items():
        write_table(directory / name, pairs)
    return [directory / name for name in tables]


def segment(utterance: Utterance) -> str:
    """Return the ``segments`` value ``recording start end``; microseconds tell samples apart."""
    end = utterance.start + utterance.duration
    return f"{utterance.recording or utterance.key} {utterance.start:.6f} {end:.6f}"


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate: int) -> None:
    """Write mono samples (samples,) as a 16-bit wav, and its directories if they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcm16_wav_header(len(samples), rate) + samples.astype("<i2").tobytes())


def sources(script: str) -> dict[str, Path]:
    """Return by name this module and those beside a corpus's script: data made by other code is stale."""
    modules = [Path(__file__), *sorted(Path(script).parent.glob("*.py"))]
    return {path.name: path for path in modules}


def without_blanks(text: str) -> str:
    """Return a text as an id: each run of white space becomes ``_``."""
    return re.sub(r"\s+", "_", text)


def share(key: str) -> float:
    """Return a number in [0, 1) that depends on ``key`` alone: the same split on every machine."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64


def report(sets: Mapping[str, Iterable[Utterance]]) -> str:
    """Return a table of utterances, speakers, hours and durations per set and language."""
    lines = [f"{'set':<16}{'language':<10}{'utts':>6}{'speakers':>10}{'hours':>8}   seconds: min median max"]
    for name, utterances in sets.items():
        groups: dict[str, list[Utterance]] = {"all": list(utterances)}
        for utterance in groups["all"]:
            groups.setdefault(utterance.language, []).append(utterance)
        for language in sorted(groups, key=lambda label: (label == "all", label)):
            lines.append(f"{name:<16}{language:<10}{_summary(groups[language])}")
    return "\n".join(lines)


def _summary(utterances: Sequence[Utterance]) -> str:
    seconds = sorted(u.duration for u in utterances)
    speakers = len({u.speaker for u in utterances})
    spread = f"{seconds[0]:.1f} {seconds[len(seconds) // 2]:.1f} {seconds[-1]:.1f}"
    return f"{len(seconds):>6}{speakers:>10}{sum(seconds) / 3600:>8.2f}   {spread}"
