"""Sounds for the tests of the corpora: synthetic speech and what is not speech."""

from __future__ import annotations

import functools

import numpy as np
import soxr

from lid_toolkit.audio.fingerprint import RATE
from local.mini import espeak
from local.parallel import isolated
from local.speech import Wave


@functools.cache
def spoken(text: str, voice: str = "en-us+m3") -> Wave:
    """Return ``text`` read by espeak-ng at 8 kHz."""
    manner = espeak.Manner(voice, rate=160, pitch=50, pitch_range=50, word_gap=0, seed=1)
    wave, rate = isolated(espeak.speak, text, manner)
    return soxr.resample(wave.astype(np.float32) / 32768, rate, RATE)


def tone(*frequencies: float, seconds: float = 2.0) -> Wave:
    """Return sines one after the other at 8 kHz."""
    time = np.arange(int(seconds / len(frequencies) * RATE)) / RATE
    return np.concatenate([0.3 * np.sin(2 * np.pi * f * time) for f in frequencies]).astype(np.float32)


def noise(seconds: float = 2.0, level: float = 0.1) -> Wave:
    """Return white noise at 8 kHz."""
    return np.random.default_rng(0).normal(0, level, int(seconds * RATE)).astype(np.float32)
