"""Models that earlier versions packed give the answers that they gave then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.package.format import PACKAGE_FORMAT

PACKS = Path(__file__).resolve().parents[1] / "fixtures" / "packs"


@pytest.mark.parametrize("version", range(1, PACKAGE_FORMAT + 1))
def test_packs_of_every_format_are_read(version):
    """Each was packed, and these answers stored, by a version of the toolkit that wrote this format."""
    stored = json.loads((PACKS / f"format_{version}.json").read_text())
    lid = LanguageIdentifier.from_pretrained(PACKS / f"format_{version}.zip", "cpu")
    wave = (0.1 * np.random.default_rng(7).standard_normal(16000)).astype(np.float32)
    assert list(lid.languages) == stored["languages"]
    # the policy of the pack scales log posteriors by 1.5, so these scores are not the model's own
    assert lid.policy.calibration.scale == 1.5
    # rounding on another processor
    assert lid.identify(wave, vad="none").scores == pytest.approx(stored["scores"], abs=1e-5)
    assert np.allclose(lid.embed(wave)[0], stored["embedding"], atol=1e-5)
