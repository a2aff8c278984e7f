"""Streams, long recordings and batches by columns: bounded, in order, and the same answers."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, beeps

import lid_toolkit
from lid_toolkit.audio.speech_activity import detector
from lid_toolkit.errors import LidError
from lid_toolkit.inference import listening, windows
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.listening import Listener
from lid_toolkit.inference.lookahead import LookAhead
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.inference.segmentation import Segmenting
from lid_toolkit.inference.windows import Windowing, evidence


@pytest.fixture(scope="module")
def lid(model_file):
    return LanguageIdentifier.from_pretrained(model_file, "cpu")


@pytest.fixture(scope="module")
def long_wave():
    """12.3 s: four languages of about 3 s."""
    return np.concatenate([beeps(LANGUAGES[i % 3], 49_200, i) for i in range(4)])


def test_a_generator_is_read_only_as_far_ahead_as_needed(lid):
    taken = []

    def waves():
        for number in range(100):
            taken.append(number)
            yield beeps("low", 5000 + 10 * number, number)

    records = lid.identify(waves(), batch_size=2, vad="none")
    assert taken == []
    first = next(records)
    assert len(taken) == 16
    assert first.duration == 5000 / RATE
    assert [record.duration for record in records] == [
        (5000 + 10 * number) / RATE for number in range(1, 100)
    ]


def test_seconds_that_are_read_ahead_are_bounded_too(lid, monkeypatch):
    monkeypatch.setattr("lid_toolkit.inference.lookahead.SECONDS_AHEAD", 2.5)
    taken = []

    def waves():
        for number in range(9):
            taken.append(number)
            yield beeps("low", RATE, number)

    records = lid.identify(waves(), vad="none")
    next(records)
    assert len(taken) == 3
    assert len(list(records)) == 8


def test_order_and_answers_stay_with_faults_and_silence_between(lid):
    waves = [beeps(LANGUAGES[i % 3], 5000 + 700 * (i * 7 % 10), i) for i in range(40)]
    items = []
    for number, wave in enumerate(waves):
        items += [wave, "/none.wav"] if number % 4 == 0 else [wave]
        items += [np.zeros(RATE)] if number % 5 == 0 else []
    records = lid.identify(items, batch_size=3, vad="none")
    assert list(lid.identify(iter(items), batch_size=3, vad="none")) == records
    alone = [lid.identify(item, vad="none") for item in items]
    for one, other in zip(records, alone, strict=True):
        assert (one.status, one.duration, one.reason) == (other.status, other.duration, other.reason)
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_a_batch_has_the_clip_that_has_waited_longest_and_those_of_similar_length():
    batches, read = [], []

    def compute(waves):
        batches.append([len(wave) for wave in waves])
        return np.stack([[len(wave), 0] for wave in waves]), np.ones((len(waves), 1))

    def waves():
        rng = np.random.default_rng(4)
        for length in rng.integers(100, 500, 300):
            read.append(int(length))
            yield rng.normal(size=length).astype(np.float32)

    listener = Listener(100, 100, Windowing(), detector("none"), lambda *_: None)
    behind = []
    for place, heard in enumerate(LookAhead(compute, 100, 4).hear(waves(), listener)):
        assert heard.scores_n[0][0] == read[place]
        behind.append(len(read) - place)
    computed = list(itertools.chain.from_iterable(batches))
    assert computed != read
    assert sorted(computed) == sorted(read)
    assert max(behind) <= 64
    whole = [batch for batch in batches[: len(batches) // 2] if len(batch) == 4]
    assert len(whole) >= len(batches) // 2 - 3
    spread = np.mean([max(batch) - min(batch) for batch in whole])
    assert spread < 60, "at random it would be 240, and four neighbours of 32 are 36 apart"


@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_stay_in_order_beside_others(lid, long_wave, batch_size):
    waves = [beeps("low", 5000, 1), long_wave, beeps("high", 50_000, 2), long_wave[:99_000]]
    options = {"window": 1.0, "hop": 0.5, "vad": "none", "segments": Segmenting(0.2, 0.1)}
    for record, wave in zip(lid.identify(waves * 2, batch_size, **options), waves * 2, strict=True):
        alone = lid.identify(wave, **options)
        assert [part.language for part in record.segments] == [part.language for part in alone.segments]
        assert record.scores == pytest.approx(alone.scores, abs=1e-5)


def test_an_error_of_the_user_s_generator_is_not_hidden(lid):
    def broken():
        yield beeps("low", 5000, 0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(lid.identify(broken()))


def test_one_window_is_exactly_the_whole(lid, long_wave):
    whole = lid.identify(long_wave, vad="none")
    assert lid.identify(long_wave, window=20, vad="none") == whole
    assert whole.windows == 1


def test_windows_are_those_that_a_user_would_cut(lid, long_wave, tmp_path):
    """From any format and rate, read in blocks: the windows' mean, as if each had been identified alone."""
    starts = [0, 2, 4, 6, 7.3]
    alone = [lid.identify(long_wave[round(s * RATE) : round((s + 5) * RATE)], vad="none") for s in starts]
    logs = np.log([[record.scores[label] for label in LANGUAGES] for record in alone])
    expected = dict(zip(LANGUAGES, np.exp(evidence(logs, [5.0] * 5)), strict=True))
    record = lid.identify(long_wave, window=5, hop=2, vad="none")
    assert (record.windows, record.duration) == (5, 12.3)
    assert record.scores == pytest.approx(expected, abs=1e-5)
    for name in ("a.wav", "a.flac", "a.ogg"):
        soundfile.write(tmp_path / name, long_wave, RATE)
        from_file = lid.identify(tmp_path / name, window=5, hop=2, vad="none")
        assert from_file.scores == pytest.approx(expected, abs=0.05 if name == "a.ogg" else 1e-3)
    part = lid.identify((tmp_path / "a.wav", 2.0, 9.0), window=5, hop=2, vad="none")
    assert (part.windows, part.duration) == (2, 7.0)


