"""The record of an identified input. Every input gives exactly one, whatever happens to it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lid_toolkit import languages
from lid_toolkit.errors import LidError

Status = Literal["ok", "unknown", "no_speech", "too_short", "failed"]
VadName = Literal["silero", "energy", "none"]


@dataclass(frozen=True)
class Segment:
    """A part of a recording in one language.

    Attributes:
        start: begin, in seconds.
        end: end, in seconds.
        language: a label of the model.
        score: posterior of the language in this part, 0 to 1.
    """

    start: float
    end: float
    language: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """What is known about the language of an input.

    Attributes:
        status: ``ok``; ``unknown``: the scores are below the limits of the policy; ``no_speech``;
            ``too_short``; ``failed``: the input cannot be read.
        language: a label of the model; None unless the status is ``ok``.
        name: the language's English name; None if there is no language or its name is not known.
        score: posterior of the language, 0 to 1, after calibration. If the status is ``unknown``, that of
            the most probable one. None if nothing was computed.
        scores: posteriors of the ``top_k`` most probable labels, in descending order.
        margin: posterior of the most probable label minus that of the second, 0 to 1; None if nothing was
            computed.
        duration: seconds of audio; None if it could not be read.
        speech_seconds: seconds of speech; None if no detector was used.
        windows: number of windows that the model scored.
        segments: the parts of the input by language, in order; empty if they were not asked for.
        reason: why the status is not ``ok``, or why the language is the fallback; else None.
        vad: the detector of speech that was used.
    """

    status: Status
    language: str | None = None
    name: str | None = None
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    duration: float | None = None
    speech_seconds: float | None = None
    windows: int = 0
    segments: tuple[Segment, ...] = ()
    reason: str | None = None
    vad: VadName = "none"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as they are written in JSON: every attribute by its name."""
        return {**asdict(self), "segments": [asdict(segment) for segment in self.segments]}


def failed(error: LidError, duration: float | None = None) -> Prediction:
    """Return the record of an input that cannot be used.

    Args:
        error: what is wrong.
        duration: seconds of audio, if known.
    """
    return Prediction("failed", duration=duration, reason=reason_of(error))


def reason_of(error: LidError) -> str:
    """Return an error on one line without the input that it names: a record belongs to its input."""
    return str(LidError(error.what, mend=error.mend, redo=error.redo))


@functools.lru_cache(maxsize=10_000)  # for a label that is no code, the search for similar ones takes 10 ms
def english_name(label: str) -> str | None:
    """Return the English name of a label of any kind that :mod:`lid_toolkit.languages` knows; else None."""
    try:
        return languages.name(languages.code(label))
    except LidError:
        return None
