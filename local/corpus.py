"""Shared by all corpora: options, writing data directories, and a summary of their content."""

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
        key: utterance id, without white space.
        language: language label, ISO 639-3.
        speaker: speaker id.
        audio: audio file, in any format that libsndfile recognises.
        duration: duration in seconds.
        recording: id of the recording if it contains several utterances; else ``""``.
        start: start of the utterance in the recording, in seconds.
    """

    key: str
    language: str
    speaker: str
    audio: Path
    duration: float
    recording: str = ""
    start: float = 0.0


def option_parser(corpus: str | None, description: str) -> OptionParser:
    """Return a parser of the options that all corpora share; None means no ``--corpus_dir``."""
    parser = OptionParser(description)
    parser.add_argument(
        "--datadir", type=Path, default=Path("data"), help="directory for the data directories"
    )
    if corpus is not None:
        parser.add_argument(
            "--corpus_dir", type=Path, default=Path("downloads") / corpus, help="directory for the recordings"
        )
    parser.add_argument("--nj", type=positive_int, default=2, help="number of processes")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only report what would be done")
    return parser


@contextlib.contextmanager
def alone(corpus: str, *directories: Path, dry_run: bool) -> Iterator[None]:
    """Lock the directories against other runs. A dry run writes nothing and takes no lock."""
    with contextlib.ExitStack() as stack:
        for directory in () if dry_run else directories:
            stack.enter_context(locked(directory, f"preparing {corpus}"))
        yield


def write_set(directory: Path, utterances: Sequence[Utterance]) -> list[Path]:
    """Write the tables of one data directory and return their paths.

    Writes ``wav.scp``, ``utt2lang``, ``lang2utt`` and ``utt2spk``. If any utterance is part of a longer
    recording, also writes ``segments`` with a line for every utterance, as Kaldi requires.

    Raises:
        LidError: there are no utterances, or two utterances have the same id.
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
    """Return the ``segments`` value ``recording start end``, in seconds with a resolution of 1 µs."""
    end = utterance.start + utterance.duration
    return f"{utterance.recording or utterance.key} {utterance.start:.6f} {end:.6f}"


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate: int) -> None:
    """Write mono samples (samples,) as a 16-bit WAV file. Missing directories are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcm16_wav_header(len(samples), rate) + samples.astype("<i2").tobytes())


def sources(script: str, *shared: str) -> dict[str, Path]:
    """Return the modules that data is made by: this one, those next to a corpus script, and shared ones.

    If one changes, the data is stale.

    Args:
        script: the path of the script.
        shared: names of further modules of ``local`` that decide what the data contains.
    """
    here = Path(__file__)
    modules = [here, *(here.with_name(f"{name}.py") for name in shared)]
    return {path.name: path for path in (*modules, *sorted(Path(script).parent.glob("*.py")))}


def without_blanks(text: str) -> str:
    """Return a text usable as an id, with each run of white space replaced by ``_``."""
    return re.sub(r"\s+", "_", text)


def share(key: str) -> float:
    """Return a number in [0, 1) that depends only on ``key``, so that every machine makes the same splits."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64


def report(sets: Mapping[str, Iterable[Utterance]]) -> str:
    """Return a text table of utterances, speakers, hours and durations per set and language."""
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
