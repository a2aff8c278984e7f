"""Segments: the best of all paths, of allowed durations, where there is speech."""

from __future__ import annotations

import itertools
import re
import tracemalloc

import numpy as np
import pytest

from lid_toolkit.audio.speech_activity import FRAME_S
from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.listening import Summary
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.inference.prediction import Segment
from lid_toolkit.inference.segmentation import (
    Segmenting,
    best_path,
    find_segments,
    interpolated,
    spoken_steps,
)

LABELS = ("eng", "fra", "spa")
WINDOWS = [(start, start + 2.0) for start in np.arange(0.0, 9.0)]
SHARP = Segmenting(penalty=0.2, min_duration=0.1)


def value(path, gains, penalty, begin=(0.0, 0.0, 0.0)):
    begun = [path[0], *(now for before, now in itertools.pairwise(path) if now != before)]
    changes = sum(begin[column] for column in begun) - penalty * (len(begun) - 1)
    return sum(gains[row, column] for row, column in enumerate(path)) + changes


def lengths(path):
    return [len(list(run)) for _, run in itertools.groupby(path)]


@pytest.mark.parametrize("begin", [(0.0, 0.0, 0.0), (-0.4, 0.0, -1.5)])
@pytest.mark.parametrize("shortest", [1, 2, 3, 7])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 3.0])
def test_no_path_is_better(penalty, shortest, begin):
    rng = np.random.default_rng(round(10 * penalty) + shortest)
    for steps in (1, 2, 5, 7):
        gains = rng.normal(size=(steps, 3))
        allowed = [
            path
            for path in itertools.product(range(3), repeat=steps)
            if min(lengths(path)) >= min(shortest, steps)
        ]
        expected = max(allowed, key=lambda path: value(path, gains, penalty, begin))
        found = best_path(gains, penalty, shortest, np.array(begin))
        assert min(lengths(found)) >= min(shortest, steps)
        best = value(expected, gains, penalty, begin)
        assert value(found, gains, penalty, begin) == pytest.approx(best)


def test_a_longer_path_has_no_short_part_and_what_is_added_to_a_step_makes_no_difference():
    rng = np.random.default_rng(3)
    gains = rng.normal(size=(300, 5))
    path = best_path(gains, 1.0, 8)
    assert min(lengths(path)) >= 8
    assert len(lengths(path)) > 5
    assert np.array_equal(path, best_path(gains + rng.normal(size=(300, 1)), 1.0, 8))
    order = [3, 1, 0, 4, 2]
    assert np.array_equal(path, np.array(order)[best_path(gains[:, order], 1.0, 8)])
    assert set(best_path(gains, 1e6, 8)) == {gains.sum(axis=0).argmax()}


def test_a_penalty_is_what_a_change_must_gain():
    gains = np.zeros((6, 2))
    gains[2:4, 1] = 1.0
    assert list(best_path(gains, 1.1)) == [1] * 6, "the second column is nowhere worse"
    gains[[0, 1, 4, 5], 0] = 0.9
    assert list(best_path(gains, 0.99)) == [0, 0, 1, 1, 0, 0]
    assert list(best_path(gains, 1.01)) == [0] * 6


def test_scores_between_windows_are_on_a_line():
    scores = np.array([[0.0, 10.0], [4.0, 10.0], [0.0, 0.0]])
    found = interpolated(scores, np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.0, 1.25, 2.0, 3.0, 9.0]))
    assert found.tolist() == [[0, 10], [0, 10], [1, 10], [4, 10], [2, 5], [0, 0]]
    assert interpolated(scores[:1], np.array([5.0]), np.array([1.0, 9.0])).tolist() == [[0, 10]] * 2


