"""``benchmarks/whisper_layers.py``: answers to a fold depend on nothing that its labels say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
MODULES = ("whisper_layers", "whisper_hearing", "exact_correction")
LABELS, VIDEOS, CLIPS = ("deu", "fra", "nld"), 6, 2


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import whisper_layers

    yield whisper_layers
    for name in MODULES:
        sys.modules.pop(name, None)


def made(layers, swapped: np.ndarray | None = None):
    """Return clips of three languages of four, posteriors that tell nothing, and features that tell all.

    ``swapped``: clips whose true language is another one.
    """
    languages = [label for label in LABELS for _ in range(VIDEOS * CLIPS)]
    videos = [f"{label}{video}" for label in LABELS for video in range(VIDEOS) for _ in range(CLIPS)]
    true_u = np.repeat(np.arange(3), VIDEOS * CLIPS)
    features = np.eye(3)[true_u] + np.random.default_rng(0).normal(0, 0.1, (len(true_u), 3))
    if swapped is not None:
        true_u = np.where(swapped, (true_u + 1) % 3, true_u)
    return layers.Clips(languages, videos, true_u), np.log(np.full((len(true_u), 4), 0.25)), features


def test_the_answers_to_a_fold_do_not_depend_on_its_labels(layers):
    clips, posteriors, features = made(layers)
    found = layers.nested(clips, posteriors, features)
    assert (found.among_all_u == clips.true_u).mean() > 0.9
    inside = found.fold_u == 2
    others, _, _ = made(layers, swapped=inside)
    again = layers.nested(others, posteriors, features)
    np.testing.assert_array_equal(again.among_all_u[inside], found.among_all_u[inside])
    assert again.inner_f[1] == found.inner_f[1]
    assert again.inner_f != found.inner_f


def test_the_best_row_is_chosen_for_each_fold_by_the_inner_folds(layers):
    fold_u = np.array([1, 2, 3, 4, 5])
    first = layers.Tested(fold_u, [0.9, 0.1, 0.9, 0.9, 0.9], np.zeros(5, int), np.zeros(5, int))
    second = layers.Tested(fold_u, [0.5] * 5, np.ones(5, int), np.full(5, 2))
    best = layers.chosen({"a": first, "b": second})
    assert best.among_all_u.tolist() == [0, 1, 0, 0, 0]
    assert best.among_present_u.tolist() == [0, 2, 0, 0, 0]
    assert best.inner_f == [0.9, 0.5, 0.9, 0.9, 0.9]


def test_a_part_of_the_videos_is_inside_a_larger_one(layers):
    clips, _, _ = made(layers)
    rows = np.arange(len(clips.true_u))
    quarter, half = (set(clips.some(rows, part).tolist()) for part in (0.25, 0.5))
    assert quarter < half
    for label, count in ((LABELS[0], 2), (LABELS[2], 2)):  # a quarter of six videos, rounded up
        assert len({clips.videos[row] for row in quarter if clips.languages[row] == label}) == count


def test_differences_are_to_whisper_with_the_same_silence(layers):
    clips, posteriors, features = made(layers)
    tested = layers.nested(clips, posteriors, features)
    silent, loud = posteriors.copy(), posteriors.copy()
    silent[:, 3], loud[np.arange(36), clips.true_u] = 0.0, 0.0
    bare = {"0+0": layers.as_it_is(clips, silent), "1+1": layers.as_it_is(clips, loud)}
    head, lines = layers.report("silence", {"0+0": tested, "1+1": tested}, bare, clips)
    assert len(head) == len(lines[0])
    assert [line[4] for line in lines] == ["0.0", "100.0"]
    assert lines[1][3].startswith(("-", "+0.0"))
