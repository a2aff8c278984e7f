"""A model's preference among languages, which its answer to noise shows, and a calibration without it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lid_toolkit.inference.policy import Calibration, DecisionPolicy

if TYPE_CHECKING:
    from lid_toolkit.inference.identifier import LanguageIdentifier

SECONDS, DEVIATION = 5.0, 0.03
"""Length and standard deviation of the noise; the model's answer hardly depends on them."""
SHARE = 0.2
"""The share of the preference to take off, which helps Whisper-base on real speech (RESULTS.md)."""
LEAST = 1e-6
"""Posteriors below it count as this, so that no bias is infinite."""


def answer_to_noise(lid: LanguageIdentifier) -> dict[str, float]:
    """Return the posteriors of all labels, without calibration and priors, for white noise, best first."""
    noise_t = np.random.default_rng(0).normal(0.0, DEVIATION, round(SECONDS * lid.rate))
    return dict(lid.identify(noise_t, policy=DecisionPolicy(), vad="none").scores)


def without_preference(posteriors: dict[str, float], share: float = SHARE) -> Calibration:
    """Return the calibration that takes a share of a model's preference off its log posteriors.

    The bias of a language is minus ``share`` times the log posterior that the model has for noise. With a
    share of 1 this is the contextual calibration of Zhao et al., "Calibrate before use", ICML 2021.

    Args:
        posteriors: of all labels, for noise: :func:`answer_to_noise`.
        share: from 0 to 1.
    """
    return Calibration(bias={label: -share * math.log(max(p, LEAST)) for label, p in posteriors.items()})