@pytest.mark.parametrize("block_s", [0.3, 1.7, 10.0])
def test_windows_do_not_depend_on_the_blocks(lid, long_wave, block_s, monkeypatch):
    expected = lid.identify((long_wave, 22050), window=2, hop=1, vad="energy")
    monkeypatch.setattr(listening, "BLOCK_S", block_s)
    record = lid.identify((long_wave, 22050), window=2, hop=1, vad="energy")
    assert record.speech_seconds == expected.speech_seconds
    assert record.scores == pytest.approx(expected.scores, abs=1e-5)


def test_windows_count_by_their_speech(lid):
    """Silence after speech gives windows without speech, which change nothing."""
    spoken = beeps("high", 2 * RATE, 0)
    quiet = np.random.default_rng(0).normal(0, 1e-4, 4 * RATE).astype(np.float32)
    record = lid.identify(np.concatenate([spoken, quiet]), window=2, hop=2, vad="energy")
    assert record.windows == 3
    assert record.speech_seconds == pytest.approx(1.7, abs=0.4)
    assert record.scores == pytest.approx(lid.identify(spoken, vad="none").scores, abs=1e-5)


def test_a_recording_over_the_limit_is_cut_without_being_asked(lid, long_wave, monkeypatch):
    monkeypatch.setattr(windows, "LONGEST_PASS_S", 12.0)
    monkeypatch.setattr(windows, "LONG_WINDOW_S", 4.0)
    record = lid.identify(long_wave, vad="none")
    assert record.windows == 4
    expected = lid.identify(long_wave, window=4, hop=4, vad="none")
    assert record == expected
    embedding = lid.embed(long_wave)
    pieces = lid.embed([long_wave[round(s * RATE) : round((s + 4) * RATE)] for s in (0, 4, 8, 8.3)])
    mean = pieces.mean(axis=0)
    assert np.allclose(embedding[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_a_recording_that_breaks_off_is_one_failed_record(lid, long_wave, tmp_path):
    soundfile.write(tmp_path / "a.flac", long_wave, RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) * 2 // 3])
    first, bad, last = lid.identify([long_wave, tmp_path / "a.flac", long_wave], window=2, hop=1, vad="none")
    assert [record.status for record in (first, bad, last)] == ["ok", "failed", "ok"]
    assert last.scores == pytest.approx(first.scores, abs=1e-5)  # batches of windows differ by rounding


def test_threads_share_an_identifier(lid):
    waves = [beeps(LANGUAGES[i % 3], 5000 + 900 * i, i) for i in range(12)]
    expected = [lid.identify(wave, vad="energy") for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda wave: lid.identify(wave, vad="energy"), waves * 3))
    assert found == expected * 3


def test_a_pickled_identifier_loads_when_it_is_used(model_file, monkeypatch, tmp_path):
    monkeypatch.chdir(model_file.parent)
    lid = LanguageIdentifier.from_pretrained(
        model_file.name, torch.device("cpu"), policy=DecisionPolicy(candidates=("low",))
    )
    monkeypatch.chdir(tmp_path)  # a worker may start anywhere
    content = pickle.dumps(lid)
    assert len(content) < 1000
    copy = pickle.loads(content)
    assert copy._loaded is None
    wave = beeps("high", RATE, 0)
    assert copy.identify(wave, vad="none") == lid.identify(wave, vad="none")
    assert copy.identify(wave, vad="none").language == "low"
    use = pickle.loads(pickle.dumps(lid.identify_batch))
    assert use({"audio": [wave]}, vad="none")["language"] == ["low"]


def test_a_batch_of_columns(lid):
    waves = [beeps("high", RATE, 0), "/none.wav"]
    columns = lid.identify_batch({"id": [1, 2], "speech": waves}, column="speech", vad="none", top_k=1)
    assert list(columns) == list(Prediction("ok").as_dict())
    assert columns["status"] == ["ok", "failed"]
    good, bad = columns["scores"]
    assert bad == []
    assert good == [{"language": columns["language"][0], "score": columns["score"][0]}]
    with pytest.raises(LidError, match=r"no column 'speech' \(did you mean 'speach'"):
        lid.identify_batch({"speach": waves}, column="speech")


def test_embeddings_are_classified_as_their_audio(lid):
    waves = [beeps(language, RATE, 7) for language in LANGUAGES]
    records = lid.identify(waves, vad="none")
    again = lid.classify_embedding(lid.embed(waves))
    for one, other in zip(records, again, strict=True):
        assert other.scores == pytest.approx(one.scores, abs=1e-5)
        assert (other.language, other.duration, other.speech_seconds) == (one.language, None, None)
    single = lid.classify_embedding(torch.from_numpy(lid.embed(waves[0])[0]), top_k=1)
    assert dict(single.scores) == {records[0].language: pytest.approx(records[0].score, abs=1e-5)}
    assert lid.classify_embedding(lid.embed(waves[0])[0], languages=["low"]).language == "low"
    for wrong in (np.zeros(7), np.zeros((1, 1, 8)), np.full(8, np.nan)):
        with pytest.raises(LidError, match="embeddings: "):
            lid.classify_embedding(wrong)


def test_a_closed_identifier_says_so(model_file):
    with LanguageIdentifier.from_pretrained(model_file, "cpu") as lid:
        text = repr(lid)
    assert text == (
        f"<LanguageIdentifier: {str(model_file)!r}, 3 languages (high, low, middle), "
        "arrays at 16000 Hz, on cpu>"
    )
    with pytest.raises(LidError, match=r"is closed \(load it again\)"):
        lid.identify(beeps("low", RATE, 0))


def test_the_package_shows_what_it_offers():
    assert {"DecisionPolicy", "LanguageIdentifier", "Prediction"} <= set(dir(lid_toolkit))
    assert lid_toolkit.Prediction is Prediction
    with pytest.raises(AttributeError, match="has no attribute 'Predictions'"):
        _ = lid_toolkit.Predictions
