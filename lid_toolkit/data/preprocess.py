"""Crops and augmentations of training waveforms: their configuration and application."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from lid_toolkit.augment import distortions
from lid_toolkit.augment.drawn import Drawn, Noise, distorted
from lid_toolkit.augment.fourier import Wave
from lid_toolkit.augment.sounds import find_list, impulse_response, list_places, random_part, read_sounds
from lid_toolkit.augment.voice import changed_length
from lid_toolkit.datadir.tables.table import Table

Probability = Annotated[float, Field(ge=0, le=1)]
Number = TypeVar("Number", int, float)


def _ascending(bounds: tuple[Number, Number]) -> tuple[Number, Number]:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]} is greater than the upper bound {bounds[1]}")
    return bounds


def _low_high(value: object) -> object:
    """Split ESPnet's ``"5_30"`` into two bounds; ``"10"`` is both of them."""
    if not isinstance(value, str):
        return value
    ends = value.split("_")
    return ends if len(ends) == 2 else [value, value]


Range = Annotated[tuple[Number, Number], AfterValidator(_ascending)]
Decibels = Annotated[Range[float], BeforeValidator(_low_high)]


class NoiseInfo(NamedTuple):
    """One kind of noise, in ESPnet's order: ``[weight, list of recordings, how many at once, SNR in dB]``."""

    weight: NonNegativeFloat
    scp: str
    together: Range[PositiveInt]
    db_range: Decibels


class PreprocessorConf(BaseModel):
    """``preprocessor_conf``: crops and augmentations of training waveforms (not used in validation)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fix_duration: bool = True
    """Train on random crops of `target_duration` instead of whole utterances; shorter ones stay whole."""
    target_duration: PositiveFloat | Range[PositiveFloat] | None = 3.0
    """Length of a crop in seconds, or a range from which it is drawn for each batch; null for no crops."""
    augment_on: Literal["readers", "device"] = "readers"
    """Where rooms, noise, equalizer and level are applied: in the workers, or on the model's device."""
    sample_rate: PositiveInt = 16000
    """Sampling rate of the formatted audio in Hz."""
    voice_apply_prob: Probability = 0.0
    """Probability of changing the voice: pitch, formants and tempo, independently."""
    pitch_range: Range[PositiveFloat] = (0.8, 1.25)
    """Factor of the fundamental frequency, drawn log-uniformly."""
    formant_range: Range[PositiveFloat] = (0.85, 1.18)
    """Factor of the formant frequencies, drawn log-uniformly."""
    tempo_range: Range[PositiveFloat] = (0.85, 1.18)
    """Factor of the tempo, drawn log-uniformly."""
    rir_apply_prob: Probability | None = None
    """Probability of reverberation; null for 1 with `rir_scp`, otherwise 0."""
    rir_scp: str | None = None
    """List of room impulse responses; null for simulated rooms."""
    rir_decay_range: Range[PositiveFloat] = (0.1, 0.7)
    """Reverberation time T60 of a simulated room in seconds."""
    rir_direct_db_range: Range[float] = (-3.0, 12.0)
    """Ratio of direct to reverberant energy in a simulated room, in dB."""
    noise_apply_prob: Probability | None = None
    """Probability of added noise; null for 1 with `noise_scp` or `noise_info`, otherwise 0."""
    noise_scp: str | None = None
    """List of noise recordings; without it and `noise_info`, noise is synthesised, from white to brown."""
    noise_db_range: Decibels = (5.0, 30.0)
    """Signal-to-noise ratio in dB for `noise_scp` or synthesised noise: `[5, 30]`, or `'5_30'` in quotes."""
    noise_info: tuple[NoiseInfo, ...] | None = None
    """Kinds of noise: `[weight, list, [fewest, most], [dB, dB]]` each; one is drawn by weight."""
    short_noise_thres: NonNegativeFloat = 0.5
    """Noise shorter than this proportion of the speech is added once; longer noise is repeated to its end."""
    equalizer_apply_prob: Probability = 0.0
    """Probability of a random frequency response."""
    equalizer_db_range: Range[float] = (-10.0, 10.0)
    """Gain at each of the 8 points of the frequency response, in dB."""
    telephone_apply_prob: Probability = 0.0
    """Probability of an 8 kHz telephone line."""
    telephone_codecs: Annotated[tuple[distortions.Codec, ...], Field(min_length=1)] = (
        distortions.TELEPHONE_CODECS
    )
    """Codecs of the line, with equal probabilities: linear, mu-law, A-law, GSM 06.10, IMA ADPCM."""
    volume_apply_prob: Probability = 0.0
    """Probability of changing the level."""
    volume_db_range: Range[float] = (-30.0, 0.0)
    """Peak level relative to full scale, in dB."""

    def crop_range_s(self) -> tuple[float, float]:
        """Return the shortest and longest crop in seconds; infinite without ``fix_duration``."""
        if not self.fix_duration or self.target_duration is None:
            return (np.inf, np.inf)
        if isinstance(self.target_duration, tuple):
            return self.target_duration
        return (self.target_duration, self.target_duration)

    def noise_prob(self) -> float:
        """Return the probability of added noise."""
        if self.noise_apply_prob is None:
            return float(bool(self.noise_scp or self.noise_info))
        return self.noise_apply_prob

    def rir_prob(self) -> float:
        """Return the probability of reverberation."""
        return float(bool(self.rir_scp)) if self.rir_apply_prob is None else self.rir_apply_prob

    def noise_kinds(self) -> tuple[NoiseInfo, ...]:
        """Return the kinds of recorded noise; if empty, noise is synthesised."""
        single = (NoiseInfo(1.0, self.noise_scp, (1, 1), self.noise_db_range),) if self.noise_scp else ()
        return tuple(kind for kind in (*(self.noise_info or ()), *single) if kind.weight > 0)

    def sound_lists(self) -> dict[str, str]:
        """Return the lists of recordings that are used, each with the key of its probability."""
        noises = [kind.scp for kind in self.noise_kinds()] if self.noise_prob() > 0 else []
        rooms = [self.rir_scp] if self.rir_scp and self.rir_prob() > 0 else []
        return dict.fromkeys(noises, "noise_apply_prob") | dict.fromkeys(rooms, "rir_apply_prob")