def test_steps_without_speech_are_left_out():
    speech = np.zeros(100, np.float32)
    speech[25:50] = 1.0  # from 0.8 s to 1.6 s
    begins, ends, seconds = spoken_steps(Summary(3.17, "energy", speech))
    assert begins == pytest.approx(np.arange(8, 16) / 10)
    assert ends == pytest.approx(np.arange(9, 17) / 10)
    assert seconds.sum() == pytest.approx(25 * FRAME_S)
    begins, ends, seconds = spoken_steps(Summary(3.17, "none"))
    assert (len(begins), ends[-1], seconds[-1]) == (32, 3.17, pytest.approx(0.07))
    assert seconds.sum() == pytest.approx(3.17)


def scores_of(languages, sure=0.9):
    """Return log posteriors of windows that are this sure of these languages."""
    rows = np.full((len(languages), len(LABELS)), (1 - sure) / 2)
    rows[np.arange(len(languages)), [LABELS.index(language) for language in languages]] = sure
    return np.log(rows).astype(np.float32)


def found(scores, settings=SHARP, summary=None, **policy):
    decides = decider(DecisionPolicy(**policy), LABELS)
    return find_segments(WINDOWS, scores, summary or Summary(10.0, "none"), decides, settings)


TWO = scores_of(["eng"] * 4 + ["fra"] * 5)


def test_a_change_is_where_the_windows_around_it_are_equally_sure():
    first, second = found(TWO)
    assert (first.start, first.language, second.language, second.end) == (0.0, "eng", "fra", 10.0)
    assert first.end == second.start
    assert first.end == pytest.approx(4.5, abs=0.06), "between the windows of 3 to 5 s and of 4 to 6 s"
    assert 0.85 < first.score <= 0.9


def test_a_language_that_does_not_last_is_left_out():
    scores = scores_of(["eng"] * 4 + ["fra"] + ["eng"] * 4)
    assert [part.language for part in found(scores)] == ["eng", "fra", "eng"]
    whole = (Segment(0.0, 10.0, "eng", pytest.approx(0.8, abs=0.1)),)
    assert found(scores, Segmenting(penalty=0.2, min_duration=2.0)) == whole
    assert found(scores, Segmenting(penalty=2.0, min_duration=0.1)) == whole


def test_pauses_end_segments_and_are_in_none():
    speech = np.ones(313, np.float32)
    speech[100:150] = 0  # from 3.2 s to 4.8 s
    summary = Summary(10.0, "silero", speech)
    one = scores_of(["eng"] * 9)
    for languages, scores in ((["eng", "fra"], TWO), (["eng", "eng"], one)):
        parts = found(scores, summary=summary)
        assert [part.language for part in parts] == languages
        times = [time for part in parts for time in (part.start, part.end)]
        assert times == pytest.approx([0.0, 3.2, 4.8, 10.0])
    assert len(found(one, Segmenting(max_pause=2.0), summary)) == 1
    first, second = found(TWO, Segmenting(penalty=100.0), summary)
    assert (first.language, second.language) == ("fra", "fra"), "also where it is not the most probable"
    assert first.score < 0.1
    assert found(TWO, summary=Summary(10.0, "silero", np.zeros(313, np.float32))) == ()


def test_windows_without_speech_may_have_any_score():
    speech = np.zeros(313, np.float32)
    speech[:90] = speech[200:] = 1
    scores = TWO.copy()
    scores[3:4] = np.nan  # from 3 s to 5 s
    parts = found(scores, summary=Summary(10.0, "silero", speech))
    assert [part.language for part in parts] == ["eng", "fra"]
    assert all(np.isfinite(part.score) for part in parts)


def test_policy():
    assert [part.language for part in found(TWO, candidates=("fra", "spa"))] == ["fra"]
    assert [part.language for part in found(TWO, min_score=0.95)] == ["unknown", "unknown"]
    named = found(TWO, min_score=0.95, fallback="spa", unknown="x")
    assert [(part.language, round(part.score, 2)) for part in named] == [("spa", 0.05), ("spa", 0.05)]
    assert found(TWO, min_score=0.5) == found(TWO)
    calm = found(TWO, calibration=Calibration.temperature(10.0), priors={"eng": 0.9})
    assert [part.language for part in calm] == ["eng"]


