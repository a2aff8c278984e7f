"""Recordings whose language changes at known times: utterances of one language after another."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.resample import resample

PAUSE_S = (0.2, 0.8)
SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
LEVEL = 0.05
"""Root mean square of all utterances: a change of the level would give the change of language away."""

Part = tuple[float, float, str]
"""Start and end in seconds, and the language."""


@dataclass(frozen=True)
class Joined:
    """A recording made of utterances.

    Attributes:
        wave: (samples,).
        parts: where each utterance is, and its language.
    """

    wave: NDArray[np.float32]
    parts: tuple[Part, ...]


def by_language(folder: Path, least: int, shortest_s: float, half: int) -> dict[str, list[Path]]:
    """Return half of the recordings ``LANG/*`` of a folder, by language.

    Recordings of one video, or of one speaker, are in the same half: the name before ``__`` decides.

    Args:
        folder: has a folder for each language.
        least: languages with fewer recordings in both halves together are left out.
        shortest_s: shorter recordings are left out, but counted.
        half: 0 or 1.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for language in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = sorted(path for path in language.iterdir() if path.suffix in SUFFIXES)
        for path in paths if len(paths) >= least else ():
            if half_of(path) == half and soundfile.info(path).duration >= shortest_s:
                found[language.name].append(path)
    return found


def half_of(path: Path) -> int:
    """Return 0 or 1 from the name before ``__``."""
    return hashlib.blake2b(path.stem.split("__")[0].encode()).digest()[0] % 2


def join(
    paths: Mapping[str, Sequence[Path]], recordings: int, utterances: int, rate: int, seed: int
) -> list[Joined]:
    """Return recordings of so many utterances, each in another language than the one before.

    Utterances are drawn at random and at most once, the languages in turn as far as that is possible.
    """
    rng = np.random.default_rng(seed)
    left = {language: list(rng.permutation(np.array(files))) for language, files in paths.items()}
    made = []
    for _ in range(recordings):
        chosen: list[tuple[str, Path]] = []
        for _ in range(utterances):
            others = [name for name in left if left[name] and (not chosen or name != chosen[-1][0])]
            language = str(rng.choice(sorted(others)))
            chosen.append((language, Path(left[language].pop())))
        made.append(_joined(chosen, rate, rng))
    return made


def _joined(chosen: Sequence[tuple[str, Path]], rate: int, rng: np.random.Generator) -> Joined:
    pieces, parts, samples = [], [], 0
    for language, path in chosen:
        wave = resample(*read_audio(str(path)), rate)
        pause = np.zeros(round(rng.uniform(*PAUSE_S) * rate), np.float32)
        level = float(np.sqrt(np.mean(np.square(wave)))) or 1.0
        pieces += [np.clip(wave * LEVEL / level, -1, 1), pause]
        parts.append((samples / rate, (samples + len(wave)) / rate, language))
        samples += len(wave) + len(pause)
    return Joined(np.concatenate(pieces[:-1]), tuple(parts))