@dataclass(frozen=True)
class Sounds:
    """The recordings that are used for augmentation.

    Attributes:
        noises: the list of recordings of each of ``noise_kinds()``.
        rooms: room impulse responses; None: rooms are simulated.
    """

    noises: tuple[Table, ...] = ()
    rooms: Table | None = None


def load_sounds(conf: PreprocessorConf) -> Sounds:
    """Read the lists of recordings that a configuration uses.

    Raises:
        LidError: a list, or the first recording in it, is missing or not valid.
    """
    tables = {path: _read_list(path, key) for path, key in conf.sound_lists().items()}
    noises = [tables[kind.scp] for kind in conf.noise_kinds() if kind.scp in tables]
    return Sounds(tuple(noises), tables.get(conf.rir_scp or ""))


def check_sounds(conf: PreprocessorConf, to_come: Collection[str] = ()) -> None:
    """Check the lists of recordings that a configuration uses, except those that are still to be made.

    Raises:
        LidError: a list, or the first recording in it, is missing or not valid.
    """
    expected = {Path(path).resolve() for path in to_come}
    for path, key in conf.sound_lists().items():
        places = {place.resolve() for place in list_places(path)}
        if find_list(path).exists() or places.isdisjoint(expected):
            _read_list(path, key)


def _read_list(path: str, key: str) -> Table:
    return read_sounds(path, f"make this list, or set preprocessor_conf.{key}: 0")


def augment_wave(wave: Wave, conf: PreprocessorConf, sounds: Sounds, rng: np.random.Generator) -> Wave:
    """Draw distortions for a waveform and apply them; raises like :func:`draw`.

    Args:
        wave: samples in [-1, 1]; not changed.
        conf: probabilities and ranges.
        sounds: recordings of noise and rooms.
        rng: the only source of randomness.

    Returns:
        The augmented waveform; its length differs only if the tempo was changed.
    """
    return distorted(wave, draw(len(wave), conf, sounds, rng), conf.sample_rate)


def draw(samples: int, conf: PreprocessorConf, sounds: Sounds, rng: np.random.Generator) -> Drawn:
    """Draw the distortions of an utterance.

    Args:
        samples: length of the utterance.
        conf: probabilities and ranges.
        sounds: recordings of noise and rooms.
        rng: the only source of randomness.

    Raises:
        AudioError: a recording of noise or a room cannot be read.
    """
    voice = room = filter_taps = line = peak_db = None
    noises: tuple[Noise, ...] = ()
    if rng.random() < conf.voice_apply_prob:
        ranges = (conf.pitch_range, conf.formant_range, conf.tempo_range)
        pitch, formants, tempo = (log_uniform(bounds, rng) for bounds in ranges)
        voice = (pitch, formants, tempo)
        samples = changed_length(samples, tempo)
    if rng.random() < conf.rir_prob():
        room = _room(conf, sounds, rng)
    if rng.random() < conf.noise_prob():
        noises = _noises(samples, conf, sounds, rng)
    if rng.random() < conf.equalizer_apply_prob:
        filter_taps = distortions.equaliser(rng.uniform(*conf.equalizer_db_range, size=8))
    if rng.random() < conf.telephone_apply_prob:
        line = (rng.uniform(-12.0, 0.0), str(rng.choice(conf.telephone_codecs)))
    if rng.random() < conf.volume_apply_prob:
        peak_db = rng.uniform(*conf.volume_db_range)
    return Drawn(voice, room, noises, filter_taps, line, peak_db)


def _room(conf: PreprocessorConf, sounds: Sounds, rng: np.random.Generator) -> Wave:
    """Return a recorded or simulated impulse response."""
    if sounds.rooms is not None:
        return impulse_response(sounds.rooms.value(int(rng.integers(len(sounds.rooms)))), conf.sample_rate)
    decay_s, direct_db = rng.uniform(*conf.rir_decay_range), rng.uniform(*conf.rir_direct_db_range)
    return distortions.random_room(conf.sample_rate, decay_s, direct_db, rng)


def _noises(
    samples: int, conf: PreprocessorConf, sounds: Sounds, rng: np.random.Generator
) -> tuple[Noise, ...]:
    """Return noise for an utterance: recordings of one kind, each at its own level, or synthesised noise."""
    if not sounds.noises:
        white = distortions.white_spectrum(samples, rng)
        return (Noise(white, rng.uniform(*conf.noise_db_range), rng.uniform(0.0, 2.0)),)
    kinds = conf.noise_kinds()
    weights = np.array([kind.weight for kind in kinds])
    number = int(rng.choice(len(kinds), p=weights / weights.sum()))
    kind, table = kinds[number], sounds.noises[number]

    def one() -> Noise:
        ref = table.value(int(rng.integers(len(table))))
        part = random_part(ref, samples, conf.sample_rate, conf.short_noise_thres, rng)
        return Noise(part, rng.uniform(*kind.db_range))

    return tuple(one() for _ in range(rng.integers(*kind.together, endpoint=True)))


def log_uniform(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a factor whose logarithm is uniform between the bounds' logarithms."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
