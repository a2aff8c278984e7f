"""The options of a request: those of ``lid identify`` that concern the answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lid_toolkit.cli import names, probabilities
from lid_toolkit.errors import LidError
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.segmentation import segmenting_windows

LEAST_WINDOW_S = 0.5
MOST_OVERLAP = 10
"""Windows that may contain the same moment: more would be much work for one recording."""

LIMITS = ("min_seconds", "min_speech_seconds", "min_score", "min_margin", "fallback")


class Options(BaseModel):
    """Options in the query of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    languages: str | None = Field(
        None, description="Languages to choose from, by code or name, separated by commas: eng,French,de."
    )
    prior: str | None = Field(
        None, description="Probabilities of languages where the model is used: eng=0.7,fra=0.3."
    )
    top_k: int | None = Field(None, ge=1, description="Number of languages with their scores; default: all.")
    window: float | None = Field(
        None, ge=LEAST_WINDOW_S, description="Seconds of a window; default: the whole recording."
    )
    hop: float | None = Field(
        None,
        gt=0,
        description="Seconds between windows; default: half a window, a quarter of one for segments.",
    )
    segments: bool = Field(
        False, description="Find the parts of the recording by language; then a window has 5 s by default."
    )
    vad: Literal["auto", "silero", "energy", "none"] = Field("auto", description="Detector of speech.")
    fallback: str | None = Field(None, description="Language to answer instead of unknown.")
    min_seconds: float | None = Field(None, ge=0, description="Shorter recordings are too_short.")
    min_speech_seconds: float | None = Field(
        None, ge=0, description="Recordings with less speech are no_speech."
    )
    min_score: float | None = Field(
        None, ge=0, le=1, description="Recordings with a lower score are unknown."
    )
    min_margin: float | None = Field(
        None, ge=0, le=1, description="Recordings with a smaller margin are unknown."
    )

    def arguments(self, policy: DecisionPolicy) -> dict[str, Any]:
        """Return the arguments of ``LanguageIdentifier.identify``.

        Args:
            policy: the policy that the options change.

        Raises:
            LidError: an option is not valid, or the windows overlap too much.
        """
        window = segmenting_windows(self.window, None).window if self.segments else self.window
        if self.hop is not None and window is not None and self.hop < (least := window / MOST_OVERLAP):
            raise LidError(f"must be at least {least:g} s with these windows", where="hop")
        given: dict[str, Any] = {name: getattr(self, name) for name in LIMITS}
        given["candidates"] = None if self.languages is None else _parsed(names, self.languages, "languages")
        given["priors"] = None if self.prior is None else _parsed(probabilities, self.prior, "prior")
        changed = {name: value for name, value in given.items() if value is not None}
        return {
            "policy": replace(policy, **changed),
            "top_k": self.top_k,
            "window": self.window,
            "hop": self.hop,
            "segments": self.segments,
            "vad": self.vad,
        }


def _parsed(parse: Callable[[str], Any], text: str, name: str) -> Any:
    """Parse an option as the command line does."""
    try:
        return parse(text)
    except argparse.ArgumentTypeError as error:
        raise LidError(str(error), where=name) from None
