"""A formatted data directory of beeps, one band of frequencies for each language."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from lid_toolkit.datadir.tables.table import write_table

RATE = 16000
LANGUAGES = ("high", "low", "middle")
PITCHES = {"low": 300.0, "middle": 1000.0, "high": 3000.0}


def beeps(language: str, samples: int, seed: int) -> np.ndarray:
    """Return a tone that comes and goes: a steady one would vanish with the utterance's mean."""
    rng = np.random.default_rng(seed)
    frequency = PITCHES[language] * rng.uniform(0.85, 1.15)
    time_s = np.arange(samples) / RATE + rng.uniform(0, 1)
    wave = np.sin(2 * np.pi * frequency * time_s) * (np.sin(2 * np.pi * 8 * time_s) > 0)
    return (0.3 * wave + 0.02 * rng.standard_normal(samples)).astype(np.float32)


def vowel(seconds: float) -> np.ndarray:
    """Return a sound that detectors take for speech: a voice that glides between two vowels, with pauses."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    pitch = 120 * (1 + 0.2 * np.sin(2 * np.pi * 1.7 * time_s))
    pulses = np.diff(np.floor(np.cumsum(pitch / RATE)), prepend=0.0)
    a, i = (formants(pulses, frequencies) for frequencies in ((700, 1200, 2500), (300, 2200, 3000)))
    share = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time_s)
    loudness = np.clip(0.3 + np.sin(2 * np.pi * time_s), 0, 1)
    return (0.3 * loudness * (share * a + (1 - share) * i)).astype(np.float32)


def formants(pulses: np.ndarray, frequencies: tuple[int, ...]) -> np.ndarray:
    """Return pulses through resonances at frequencies in Hz, with a largest sample of 1."""
    radius = np.exp(-np.pi * 80 / RATE)
    for angle in 2 * np.pi * np.array(frequencies) / RATE:
        pulses = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], pulses)
    return pulses / np.abs(pulses).max()


def write_set(directory: Path, utterances: int, seed: int = 0, shortest=4000, longest=9000) -> Path:
    """Write a set as stage 3 leaves it; utterance i is of language i modulo 3."""
    rng = np.random.default_rng(seed)
    (directory / "wav").mkdir(parents=True)
    rows = []
    for number in range(utterances):
        language, samples = LANGUAGES[number % 3], int(rng.integers(shortest, longest))
        path = directory / "wav" / f"{directory.name}-{number:03d}.wav"
        soundfile.write(path, beeps(language, samples, 1000 * seed + number), RATE, subtype="PCM_16")
        rows.append((path.stem, str(path), language, str(samples)))
    (directory / "sampling_rate").write_text(f"{RATE}\n")
    for column, name in enumerate(("wav.scp", "utt2lang", "utt2num_samples"), start=1):
        write_table(directory / name, [(row[0], row[column]) for row in rows])
    return directory


def write_stats(directory: Path, train: Path, valid: Path) -> Path:
    """Write what stage 4 makes of two sets."""
    for name, source in (("train", train), ("valid", valid)):
        (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / name / "speech_shape").write_bytes((source / "utt2num_samples").read_bytes())
    write_table(directory / "lang2idx", [(language, str(i)) for i, language in enumerate(LANGUAGES)])
    return directory