@pytest.mark.parametrize(
    ("prior", "languages"),
    [
        # A window of 2 s is log(0.6 / 0.3) = 0.69 nats for fra, a second 0.35 nats, and the 5 to 5.5 s of fra
        # are 1.7 to 1.9 nats. The change costs 0.2 and log(0.7 / 0.3) = 0.85 or log(0.9 / 0.1) = 2.2 once.
        (0.7, ["eng", "fra"]),
        (0.9, ["eng"]),
    ],
)
def test_a_prior_counts_once_for_each_segment(prior, languages):
    rows = {"eng": [0.6, 0.3, 0.1], "fra": [0.3, 0.6, 0.1]}
    scores = np.log([rows["eng"]] * 4 + [rows["fra"]] * 5)
    parts = found(scores, candidates=("eng", "fra"), priors={"eng": prior, "fra": 1 - prior})
    assert [part.language for part in parts] == languages


def test_priors_of_training_count_in_every_window():
    """Each window's posterior contains them: 0.5 / 0.6 and 0.3 / 0.2 are the likelihoods, so it is fra."""
    scores = np.log([[0.5, 0.3, 0.2]] * 9)
    trained = {"eng": 0.6, "fra": 0.2, "spa": 0.2}
    assert [part.language for part in found(scores)] == ["eng"]
    same = dict.fromkeys(LABELS, 1 / 3)
    assert [part.language for part in found(scores, training_priors=trained, priors=same)] == ["fra"]
    # As in training: ten seconds of windows of 2 s are 5 * log(1.5 / 0.83) = 2.9 nats for fra, less log 3.
    assert [part.language for part in found(scores, training_priors=trained)] == ["fra"]
    short = find_segments(
        WINDOWS[:1],
        scores[:1],
        Summary(2.0, "none"),
        decider(DecisionPolicy(training_priors=trained), LABELS),
        SHARP,
    )
    assert [part.language for part in short] == ["eng"], "one window: the model's own answer"


@pytest.mark.parametrize("priors", [{}, {"eng": 0.7, "fra": 0.3}, {"eng": 0.05}])
def test_the_segment_of_a_single_window_has_the_answer_for_the_whole(priors):
    rng = np.random.default_rng(5)
    for _ in range(20):
        scores = np.log(rng.dirichlet([1.0, 1.0, 1.0]))
        policy = DecisionPolicy(priors=priors, training_priors={"eng": 0.6}, calibration=Calibration(0.7))
        decides = decider(policy, LABELS)
        (part,) = find_segments([(0.0, 2.0)], scores[None], Summary(2.0, "none"), decides, SHARP)
        whole = decides.decide(scores, 2.0)
        assert (part.language, part.score) == (whole.language, pytest.approx(whole.score))


def test_an_hour_with_a_hundred_languages_needs_bounded_memory():
    """35 MB for the scores of each step, and a few copies of them."""
    labels = tuple(f"l{number:02d}" for number in range(100))
    starts = np.arange(0.0, 3597.5, 2.5)
    scores = np.full((len(starts), 100), -5.0, np.float32)
    scores[np.arange(len(starts)), (starts // 300).astype(int)] = 0.0
    summary = Summary(3600.0, "none")
    tracemalloc.start()
    parts = find_segments(
        [(start, start + 5.0) for start in starts],
        scores,
        summary,
        decider(DecisionPolicy(), labels),
        Segmenting(),
    )
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [part.language for part in parts] == list(labels[:12])
    assert [part.end for part in parts] == pytest.approx([*range(300, 3600, 300), 3600], abs=1.4)
    assert most < 300e6


@pytest.mark.parametrize("name", ["penalty", "min_duration", "max_pause"])
@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), "1", True])
def test_settings_that_make_no_sense(name, number):
    with pytest.raises(LidError, match=re.escape(f"{name}: must be a number of at least 0, not {number!r}")):
        Segmenting(**{name: number})
