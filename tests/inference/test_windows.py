"""Windows: they cover the recording, and their evidence together is a value computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.inference.windows import Windowing, cut, evidence

RATE = 100


def test_windows_have_one_length_and_the_last_ends_with_the_recording():
    windowing = Windowing(window=10, hop=5)
    assert windowing.starts(2000, RATE) == ([0, 500, 1000], 1000)
    assert windowing.starts(2100, RATE) == ([0, 500, 1000, 1100], 1000)
    assert windowing.starts(1001, RATE) == ([0, 1], 1000)
    for total in (1000, 999, 1):
        assert windowing.starts(total, RATE) == ([0], total)
    assert Windowing(window=10).starts(2000, RATE) == windowing.starts(2000, RATE)
    assert Windowing(window=10, hop=10).starts(2000, RATE) == ([0, 1000], 1000)


def test_without_a_window_only_recordings_of_more_than_ten_minutes_are_cut():
    assert Windowing().starts(60_000, RATE) == ([0], 60_000)
    starts, size = Windowing().starts(60_001, RATE)
    assert (size, starts[:2], starts[-2:], len(starts)) == (3000, [0, 3000], [57_000, 57_001], 21)


@pytest.mark.parametrize(
    ("window", "hop", "message"),
    [
        (0, None, "window: must be above 0 s, not 0"),
        (float("nan"), None, "window: must be above 0 s, not nan"),
        (float("inf"), None, "window: must be"),
        ("10", None, "window: must be"),
        (10, 11, r"hop: must be above 0 s and at most window \(10 s\), not 11"),
        (10, 0, "hop: must be"),
        (None, 5, r"hop: has no effect without window \(give window too\)"),
    ],
)
def test_windows_that_make_no_sense(window, hop, message):
    with pytest.raises(LidError, match=message):
        Windowing(window, hop)


@pytest.mark.parametrize("block", [1, 7, 100, 333, 1000])
def test_clips_do_not_depend_on_the_blocks(block):
    wave = np.arange(333, dtype=np.float32)
    blocks = iter([wave[begin : begin + block] for begin in range(0, len(wave), block)])
    clips = list(cut(blocks, [0, 50, 100, 233], 100))
    assert [clip.start for clip in clips] == [0, 50, 100, 233]
    for clip in clips:
        assert np.array_equal(clip.wave, wave[clip.start : clip.start + 100])
    assert next(blocks, None) is None, "all blocks are read"


def test_evidence_is_the_weighted_geometric_mean():
    """Weights 3 : 1 of (0.8, 0.2) and (0.5, 0.5): 0.8^0.75 * 0.5^0.25 to 0.2^0.75 * 0.5^0.25, 2.828 to 1."""
    logs = np.log([[0.8, 0.2], [0.5, 0.5]]).astype(np.float32)
    assert np.exp(evidence(logs, [3.0, 1.0])) == pytest.approx([0.738796, 0.261204], abs=1e-6)
    assert np.exp(evidence(logs, [0.0, 0.0])) == pytest.approx([2 / 3, 1 / 3])
    assert np.exp(evidence(logs[:1], [7.0])) == pytest.approx([0.8, 0.2])
    assert evidence(logs[::-1], [1.0, 3.0]) == pytest.approx(evidence(logs, [3.0, 1.0]))


def test_windows_without_speech_do_not_count_whatever_their_scores():
    logs = np.array([np.log([0.8, 0.2]), [np.nan, np.nan], [-np.inf, 0.0]])
    assert np.exp(evidence(logs, [2.0, 0.0, 0.0])) == pytest.approx([0.8, 0.2])


def test_two_certain_windows_outweigh_three_hesitant_ones():
    logs = np.log([[0.99, 0.01]] * 2 + [[0.45, 0.55]] * 3)
    assert evidence(logs, [1.0] * 5).argmax() == 0
