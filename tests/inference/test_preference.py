"""A model's preference among languages, and the calibration that takes a share of it off."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lid_toolkit import DecisionPolicy, LanguageIdentifier
from lid_toolkit.inference.policy import Calibration
from lid_toolkit.inference.preference import DEVIATION, SECONDS, SHARE, answer_to_noise, without_preference


def noise_of(lid: LanguageIdentifier) -> np.ndarray:
    """The noise that the module documents."""
    return np.random.default_rng(0).normal(0.0, DEVIATION, round(SECONDS * lid.rate))


def test_a_bias_is_a_share_of_the_log_posterior():
    found = without_preference({"eng": 0.5, "fra": 0.25, "deu": 0.0}, 0.2)
    assert found.scale == 1.0
    assert found.bias == pytest.approx(
        {"eng": 0.2 * math.log(2), "fra": 0.2 * math.log(4), "deu": 0.2 * 6 * math.log(10)}
    )
    assert without_preference({"eng": 0.5}) == Calibration(bias={"eng": SHARE * math.log(2)})


def test_the_answer_is_the_models_own_for_all_labels(model_file):
    """A policy of the identifier does not change it."""
    policy = DecisionPolicy(candidates=("deu", "eng"), calibration=Calibration(0.5, {"eng": 3.0}))
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu", policy=policy)
    plain = LanguageIdentifier.from_pretrained(model_file, "cpu")
    expected = plain.identify(noise_of(plain), vad="none").scores
    assert set(expected) == set(lid.languages)
    assert answer_to_noise(lid) == expected


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_noise_then_has_the_power_of_what_is_left(model_file, share):
    """Of p, p ** (1 - share) is left, normalised: with a share of 1 all languages are equally probable."""
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    before = answer_to_noise(lid)
    policy = DecisionPolicy(calibration=without_preference(before, share))
    after = lid.identify(noise_of(lid), vad="none", policy=policy).scores
    left = {label: posterior ** (1 - share) for label, posterior in before.items()}
    assert after == pytest.approx(
        {label: value / sum(left.values()) for label, value in left.items()}, abs=1e-5
    )
