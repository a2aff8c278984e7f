"""Streams: the answer of the whole however it is cut, changes that last, and a state of bounded size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data.corpus import LANGUAGES, RATE, beeps, vowel

from lid_toolkit.audio.reader import AudioError
from lid_toolkit.audio.speech_activity import detector
from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.stream import LanguageStream, Tracking

QUICK = Tracking(window=1.0, hop=0.4)


@pytest.fixture(scope="module")
def lid(model_file):
    return LanguageIdentifier.from_pretrained(model_file, "cpu")


@pytest.fixture(scope="module")
def wave():
    silence = np.zeros(RATE, np.float32)
    return np.concatenate([vowel(2.1), silence, beeps("high", 20000, 1), silence, vowel(1.33)])


def pieces(wave, seed):
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(wave), 6))
    return np.split(wave, cuts)


def same(answer, expected):
    one, other = answer.as_dict(), expected.as_dict()
    for name in ("scores", "score", "margin", "speech_seconds"):
        assert one.pop(name) == pytest.approx(other.pop(name), abs=1e-5), name
    assert one == other


@pytest.mark.parametrize("vad", ["energy", "silero", "none"])
def test_at_the_end_it_is_the_answer_of_identify_however_it_is_cut(lid, wave, vad):
    whole = lid.stream(vad=vad, tracking=QUICK)
    updates = list(whole.follow([wave]))
    same(updates[-1].answer, lid.identify(wave, window=1.0, hop=0.4, vad=vad))
    assert [update.is_last for update in updates] == [False] * (len(updates) - 1) + [True]
    for seed in range(3):
        assert list(lid.stream(vad=vad, tracking=QUICK).follow(pieces(wave, seed))) == updates


@pytest.mark.parametrize("seconds", [0.29, 0.3, 0.4, 0.7, 1.0, 1.2, 1.4, 1.8])
def test_streams_of_any_length(lid, wave, seconds):
    part = wave[: round(seconds * RATE)]
    *_, last = lid.stream(vad="energy", tracking=QUICK, top_k=2).follow(pieces(part, 1))
    assert (last.time, last.is_last) == (seconds, True)
    same(last.answer, lid.identify(part, window=1.0, hop=0.4, vad="energy", top_k=2))


def test_no_signal_no_speech_and_no_samples(lid):
    *_, last = lid.stream(vad="none").follow([np.zeros(3 * RATE, np.float32)] * 2)
    same(last.answer, lid.identify(np.zeros(6 * RATE, np.float32), window=5, vad="none"))
    assert (last.answer.status, last.language, last.score) == ("no_speech", None, None)
    (only,) = lid.stream().follow([[], np.zeros(0, np.int16)])
    assert (only.answer.status, only.answer.reason) == ("failed", "no samples (leave it out)")
    assert (only.time, only.is_last) == (0.0, True)


def test_other_rates_and_types_of_samples(lid, wave):
    whole = np.round(wave[::2] * 32767).astype(np.int16)
    *_, last = lid.stream(RATE // 2, vad="energy", tracking=QUICK).follow(pieces(whole, 2))
    expected = lid.identify(whole, sample_rate=RATE // 2, window=1.0, hop=0.4, vad="energy")
    assert last.answer.scores == pytest.approx(expected.scores, abs=1e-3)
    assert last.answer.duration == pytest.approx(expected.duration, abs=1e-3)
    *_, tensors = lid.stream(RATE // 2, vad="energy", tracking=QUICK).follow(
        torch.from_numpy(piece)[None] for piece in pieces(whole, 2)
    )
    assert tensors == last


def test_a_broken_chunk_is_left_out_and_an_ended_stream_takes_no_more(lid, wave):
    stream = lid.stream(vad="none", tracking=QUICK)
    updates = stream.feed(wave)
    for wrong in (np.array([np.nan]), np.zeros((2, 2, 2)), np.array(["a"])):
        with pytest.raises(AudioError, match="stream: "):
            stream.feed(wrong)
    assert [*updates, *stream.finish()] == list(lid.stream(vad="none", tracking=QUICK).follow([wave]))
    for use in (lambda: stream.feed(wave), stream.finish):
        with pytest.raises(LidError, match="stream: has ended"):
            use()


def scripted(script, tracking, vad="none", **policy):
    """Return the updates of a model that hears in a window the language of its last sample."""
    logs = np.log(np.full((4, 3), 0.1) + 0.7 * np.eye(4, 3)).astype(np.float32)
    stream = LanguageStream(
        lambda wave: logs[round(float(wave[-1]))],
        100,
        100,
        decider(DecisionPolicy(**policy), LANGUAGES),
        detector(vad),
        tracking,
    )
    wave = np.concatenate([np.full(100 * seconds, float(language)) for language, seconds in script])
    wave[::2] += 0.1
    return list(stream.follow(np.split(wave.astype(np.float32), 7)))


def test_a_change_is_told_when_it_has_lasted():
    """A second is a nat times log 8 of evidence, so that a penalty of 3 needs two of them."""
    script = [(0, 14), (1, 1), (0, 13), (2, 14)]
    updates = scripted(script, Tracking(window=1.0, hop=1.0, penalty=3.0, debounce=2.0))
    assert [update.time for update in updates] == [*range(1, 43), 42], "the last one is the end"
    changes = [(update.time, update.language) for update in updates if update.changed]
    assert changes == [(3.0, "high"), (32.0, "middle")]
    assert {update.decided_at for update in updates[2:]} == {3.0}
    assert {update.decided_at for update in updates[:2]} == {None}
    at_once = scripted(script, Tracking(window=1.0, hop=1.0, penalty=0.0, debounce=0.0))
    changes = [(update.time, update.language) for update in at_once if update.changed]
    assert changes == [(1.0, "high"), (15.0, "low"), (16.0, "high"), (29.0, "middle")]


def test_the_posterior_of_the_present_language_is_that_of_the_forward_algorithm():
    updates = scripted([(0, 7), (1, 7)], Tracking(window=2.0, hop=1.0, penalty=2.0, debounce=0.0))
    likelihoods = np.full((2, 3), 0.1) + 0.7 * np.eye(2, 3)
    posterior = likelihoods[0]  # of the first two seconds
    for second in range(3, 15):
        stay = 1 / (1 + 3 * np.exp(-2.0))  # the probability of no change, up to a common factor
        moved = stay * posterior + (1 - stay) / 3
        posterior = moved * likelihoods[int(second > 7)] ** 0.5
        posterior /= posterior.sum()
        assert updates[second - 1].score == pytest.approx(posterior.max())


def test_a_prior_counts_where_a_language_may_begin_and_not_in_every_window():
    tracking = Tracking(window=2.0, hop=1.0, penalty=2.0, debounce=0.0)
    named = dict(zip(LANGUAGES, (0.6, 0.3, 0.1), strict=True))
    updates = scripted([(0, 7), (2, 7)], tracking, priors=named)
    prior = np.array([0.6, 0.3, 0.1])
    likelihoods = np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    posterior = prior * likelihoods[0] / (prior @ likelihoods[0])
    for second in range(3, 15):
        # A change has the probability z / (1 + z) with z = sum of exp(-2) * prior / 0.6, shared by priors.
        moved = posterior + np.exp(-2.0) * prior / 0.6
        posterior = moved * likelihoods[2 if second > 7 else 0] ** 0.5
        posterior /= posterior.sum()
        assert updates[second - 1].score == pytest.approx(posterior.max())
    assert updates[-1].language == LANGUAGES[2], "whose prior of 0.1 would win in every window"


def test_silence_changes_nothing(lid):
    tracking = Tracking(window=1.0, hop=0.5, debounce=0.0)
    spoken = lid.stream(vad="energy", tracking=tracking)
    updates = list(spoken.follow([vowel(3.0), np.zeros(20 * RATE, np.float32)]))
    scores = {update.score for update in updates if update.time > 4.5}
    assert len(scores) == 1
    assert not any(update.changed for update in updates if update.time > 4.5)


def test_candidates_and_a_state_of_bounded_size(lid, wave):
    stream = lid.stream(vad="energy", tracking=QUICK, languages=["low", "middle"])
    sizes = []
    for _ in range(12):
        updates = stream.feed(wave)
        sizes.append(stream._tape.stop - stream._tape.start)
        assert stream._speech._frames.stop - stream._speech._frames.start < 200
        assert {update.language for update in updates} <= {None, "low", "middle"}
        assert all(set(update.answer.scores) <= {"low", "middle"} for update in updates)
    assert max(sizes) < 1.0 * RATE + 0.4 * RATE + 1.7 * RATE


@pytest.mark.parametrize(
    "numbers", [{"window": 0}, {"hop": 6}, {"penalty": -1}, {"debounce": float("nan")}, {"hop": 0}]
)
def test_tracking_that_makes_no_sense(numbers):
    with pytest.raises(LidError, match=f"{next(iter(numbers))}: must be"):
        Tracking(**numbers)
