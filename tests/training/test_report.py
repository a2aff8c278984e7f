"""Curves that are pictures, metrics that read back, events for TensorBoard."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lid_toolkit.training.report import CURVES, describe, draw_curves, report

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 2.0 / epoch,
        "valid_loss": 3.0 / epoch,
        "train_accuracy": 0.5,
        "valid_accuracy": 0.25 * epoch,
        "valid_macro_accuracy": 0.2 * epoch,
        "lr": 1e-3,
        "seconds": 12.0,
    }
    for epoch in (1, 2, 3)
]


def test_metrics_pictures_and_events(tmp_path):
    report(HISTORY[:1], tmp_path)
    report(HISTORY, tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == HISTORY
    assert {path.name for path in (tmp_path / "images").iterdir()} == {f"{name}.png" for name in CURVES}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("valid/accuracy")] == [1, 3]
    assert events.Scalars("valid/accuracy")[-1].value == pytest.approx(0.75)


def test_a_curve_has_a_line_for_each_measure(tmp_path):
    (tmp_path / "a.png").write_bytes(draw_curves(HISTORY, "loss", CURVES["loss"]))
    picture = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    coloured = picture[(np.ptp(picture, axis=2) > 0.3)]
    assert len(np.unique(coloured.argmax(axis=1))) >= 2


def test_the_log_line_says_what_matters():
    assert describe(HISTORY[1]) == (
        "epoch 2: train loss 1.000, accuracy 0.5000; valid loss 1.500, accuracy 0.5000, macro 0.4000; 12 s"
    )
