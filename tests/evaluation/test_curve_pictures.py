"""Pictures of curves: what they draw, what they say, one style, and the same file on every run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from lid_toolkit.evaluation.curve_pictures import (
    CURVES,
    coverage_picture,
    crops_picture,
    detection_picture,
    durations_picture,
    epochs_picture,
    learning_picture,
    reliability_picture,
)
from lid_toolkit.evaluation.style import PALETTE, saved
from lid_toolkit.evaluation.svg import inline_svg

SHARE = {"value": 0.9, "low": 0.8, "high": 0.95}
BUCKETS = [
    {"from_s": 0.0, "to_s": 1.0, "utterances": 0, "correct": 0, "accuracy": None},
    {"from_s": 1.0, "to_s": 2.0, "utterances": 20, "correct": 18, "accuracy": SHARE},
    {"from_s": 20.0, "to_s": None, "utterances": 10, "correct": 9, "accuracy": SHARE},
]
CROPS = {
    "points": [
        {"seconds": 1.0, "utterances": 20, "correct": 18, "accuracy": SHARE},
        {"seconds": 3.0, "utterances": 0, "correct": 0, "accuracy": None},
    ],
    "whole": {"utterances": 20, "correct": 19, "accuracy": SHARE},
}
BINS = [
    {"posterior": 0.5, "accuracy": 0.4, "answers": 10},
    {"posterior": 0.9, "accuracy": 1.0, "answers": 90},
]
HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 2.0 / epoch,
        "valid_loss": 3.0 / epoch if epoch > 1 else math.nan,
        "train_accuracy": 0.5,
        "valid_accuracy": 0.25 * epoch,
        "valid_macro_accuracy": 0.2 * epoch,
        "valid_per_language": {"eng": 0.2 * epoch, "fra": 0.3, "deu": 0.3},
        "lr": 1e-3,
    }
    for epoch in (1, 2, 3)
]


def lines(picture):
    """Return the points of the lines of a picture that have a colour of the palette."""
    (axes, *_) = picture.figure.axes
    return [line.get_xydata() for line in axes.lines if line.get_color() in PALETTE and len(line.get_xdata())]


def test_coverage():
    picture = coverage_picture({"test": [(0.5, 1.0), (1.0, 0.9)]})
    assert lines(picture)[0].tolist() == [[50, 100], [100, 90]]
    assert [spot.text for spot in picture.spots][-1] == "coverage 100.0 %\naccuracy of the answers 90.00 %"
    assert picture.figure.axes[0].get_legend() is None


def test_detection_errors_are_on_the_scale_of_the_normal_deviate():
    picture = detection_picture({"test": [(0.0, 0.5), (0.1, 0.02)]})
    assert np.allclose(lines(picture)[0], norm.ppf([(0.0005, 0.5), (0.1, 0.02)]))
    ticks = picture.figure.axes[0].get_xticklabels()
    assert [text.get_text() for text in ticks if text.get_text() in ("10", "20")] == ["10", "20"]
    assert next(spot.text for spot in picture.spots) == "false acceptances 0 %\nmisses 50 %"


def test_durations_have_intervals_and_counts_and_leave_out_empty_ranges():
    picture = durations_picture({"a": BUCKETS, "b": BUCKETS[1:2]})
    (axes,) = picture.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1-2\nn = 20", "≥ 20\nn = 10"]
    assert [tuple(line[:, 1]) for line in lines(picture) if len(line) == 2] == 3 * [(80.0, 95.0)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert picture.spots[0].text == "a\n1-2 s: 18 of 20\n90.00 % [80.00, 95.00]"


def test_crops_and_reliability():
    picture = crops_picture({"test": CROPS})
    assert lines(picture)[1].tolist() == [[1.0, 90.0]]
    assert picture.spots[0].text == "1 s of 20 utterances\n90.00 % [80.00, 95.00]"
    picture = reliability_picture({"before": BINS, "after": BINS})
    assert lines(picture)[0].tolist() == [[50, 40], [90, 100]]
    assert picture.spots[-1].text == "after\n90 answers\nposterior 90.0 %\naccuracy 100.0 %"


@pytest.mark.parametrize("count", [1, 3])
def test_learning(count):
    for title, measures in CURVES.items():
        picture = learning_picture(HISTORY[:count], title)
        drawn = lines(picture)
        assert len(drawn) == len(measures)
        factor = 100 if title == "accuracy" else 1
        expected = [[epoch["epoch"], factor * epoch[measures[-1]]] for epoch in HISTORY[:count]]
        assert np.allclose(drawn[-1], expected, equal_nan=True)


def test_languages_of_each_epoch_are_rows_with_the_hardest_of_the_last_on_top():
    axes = epochs_picture(HISTORY).figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "French (fra)",
        "German (deu)",
        "English (eng)",
    ]
    assert np.allclose(axes.images[0].get_array()[2], [20, 40, 60])
    many = [{**HISTORY[0], "valid_per_language": {f"l{n:03d}": n / 107 for n in range(107)}}]
    assert epochs_picture(many).figure.get_size_inches()[1] > 10


@pytest.mark.usefixtures("no_formulas")
@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_file_on_every_run_and_names_are_no_formulas(form):
    series = {"$a_b$": [(0.5, 1.0), (1.0, 0.9)], "_x^$": [(0.5, 0.9), (1.0, 0.8)]}
    files = [saved(coverage_picture(series).figure, form) for _ in range(2)]
    assert files[0] == files[1]
    if form == "svg":
        assert "$a_b$" in files[0].decode()
        assert "_x^$" in files[0].decode()


def test_a_picture_within_a_page_has_its_colours_and_texts_that_stay_texts():
    svg = str(inline_svg(coverage_picture({"<script>\x01": [(0.5, 1.0)], "b": [(0.5, 0.9)]})))
    assert svg.startswith("<svg ")
    assert "<script" not in svg
    assert "&lt;script&gt;\ufffd" in svg
    assert "var(--series0)" in svg or "var(--right)" in svg
    assert "var(--series1)" in svg
    assert PALETTE[1] not in svg
    assert "<style" not in svg
    assert svg.count('class="spot"') == 2
