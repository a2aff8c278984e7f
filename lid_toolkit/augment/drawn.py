"""The distortions drawn for one utterance, and their application to its waveform.

Drawing and applying are separate, so that some of the distortions can be applied later, to a whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lid_toolkit.augment import distortions
from lid_toolkit.augment.fourier import Spectra, Wave
from lid_toolkit.augment.voice import change_voice


@dataclass(frozen=True)
class Noise:
    """Noise to be added.

    Attributes:
        source: samples (T,), as many as the speech has; with ``slope``, the spectrum of white noise.
        snr_db: signal-to-noise ratio in dB.
        slope: exponent of the frequency in the power spectrum of synthesised noise; None: it is recorded.
    """

    source: Wave | Spectra
    snr_db: float
    slope: float | None = None

    def samples(self, count: int) -> Wave:
        """Return (count,) samples."""
        if self.slope is None:
            return self.source  # type: ignore[return-value]
        return distortions.coloured_noise(self.source, self.slope, count)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Drawn:
    """What was drawn for an utterance, in the order in which it is applied; None or empty: not applied.

    Attributes:
        voice: factors of pitch, formants and tempo.
        room: impulse response (K,), which begins with the direct sound.
        noises: noises, whose levels all refer to the speech without noise.
        equaliser: filter (K,), K odd, whose middle tap is at time 0.
        line: peak level in dBFS before a telephone line, and the codec of the line.
        peak_db: peak level in dBFS.
    """

    voice: tuple[float, float, float] | None = None
    room: Wave | None = None
    noises: tuple[Noise, ...] = ()
    equaliser: Wave | None = None
    line: tuple[float, str] | None = None
    peak_db: float | None = None

    def split(self) -> tuple[Drawn, Drawn]:
        """Return what must come first, in a reader, and the rest, which a device can apply to a batch.

        A voice and a telephone line are not for devices. The order of distortions is always the same, so
        with a line only the level is in the rest.
        """
        if self.line is None:
            return Drawn(voice=self.voice), replace(self, voice=None)
        return replace(self, peak_db=None), Drawn(peak_db=self.peak_db)


def distorted(wave: Wave, drawn: Drawn, rate: int) -> Wave:
    """Return a waveform (T,) in [-1, 1] with distortions at a sampling rate in Hz; ``wave`` is not changed.

    The physical order: voice, room, noise, microphone, line, level. The length changes only with the tempo.
    """
    if drawn.voice is not None:
        wave = change_voice(wave, rate, *drawn.voice)
    if drawn.room is not None:
        wave = distortions.reverberate(wave, drawn.room)
    if drawn.noises:
        added = (distortions.scaled_noise(wave, n.samples(len(wave)), n.snr_db) for n in drawn.noises)
        wave = wave + sum(added, np.zeros_like(wave))
    if drawn.equaliser is not None:
        wave = distortions.equalise(wave, drawn.equaliser)
    if drawn.line is not None:
        before_db, codec = drawn.line
        wave = distortions.telephone(distortions.change_level(wave, before_db), rate, codec)
    if drawn.peak_db is not None:
        wave = distortions.change_level(wave, drawn.peak_db)
    return wave
