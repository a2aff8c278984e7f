"""``benchmarks/whisper_hearing.py`` hears what the front end of the recipe hears, in all layers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data.corpus import RATE, vowel
from models.pretrained_encoders import save_tiny

from lid_toolkit.models.build import build_frontend

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import whisper_hearing

    yield whisper_hearing
    sys.modules.pop("whisper_hearing")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> Path:
    return save_tiny(
        tmp_path_factory.mktemp("whisper"), "whisper", vocab_size=51865, decoder_start_token_id=50258
    )


def front_end(whisper: Path, **conf: object):
    description = {"path_or_url": str(whisper), "vectors": ["mean", "state"], **conf}
    return build_frontend({"frontend": "whisper_language", "frontend_conf": description}).eval()


@pytest.mark.parametrize(("silence", "pair"), [("0.5+3", [0.5, 3.0]), ("0.2+1", [0.2, 1.0])])
def test_it_hears_what_the_front_end_hears(hearing, whisper, silence: str, pair: list[float]):
    wave = torch.from_numpy(vowel(1.3)).float()[None]
    frontend = front_end(whisper, silence=pair)
    with torch.inference_mode():
        heard = hearing.hear_one(frontend, wave, silence)
        feats_d = frontend(wave, torch.tensor([wave.shape[1]]))[0][0, 0].double().numpy()
    languages, size = len(frontend.languages), 32
    np.testing.assert_allclose(heard["posteriors"], feats_d[:languages], atol=1e-5)
    np.testing.assert_allclose(heard["encoder 3 mean"], feats_d[languages:-size], atol=1e-5)
    np.testing.assert_allclose(heard["decoder 1"] / size**0.5, feats_d[-size:], atol=1e-5)
    assert {name for name in heard if name.endswith("deviation")} == {
        f"encoder {n} deviation" for n in range(4)
    }


def test_silence_may_fill_a_window_of_30_s(hearing, whisper):
    wave = torch.from_numpy(vowel(1.0)).float()[None]
    frontend = front_end(whisper, whole_windows=True)
    with torch.inference_mode():
        heard = hearing.hear_one(frontend, wave, "0+fill")
        feats_d = frontend(wave, torch.tensor([RATE]))[0][0, 0].double().numpy()
    np.testing.assert_allclose(heard["posteriors"], feats_d[: len(frontend.languages)], atol=1e-4)


def test_scaled_vectors_have_a_mean_squared_length_of_1(hearing):
    vectors = np.random.default_rng(0).normal(3, 2, (50, 7))
    scaled = hearing.scaled(vectors)
    assert ((scaled - scaled.mean(axis=0)) ** 2).sum(axis=1).mean() == pytest.approx(1)
    np.testing.assert_allclose(scaled[1] / scaled[0], vectors[1] / vectors[0])
