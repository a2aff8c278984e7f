"""The command that measures how much an answer depends on its batch."""

from __future__ import annotations

import pytest
import torch
from batch_invariance import Difference, Setting, difference, line, measure, onnx_row
from models.combinations import ENCODERS, FRONTENDS

SETTINGS = [Setting(1, 1, False), Setting(1, 1, True), Setting(3, 2, False), Setting(3, 2, True)]
SECONDS = (0.01, 0.5, 2.0)
ROW = {"frontend": "default", "frontend_conf": FRONTENDS["default"]}


def small_measure(encoder: str, pooling: str) -> Difference:
    return measure(ROW, SECONDS, [encoder], [pooling], SETTINGS)[encoder, pooling]


@pytest.mark.parametrize(
    ("encoder", "pooling"), [("ecapa_tdnn", "stats"), ("rawnet3", "mean"), ("xvector", "chn_attn_stat")]
)
def test_an_answer_does_not_depend_on_the_batch(encoder, pooling):
    found = small_measure(encoder, pooling)
    assert found.float32 < 1e-5
    assert found.bfloat16 < 0.02
    assert found.from_float32 > 1e-5  # else autocast had no effect


@pytest.mark.parametrize("with_lengths", [False, True])
def test_answers_of_an_onnx_model_do_not_depend_on_the_batch(with_lengths):
    row = onnx_row(with_lengths)
    found = measure(row, SECONDS, ["identity"], ["mean"], SETTINGS)["identity", "mean"]
    assert found.float32 < 1e-5
    assert not found.reason


@pytest.mark.parametrize("module", ["poolings", "encoders.rawnet3"])
def test_a_missing_mask_is_seen(module, monkeypatch):
    monkeypatch.setattr(f"lid_toolkit.models.{module}.padding_mask", lambda *_: None)
    assert small_measure("rawnet3", "mean").float32 > 1e-3


def test_a_model_that_cannot_be_built_has_a_reason(monkeypatch):
    monkeypatch.setitem(ENCODERS, "rawnet3", {"model_scale": 0})
    found = small_measure("rawnet3", "mean")
    assert found.reason.startswith("encoder_conf")
    assert line("default", "rawnet3", [found]) == f"| default | rawnet3 | {found.reason} | | |"


def test_what_is_not_a_number_differs():
    one, other = torch.zeros(2, 3), torch.tensor([[0.0, 0.0, torch.nan]] * 2)
    found = difference(dict(zip(SETTINGS, (one, one, other, one + 0.25), strict=True)))
    assert found == Difference(float("inf"), 0.25, 0.0)
