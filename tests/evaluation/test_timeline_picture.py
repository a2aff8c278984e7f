"""The timeline: where its bars are, what it says, and names that are no formulas."""

from __future__ import annotations

import re

import pytest

from lid_toolkit.evaluation.timeline_picture import clock, timeline_picture
from lid_toolkit.inference.prediction import Segment

PARTS = (Segment(0, 60, "eng", 0.9), Segment(70, 100, "fra", 0.5), Segment(110, 120, "eng", 1.0))


def test_times():
    assert [clock(seconds) for seconds in (0.0, 7.46, 60, 125.4, 3600, 3725)] == [
        *("0.0 s", "7.5 s", "1:00", "2:05", "1:00:00", "1:02:05")
    ]


def test_rows_and_shares():
    texts = re.findall(r">([^<>]+)</text>", timeline_picture("a_$b$.wav", 120.0, PARTS, "svg").decode())
    assert "a_$b$.wav: 2:00, 2 languages, 3 segments" in texts
    assert texts.index("English (eng)") < texts.index("French (fra)")
    assert {"1:10, 70 %", "30.0 s, 30 %"} <= set(texts)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_segments_give_the_same_file_also_without_any(form):
    for parts in (PARTS, ()):
        assert timeline_picture("a", 120.0, parts, form) == timeline_picture("a", 120.0, parts, form)
