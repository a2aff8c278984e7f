"""Sounds without speech, made by formulas: silence, noises, tones, music. Each call makes the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

RATE = 16000
SECONDS = 5.0
Wave = NDArray[np.float64]
LEVELS_DB = (-60, -40, -20, -10)
DTMF = {"1": (697, 1209), "5": (770, 1336), "9": (852, 1477), "0": (941, 1336), "#": (941, 1477)}
SCALE = (0, 2, 4, 7, 9, 12, 14, 16)
"""Semitones of two octaves of a pentatonic scale."""


def sounds(variants: int = 3) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Yield the kind, the name and the samples, (80000,) at 16 kHz, of each sound.

    Args:
        variants: how many of each are made from different random numbers, where there are any.
    """
    for variant in range(variants):
        rng = np.random.default_rng(variant)
        for kind, makers in KINDS.items():
            for name, make in makers(rng).items():
                wave = make()
                yield kind, f"{name} {variant + 1}", wave.astype(np.float32)


def times(seconds: float = SECONDS) -> Wave:
    return np.arange(round(seconds * RATE)) / RATE


def tone(hertz: float | Wave, seconds: float = SECONDS) -> Wave:
    """Return a tone whose frequency may change."""
    phase = np.cumsum(np.broadcast_to(hertz, len(times(seconds)))) / RATE
    return np.sin(2 * np.pi * phase)


def at_level(wave: Wave, rms_db: float) -> Wave:
    """Scale a sound to an RMS level in dB below full scale."""
    return wave * 10 ** (rms_db / 20) / np.sqrt(np.mean(wave**2))


def noise(rng: np.random.Generator, slope: float) -> Wave:
    """Return noise whose power falls with frequency to the power of ``slope``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.normal(size=len(times())))
    hertz = np.fft.rfftfreq(len(times()), 1 / RATE)
    return np.fft.irfft(spectrum / np.maximum(hertz, 20) ** (slope / 2), len(times()))


def silences(rng: np.random.Generator) -> dict[str, Callable[[], Wave]]:
    mains = sum(tone(50.0 * harmonic) / harmonic for harmonic in (1, 2, 3, 5))
    return {
        "digital zero": lambda: 0 * times(),
        "constant": lambda: 0 * times() + 0.01,
        "dither": lambda: np.rint(rng.uniform(-1, 1, len(times()))) / 32768,
        "mains hum": lambda: at_level(mains, -60),
        "quiet room": lambda: at_level(noise(rng, 1.5), -70),
    }


def noises(rng: np.random.Generator) -> dict[str, Callable[[], Wave]]:
    colours = {"white": 0.0, "pink": 1.0, "brown": 2.0}
    steady = {
        f"{colour} noise {level} dB": lambda slope=slope, level=level: at_level(noise(rng, slope), level)
        for colour, slope in colours.items()
        for level in LEVELS_DB
    }
    gusts = 0.1 + np.interp(times(), np.arange(0, 6, 0.7), rng.uniform(0, 1, 9)) ** 2
    return steady | {"wind": lambda: at_level(noise(rng, 2) * gusts, -20)}


def tones(rng: np.random.Generator) -> dict[str, Callable[[], Wave]]:
    hertz = np.exp(rng.uniform(np.log(80), np.log(4000)))
    siren = 900 + 300 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * times())
    sweeps = 200 * 20 ** (times() * rng.uniform(0.5, 2) % 1)
    keys = rng.choice(list(DTMF), 25)
    dialled = [np.concatenate([sum(tone(f, 0.1) for f in DTMF[key]), np.zeros(1600)]) for key in keys]
    return {
        "tone": lambda: at_level(tone(hertz), -10),
        "quiet tone": lambda: at_level(tone(hertz), -40),
        "harmonics": lambda: at_level(sum(tone(hertz / 4 * n) / n for n in range(1, 20)), -15),
        "pulsing tone": lambda: at_level(tone(hertz) * (1 + np.sin(2 * np.pi * 4 * times())), -15),
        "dialling": lambda: at_level(np.concatenate(dialled), -15),
        "ringing": lambda: at_level((tone(440.0) + tone(480.0)) * (times() % 3 < 1), -15),
        "siren": lambda: at_level(tone(siren), -15),
        "sweeps": lambda: at_level(tone(sweeps), -15),
        "slow chirp": lambda: at_level(tone(np.linspace(100, 7000, len(times()))), -15),
    }


def knocks(rng: np.random.Generator) -> dict[str, Callable[[], Wave]]:
    def at(rate: float, decay_s: float) -> Wave:
        wave, decay = 0 * times(), np.exp(-times(8 * decay_s) / decay_s)
        for start in rng.integers(0, len(wave) - len(decay), round(rate * SECONDS)):
            wave[start : start + len(decay)] += rng.normal(size=len(decay)) * decay
        return at_level(wave, -25)

    return {
        "clicks": lambda: at(2, 0.0005),
        "keyboard": lambda: at(6, 0.005),
        "footsteps": lambda: at(2, 0.03),
        "applause": lambda: at(200, 0.01),
    }


def music(rng: np.random.Generator) -> dict[str, Callable[[], Wave]]:
    root = rng.uniform(110, 260)

    def note(hertz: float, seconds: float, decay_s: float) -> Wave:
        time, partials = times(seconds), range(1, 9)
        envelope = np.minimum(time / 0.01, 1) * np.exp(-time / decay_s)
        return envelope * sum(
            tone(hertz * n, seconds) * np.exp(-n * time) / n for n in partials if hertz * n < 7500
        )

    def played(beats: int, chord: int, decay_s: float) -> Wave:
        seconds = SECONDS / beats
        return np.concatenate(
            [
                sum(note(root * 2 ** (step / 12), seconds, decay_s) for step in rng.choice(SCALE, chord))
                for _ in range(beats)
            ]
        )

    def drums() -> Wave:
        beat = times(SECONDS / 16)
        kick = np.sin(2 * np.pi * 60 * beat) * np.exp(-beat / 0.08)
        snare, hat = (rng.normal(size=len(beat)) * np.exp(-beat / decay) for decay in (0.06, 0.015))
        return np.concatenate(
            [[kick + 0.3 * hat, 0.3 * hat, snare, 0.3 * hat][beat % 4] for beat in range(16)]
        )

    vibrato = 2 ** (
        np.repeat(rng.choice(SCALE, 10), RATE // 2) / 12 + 0.03 * np.sin(2 * np.pi * 5.5 * times())
    )
    return {
        "arpeggio": lambda: at_level(played(20, 1, 0.3), -20),
        "chords": lambda: at_level(played(5, 4, 1.0), -20),
        "organ": lambda: at_level(played(2, 4, 100.0), -20),
        "drums": lambda: at_level(drums(), -20),
        "band": lambda: at_level(at_level(drums(), -20) + at_level(played(10, 3, 0.4), -20), -20),
        "violin": lambda: at_level(sum(tone(2 * root * vibrato * n) / n for n in range(1, 8)), -20),
        "strings": lambda: at_level(
            sum(tone(root * vibrato * n * (1 + 0.002 * k)) / n for n in range(1, 8) for k in range(4)), -20
        ),
    }


KINDS = {"silence": silences, "noise": noises, "tones": tones, "knocks": knocks, "music": music}
