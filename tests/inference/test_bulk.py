"""Streams of inputs: records in order, and reading ahead that changes nothing."""

from __future__ import annotations

import itertools
import multiprocessing

import numpy as np
import pytest
import soundfile
from data.corpus import LANGUAGES, RATE, beeps, vowel

from lid_toolkit.inference import read_ahead as ahead
from lid_toolkit.inference.bulk import identify_inputs
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.inputs.item import Input, broken
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.inference.read_ahead import heard_in, read_ahead


def answer(speech):
    return Prediction("ok", str(speech))


def behind(count):
    """Return an identifier that answers ``count`` inputs late."""

    def identify(speech):
        speech = iter(speech)
        waiting = list(itertools.islice(speech, count))
        for item in speech:
            waiting.append(item)
            yield answer(waiting.pop(0))
        yield from map(answer, waiting)

    return identify


@pytest.mark.parametrize("late", [0, 1, 3, 100])
@pytest.mark.parametrize("pattern", ["", "x", ".", "xx..x.x", "..xxx", "x.x.x.x", "....."])
def test_records_are_in_order_around_broken_inputs(pattern, late):
    inputs = [
        broken(f"{n}", "is broken") if kind == "x" else Input(f"{n}", f"speech {n}")
        for n, kind in enumerate(pattern)
    ]
    rows = list(identify_inputs(behind(late), inputs))
    assert [key for key, _ in rows] == [item.id for item in inputs]
    for (key, record), kind in zip(rows, pattern, strict=True):
        assert record.status == ("failed" if kind == "x" else "ok")
        assert record.reason == "is broken" if kind == "x" else record.language == f"speech {key}"


def test_inputs_are_taken_only_as_far_as_the_identifier_looks_ahead():
    taken = []

    def inputs():
        for number in itertools.count():
            taken.append(number)
            yield Input(str(number), "a.wav")

    rows = identify_inputs(behind(3), inputs())
    assert next(rows)[0] == "0"
    assert len(taken) == 4


@pytest.fixture
def files(tmp_path):
    """Inputs of all kinds, broken ones among them."""
    for number, language in enumerate(LANGUAGES):
        wave = beeps(language, 4000 + 500 * number, number)
        soundfile.write(tmp_path / f"{number}.flac", np.stack([wave, wave], axis=1), RATE // 2)
    (tmp_path / "text.wav").write_text("text")
    soundfile.write(tmp_path / "silent.wav", np.zeros(4000), RATE)
    path = str(tmp_path / "0.flac")
    kinds = [
        path,
        (path, 0.1, 0.3),
        (tmp_path / "1.flac").read_bytes(),
        str(tmp_path / "text.wav"),
        str(tmp_path / "silent.wav"),
        str(tmp_path / "none.wav"),
        broken("x", "is broken").speech,
        b"",
    ]
    return [Input(str(number), kinds[number % len(kinds)]) for number in range(5 * len(kinds))]


def test_helpers_read_what_is_sound_and_leave_the_rest(files):
    rows = list(read_ahead(iter(files), RATE, 1, "none"))
    assert [row.id for row in rows] == [item.id for item in files]
    for row, item in zip(rows, files, strict=True):
        if int(row.id) % 8 < 3:
            assert row.speech.rate == RATE
            assert np.array_equal(row.speech.wave, heard_in(item.speech, RATE, "none").wave)
        else:
            assert row == item


def test_few_inputs_and_no_workers_start_no_process(files, monkeypatch):
    monkeypatch.setattr(ahead, "ProcessPoolExecutor", None)
    assert list(read_ahead(iter(files[:31]), RATE, 1, "none")) == files[:31]
    assert list(read_ahead(iter(files), RATE, 0, "none")) == files


def test_reading_ahead_is_bounded(monkeypatch):
    taken = []

    def inputs():
        for number in itertools.count():
            taken.append(number)
            yield Input(str(number), bytes(1000))

    monkeypatch.setattr(ahead, "FEWEST", 1)
    rows = read_ahead(inputs(), RATE, 1, "none")
    next(rows)
    assert len(taken) == ahead.PER_WORKER + 1
    rows.close()
    monkeypatch.setattr(ahead, "MOST_BYTES", 3500)
    taken.clear()
    rows = read_ahead(inputs(), RATE, 1, "none")
    next(rows)
    assert len(taken) == 4
    rows.close()


def test_a_long_recording_is_left_to_the_identifier(tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "LONGEST_S", 0.4)
    soundfile.write(tmp_path / "a.wav", beeps("low", RATE // 2, 1), RATE)
    assert heard_in(str(tmp_path / "a.wav"), RATE, "none") is None
    assert len(heard_in((str(tmp_path / "a.wav"), 0.0, 0.25), RATE, "none").wave) == RATE // 4


def test_a_killed_helper_loses_nothing(files):
    rows = []
    for row in read_ahead(iter(files), RATE, 1, "none"):
        if not rows:
            for child in multiprocessing.active_children():
                child.kill()
        rows.append(row)
    assert [row.id for row in rows] == [item.id for item in files]


@pytest.mark.parametrize("vad", ["none", "energy", "silero"])
@pytest.mark.parametrize("options", [{}, {"window": 0.3, "hop": 0.1}])
def test_what_helpers_heard_has_the_answers_of_the_files(model_file, files, vad, options):
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    soundfile.write(files[0].speech, np.tile(vowel(0.6), 2), RATE)

    def rows(workers):
        def identify(speech):
            return lid.identify(speech, vad=vad, **options)

        return dict(identify_inputs(identify, read_ahead(iter(files), lid.rate, workers, vad)))

    assert rows(1) == rows(0)
    heard = heard_in(files[0].speech, lid.rate, vad)
    (other,) = lid.identify([heard], vad="energy" if vad == "none" else "none", **options)
    assert other.vad != vad, "what another detector found is not used"
