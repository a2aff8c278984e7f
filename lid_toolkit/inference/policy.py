"""When to answer, and with which language: one policy for the API, the commands and packed models.

The model gives log posteriors l of its labels. For a label c among the candidates, the policy computes

    s_c = scale * l_c + bias_c + log(prior_c / training_prior_c),      posterior_c = exp(s_c) / sum of exp(s)

in this order: calibration, priors, candidates, normalisation. The normalisation comes last and once; further
ones in between would not change the result, because each divides all labels by the same number.

- Scale and bias: calibration by logistic regression (N. Brümmer & D. van Leeuwen, "On calibration of
  language recognition scores", Odyssey 2006); with equal biases, temperature scaling (C. Guo et al., "On
  calibration of modern neural networks", ICML 2017).
- Priors: M. Saerens et al., "Adjusting the outputs of a classifier to new a priori probabilities", Neural
  Computation 14 (2002), equation 2.4.

Where the language may change, a prior counts once for each part in one language; see
:mod:`lid_toolkit.inference.segmentation` and :mod:`lid_toolkit.inference.stream`.

:mod:`lid_toolkit.inference.decision` applies a policy to scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.files import write_whole
from lid_toolkit.training.overrides import read_settings

LARGEST = 1000.0
"""Limit of scales and biases. With larger ones, scores may become infinite."""

ORIGINS = ("model", "set", "set_digest")
"""What a calibration is of."""

ROUNDING = 1e-6
"""How far the sum of priors may exceed 1."""


@dataclass(frozen=True)
class Calibration:
    """An affine map of log posteriors, which are normalised again after it.

    Attributes:
        scale: above 0; 1 / temperature.
        bias: added to the scaled log posterior of a language; 0 for languages that are not named.
        model: digest of the model file whose scores it was fitted on (:func:`lid_toolkit.steps.digest`);
            None if it is for any. Beside another model file it is not used.
        set: name of the set that it was fitted on; None if it is not known.
        set_digest: digest of that set's ``utt2lang``.
    """

    scale: float = 1.0
    bias: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None
    set: str | None = None
    set_digest: str | None = None

    def __post_init__(self) -> None:
        _number("calibration.scale", self.scale, most=LARGEST, above=0.0)
        for language, bias in _mapping("calibration.bias", self.bias).items():
            _text("calibration.bias", language)
            _number(f"calibration.bias.{language}", bias, least=-LARGEST, most=LARGEST)
        for name in ORIGINS:
            if getattr(self, name) is not None:
                _text(f"calibration.{name}", getattr(self, name))

    @classmethod
    def temperature(cls, temperature: float) -> Calibration:
        """Return the calibration that divides log posteriors by a temperature above 0."""
        _number("calibration.temperature", temperature, least=1 / LARGEST)
        return cls(1.0 / temperature)

    @classmethod
    def from_mapping(cls, content: object, where: object = None) -> Calibration:
        """Return the calibration of a mapping: ``temperature``, or ``scale`` and ``bias``; ``ORIGINS``.

        Raises:
            LidError: a key is unknown or a value is not valid.
        """
        values = _mapping("calibration", content)
        _known(values, ("temperature", "scale", "bias", *ORIGINS), "calibration.", where)
        if "temperature" not in values:
            return cls(**values)
        if "scale" in values or "bias" in values:
            raise LidError("calibration: temperature or scale, not both", where=where, mend="leave one out")
        origins: dict[str, Any] = {name: values.get(name) for name in ORIGINS}
        return replace(cls.temperature(values["temperature"]), **origins)

    @property
    def changes(self) -> bool:
        """Whether it changes scores."""
        return self.scale != 1.0 or any(self.bias.values())

    def to_mapping(self) -> dict[str, Any]:
        """Return the values as plain values, without origins that are not known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class DecisionPolicy:
    """Which languages are possible, how probable they are, and when not to name one.

    Languages may be labels of the model, codes of any kind, or English names: ``en``, ``eng``, ``English``.
    The defaults change no scores and abstain only below 0.3 s and without a syllable of speech (0.2 s).

    Attributes:
        candidates: the languages to choose from; None for all of the model's.
        priors: probability of languages where the model is used; what is left to 1 is shared equally by the
            candidates that are not named. Empty: as in training.
        training_priors: the same for the training data. Empty: all equally probable.
        calibration: of the model's log posteriors.
        min_seconds: shorter inputs are ``too_short``.
        min_speech_seconds: inputs with less speech, or without any, are ``no_speech``. Only if a detector is
            used.
        min_score: inputs whose best posterior is lower are ``unknown``; 0 to 1.
        min_margin: inputs whose best posterior exceeds the second by less are ``unknown``; 0 to 1.
        fallback: language to answer instead of ``unknown``; None for none.
        unknown: what tables and segments have in place of the language where it is unknown.

    Raises:
        LidError: a value is not valid.
    """

    candidates: tuple[str, ...] | None = None
    priors: Mapping[str, float] = field(default_factory=dict)
    training_priors: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    min_seconds: float = 0.3
    min_speech_seconds: float = 0.2
    min_score: float = 0.0
    min_margin: float = 0.0
    fallback: str | None = None
    unknown: str = "unknown"

    def __post_init__(self) -> None:
        if self.candidates is not None:
            object.__setattr__(self, "candidates", _names("candidates", self.candidates))
        for name in ("fallback", "unknown"):
            if name == "unknown" or self.fallback is not None:
                _text(name, getattr(self, name))
        _priors("priors", self.priors)
        _priors("training_priors", self.training_priors)
        for name in ("min_seconds", "min_speech_seconds"):
            _number(name, getattr(self, name))
        for name in ("min_score", "min_margin"):
            _number(name, getattr(self, name), most=1.0)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], where: object = None) -> DecisionPolicy:
        """Return the policy of plain values; keys that are missing have their defaults.

        Raises:
            LidError: a key is unknown or a value is not valid.
        """
        _known(content, [item.name for item in fields(cls)], "", where)
        values = dict(content)
        try:
            if "calibration" in values:
                values["calibration"] = Calibration.from_mapping(values["calibration"], where)
            return cls(**values)
        except LidError as error:
            place = f"{where}: {error.where}" if where and error.where != where else error.where
            raise LidError(error.what, where=place, mend=error.mend) from None

    def to_mapping(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as plain values."""
        values = {**asdict(self), "candidates": None if self.candidates is None else list(self.candidates)}
        default = asdict(DecisionPolicy())
        changed = {key: value for key, value in values.items() if value != default[key]}
        return changed | ({"calibration": self.calibration.to_mapping()} if "calibration" in changed else {})

    @classmethod
    def from_yaml(cls, path: Path) -> DecisionPolicy:
        """Read a file with the attributes as keys; raise LidError if it is not valid."""
        return cls.from_mapping(read_settings(path), path)

    def to_yaml(self, path: Path) -> None:
        """Write a file that :meth:`from_yaml` reads."""
        with write_whole(path) as stream:
            yaml.safe_dump(self.to_mapping(), stream, sort_keys=False, allow_unicode=True)


def _known(content: Mapping[str, Any], known: Sequence[str], prefix: str, where: object) -> None:
    for key in content:
        if key not in known:
            raise LidError(f"unknown key '{prefix}{key}'", where=where, mend=nearest(str(key), known))


def _number(
    name: str, value: object, least: float = 0.0, most: float = math.inf, above: float | None = None
) -> None:
    """Raise LidError unless a value is a finite number of at least ``least`` and at most ``most``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and least <= value <= most and (above is None or value > above):  # type: ignore[operator]
        return
    lower = f"of at least {least:g}" if above is None else f"above {above:g}"
    upper = "" if most == math.inf else f" and at most {most:g}"
    raise LidError(f"must be a number {lower}{upper}, not {value!r:.40}", where=name)


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise LidError(f"must be a mapping, not {value!r:.40}", where=name, mend="write 'key: value' lines")
    return value


def _priors(name: str, priors: object) -> None:
    for language, prior in _mapping(name, priors).items():
        _text(name, language)
        _number(f"{name}.{language}", prior, most=1.0)
    if (total := sum(_mapping(name, priors).values())) > 1 + ROUNDING:
        raise LidError(f"the sum is {total:g}", where=name, mend="it must not exceed 1")


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise LidError(f"{value!r:.40} is not a list", where=name, mend="give a list of languages")
    for item in value:
        _text(name, item)
    names = tuple(dict.fromkeys(value))
    if not names:
        raise LidError("the list is empty", where=name, mend="give at least one language")
    return names


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):  # YAML reads the code of Norwegian, no, as false
        raise LidError(f"{value!r:.40} is not a text", where=name, mend="write it in quotes, such as 'no'")
