#!/usr/bin/env python3
"""How often detectors of speech take other sounds for speech, and miss speech; prints tables and writes JSON.

    benchmarks/nonspeech.py                                       # sounds made by formulas
    benchmarks/nonspeech.py --speech data/voxlingua107/dev --sounds /usr/share/games

A table has the percentage of recordings in which a detector finds at least so many seconds of speech. Long
recordings of --sounds are cut into pieces of 10 s, at most 12 of each. Recordings of --speech are measured
whole, at a rate of 8 kHz, and in pieces of 1, 2 and 3 s, of which some are pauses: at most two of each.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from nonspeech_sounds import RATE, sounds
from numpy.typing import NDArray

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.audio.resample import resample
from lid_toolkit.audio.speech_activity import detector, speech_seconds
from lid_toolkit.cli import OptionParser, run
from lid_toolkit.files import write_whole

DETECTORS = ("silero", "energy")
LEAST_S = (0.001, 0.1, 0.2, 0.3, 0.5, 1.0)
SUFFIXES = (".wav", ".ogg", ".oga", ".flac", ".mp3")
Piece = tuple[str, NDArray[np.float32], int]


def main(arguments: Sequence[str]) -> None:
    """Measure every kind of sound."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--speech", type=Path, help="folder of recordings with speech")
    parser.add_argument(
        "--sounds", type=Path, nargs="*", default=[], help="folders of recordings without speech"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/nonspeech.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    found, speeds = measure(pieces(options.sounds, options.speech))
    for name, speed in speeds.items():
        print_table(f"{name}: {speed:.0f} s of audio in a second of one core", found[name])
    with write_whole(options.json) as stream:
        json.dump({"seconds_per_core_second": speeds, "seconds_of_speech": found}, stream, indent=1)


def pieces(folders: Sequence[Path], speech: Path | None) -> Iterator[Piece]:
    """Yield the kind, the samples and the rate of each piece of audio."""
    for kind, _, wave in sounds():
        yield kind, wave, RATE
    for folder in folders:
        for wave in recordings(folder):
            yield from ((folder.name, piece, RATE) for piece in cut(wave, 10.0, 12))
    for wave in recordings(speech) if speech else ():
        yield "speech, whole", wave, RATE
        yield "speech, 8 kHz", resample(wave, RATE, 8000), 8000
        for seconds in (1, 2, 3):
            yield from ((f"speech, {seconds} s", piece, RATE) for piece in cut(wave, seconds, 2))


def recordings(folder: Path) -> Iterator[NDArray[np.float32]]:
    """Yield the recordings in a folder at 16 kHz."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        yield resample(*read_audio(str(path)), RATE)


def cut(wave: NDArray[np.float32], seconds: float, most: int) -> list[NDArray[np.float32]]:
    """Return at most so many pieces of a length, evenly spread; a shorter recording whole."""
    length = round(seconds * RATE)
    count = min(most, max(1, len(wave) // length))
    starts = np.linspace(0, max(0, len(wave) - length), count).astype(int)
    return [wave[start : start + length] for start in starts]


def measure(audio: Iterable[Piece]) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """Run all detectors in turn on each piece.

    Returns:
        The seconds of speech in each piece, by detector and kind; the seconds of audio per second of a core.
    """
    detectors = {name: detector(name) for name in DETECTORS}
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in DETECTORS}
    cpu, total = dict.fromkeys(DETECTORS, 0.0), 0.0
    for using in detectors.values():
        speech_seconds(np.zeros(RATE, np.float32), RATE, using)
    for kind, wave, rate in audio:
        total += len(wave) / rate
        for name, using in detectors.items():
            started = time.process_time()
            found[name][kind].append(speech_seconds(wave, rate, using))
            cpu[name] += time.process_time() - started
    return found, {name: total / seconds for name, seconds in cpu.items()}


def print_table(title: str, found: Mapping[str, Sequence[float]]) -> None:
    print(f"{title}\n{'% with at least':26s}{'pieces':>8s}" + "".join(f"{least:8g} s" for least in LEAST_S))
    for kind, seconds in found.items():
        shares = [100 * float(np.mean(np.array(seconds) >= least)) for least in LEAST_S]
        print(f"{kind:26s}{len(seconds):8d}" + "".join(f"{share:10.1f}" for share in shares))


if __name__ == "__main__":
    run(main)
