"""What a waveform goes through on its way into a training batch: crop, augmentation."""

from __future__ import annotations

from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lid_toolkit.audio import augment
from lid_toolkit.audio.augment import Wave
from lid_toolkit.audio.voice import change_voice

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Number = TypeVar("Number", int, float)


def _ascending(bounds: tuple[Number, Number]) -> tuple[Number, Number]:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"the lower end {bounds[0]} lies above the upper end {bounds[1]}")
    return bounds


Range = Annotated[tuple[Number, Number], AfterValidator(_ascending)]


class PreprocessorConf(BaseModel):
    """``preprocessor_conf``: crops and augmentations of training waveforms. Validation sees neither."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fix_duration: bool = True
    """Train on random crops of ``target_duration``; shorter utterances stay whole. Else on all of each."""
    target_duration: Positive | Range[Positive] = 3.0
    """Length of a crop in seconds, or the range from which each batch's length is drawn."""
    sample_rate: Annotated[int, Field(gt=0)] = 16000
    """Samples per second of the formatted audio."""
    voice_apply_prob: Probability = 0.0
    """Chance of another voice: pitch, formants and tempo changed apart."""
    pitch_range: Range[Positive] = (0.8, 1.25)
    """Factor on the fundamental, drawn log-uniformly."""
    formant_range: Range[Positive] = (0.85, 1.18)
    """Factor on the formants, drawn log-uniformly."""
    tempo_range: Range[Positive] = (0.85, 1.18)
    """Factor on the tempo, drawn log-uniformly."""
    rir_apply_prob: Probability = 0.0
    """Chance of a simulated room."""
    rir_decay_range: Range[Positive] = (0.1, 0.7)
    """Reverberation time T60 in seconds."""
    rir_direct_db_range: Range[float] = (-3.0, 12.0)
    """Energy of the direct sound over the reverberation, in dB."""
    noise_apply_prob: Probability = 0.0
    """Chance of added noise, white to brown."""
    noise_db_range: Range[float] = (5.0, 30.0)
    """Signal-to-noise ratio in dB."""
    equalizer_apply_prob: Probability = 0.0
    """Chance of a random frequency response."""
    equalizer_db_range: Range[float] = (-10.0, 10.0)
    """Gain at each of 8 points of the response, in dB."""
    telephone_apply_prob: Probability = 0.0
    """Chance of an 8 kHz line with a codec drawn from PCM, mu-law, A-law, GSM 06.10 and ADPCM."""
    volume_apply_prob: Probability = 0.0
    """Chance of another level."""
    volume_db_range: Range[float] = (-30.0, 0.0)
    """Peak below full scale, in dB."""

    def crop_range_s(self) -> tuple[float, float]:
        """Return the shortest and the longest crop in seconds; infinite without ``fix_duration``."""
        if not self.fix_duration:
            return (np.inf, np.inf)
        if isinstance(self.target_duration, tuple):
            return self.target_duration
        return (self.target_duration, self.target_duration)


def augment_wave(wave: Wave, conf: PreprocessorConf, rng: np.random.Generator) -> Wave:
    """Distort a waveform in the order nature does: voice, room, noise, microphone, line, level.

    Args:
        wave: samples in [-1, 1]; not changed.
        conf: chances and ranges.
        rng: the only source of randomness.

    Returns:
        A waveform; another length only where the voice changed.
    """
    rate = conf.sample_rate
    if rng.random() < conf.voice_apply_prob:
        factors = (log_uniform(r, rng) for r in (conf.pitch_range, conf.formant_range, conf.tempo_range))
        wave = change_voice(wave, rate, *factors)
    if rng.random() < conf.rir_apply_prob:
        decay_s, direct_db = rng.uniform(*conf.rir_decay_range), rng.uniform(*conf.rir_direct_db_range)
        wave = augment.reverberate(wave, augment.random_room(rate, decay_s, direct_db, rng))
    if rng.random() < conf.noise_apply_prob:
        noise = augment.coloured_noise(len(wave), rng.uniform(0.0, 2.0), rng)
        wave = augment.add_noise(wave, noise, rng.uniform(*conf.noise_db_range))
    if rng.random() < conf.equalizer_apply_prob:
        wave = augment.equalise(wave, rng.uniform(*conf.equalizer_db_range, size=8))
    if rng.random() < conf.telephone_apply_prob:
        wave = augment.change_level(wave, rng.uniform(-12.0, 0.0))
        wave = augment.telephone(wave, rate, str(rng.choice(augment.TELEPHONE_CODECS)))
    if rng.random() < conf.volume_apply_prob:
        wave = augment.change_level(wave, rng.uniform(*conf.volume_db_range))
    return wave


def log_uniform(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a factor whose logarithm is uniform between the bounds' logarithms."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
