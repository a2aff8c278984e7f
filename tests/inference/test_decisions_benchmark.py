"""``benchmarks/decisions.py`` gives the records of ``identify``, and counts them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from data.corpus import RATE, vowel

from lid_toolkit import LanguageIdentifier
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import decisions

    yield decisions
    for name in ("decisions", "nonspeech", "nonspeech_sounds"):
        sys.modules.pop(name, None)


def test_decisions_equal_those_of_identify(model_file: Path, benchmark):
    policy = DecisionPolicy(min_score=0.6, min_speech_seconds=0.1)
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu", policy=policy)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    waves = [("voice", vowel(2.0), RATE), ("noise", noise, RATE), ("voice", noise[:2000], RATE)]
    found = benchmark.decisions(lid, waves)
    for name in ("silero", "energy", "none"):
        for (kind, wave, rate), place in zip(waves, (0, 0, 1), strict=True):
            expected = lid.identify((wave, rate), vad=name)
            own = found[name][kind][place]
            assert (own.status, own.language) == (expected.status, expected.language)
            assert own.score == pytest.approx(expected.score, abs=1e-5)
    assert {records[0].status for records in found["silero"].values()} >= {"no_speech"}


def test_percentages_by_hand(benchmark):
    records = [Prediction("ok", "a", score=0.95), Prediction("ok", "a", score=0.6), Prediction("no_speech")]
    row = benchmark.table({"x": [*records, Prediction("unknown", score=0.99)]})["x"]
    assert (row["pieces"], row["ok"], row["no_speech"], row["unknown"]) == (4, 50.0, 25.0, 25.0)
    assert (row["score 0.5"], row["score 0.9"], row["score 0.99"]) == (50.0, 25.0, 0.0)


def test_only_speech_is_thinned(benchmark):
    audio = [("noise", np.zeros(1), 1)] * 3 + [("speech, 1 s", np.zeros(1), 1)] * 5
    assert [piece[0] for piece in benchmark.thinned(audio, 2)] == ["noise"] * 3 + ["speech, 1 s"] * 3
