"""Corpus mini: the same bytes however it is made, and nothing shared between its sets."""

from __future__ import annotations

import itertools
import random
import wave

import numpy as np
import pytest

from lid_toolkit.datadir.tables.table import read_table
from local.mini import espeak
from local.mini.languages import LANGUAGES, PARTS, SPEAKERS
from local.mini.plan import plan_language, sizes
from local.mini.prepare import prepare, render
from local.mini.texts import phrasebook, quantity, sentence
from local.parallel import isolated

COUNTS = (5, 1, 2)
SETS = [f"{part}_mini" for part in PARTS]


def make(folder, jobs=2, counts=COUNTS):
    prepare(folder / "data", folder / "audio", counts, jobs, dry_run=False)
    return folder


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".done" not in path.parts
    }


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mini ü"))


def table(mini, set_, name):
    return dict(read_table(mini / "data" / set_ / name))


def test_it_is_the_same_for_any_number_of_processes(mini, tmp_path):
    again = make(tmp_path, jobs=1)
    assert contents(again / "audio") == contents(mini / "audio")
    assert contents(again / "data" / "train_mini").keys() == contents(mini / "data" / "train_mini").keys()
    for set_, name in itertools.product(SETS, ("utt2lang", "utt2spk", "lang2utt", "segments")):
        assert table(again, set_, name) == table(mini, set_, name)


def test_a_second_run_changes_nothing(mini):
    before = {path: path.stat().st_mtime_ns for path in mini.rglob("*") if path.is_file()}
    make(mini)
    assert {path: path.stat().st_mtime_ns for path in mini.rglob("*") if path.is_file()} == before


def test_lost_audio_and_another_size_are_made_anew(tmp_path, caplog):
    caplog.set_level("INFO")
    make(tmp_path, counts=(1, 1, 1))
    next((tmp_path / "audio").rglob("*.wav")).unlink()
    make(tmp_path, counts=(1, 1, 1))
    assert "is missing or has changed" in caplog.text
    make(tmp_path, counts=(2, 1, 1))
    assert "utts_per_lang changed" in caplog.text
    assert len(list((tmp_path / "audio").rglob("*.wav"))) == 4 * len(LANGUAGES)


def test_each_set_has_each_language_and_its_own_speakers(mini):
    voices = {}
    for set_, count in zip(SETS, COUNTS, strict=True):
        labels = list(table(mini, set_, "utt2lang").values())
        assert {label: labels.count(label) for label in labels} == {x.label: count for x in LANGUAGES}
        voices[set_] = {speaker.split("-")[1] for speaker in table(mini, set_, "utt2spk").values()}
    for one, other in itertools.combinations(voices.values(), 2):
        assert not one & other


def test_variants_are_known_to_espeak_and_in_one_part_only():
    variants = [variant for part in PARTS for variant in SPEAKERS[part]]
    assert len(variants) == len(set(variants))
    waves = {isolated(espeak.speak, "eins zwei drei", manner(f"de+{v}"))[0].tobytes() for v in variants}
    assert len(waves) == len(variants)


def manner(voice):
    return espeak.Manner(voice, rate=170, pitch=50, pitch_range=50, word_gap=0, seed=0)


def test_segments_lie_in_their_recordings_and_pauses_are_silent(mini):
    recordings, segments = table(mini, "train_mini", "wav.scp"), table(mini, "train_mini", "segments")
    assert segments.keys() == table(mini, "train_mini", "utt2lang").keys()
    spans = {}
    for value in segments.values():
        recording, start, end = value.split()
        spans.setdefault(recording, []).append((float(start), float(end)))
    assert spans.keys() == recordings.keys()
    assert sorted({len(held) for held in spans.values()}) == [1, 4]
    for recording, held in spans.items():
        with wave.open(recordings[recording]) as stream:
            rate = stream.getframerate()
            samples = np.frombuffer(stream.readframes(stream.getnframes()), "<i2").copy()
        for start, end in held:
            assert np.abs(samples[round(start * rate) : round(end * rate)]).max() > 1000
            assert round(end * rate) <= len(samples)
            samples[round(start * rate) : round(end * rate)] = 0
        assert not samples.any()


@pytest.mark.parametrize("language", LANGUAGES[:3], ids=lambda language: language.label)
def test_no_text_comes_twice_and_each_peak_is_as_planned(language):
    takes = isolated(plan_language, language, (30, 10, 10), 0)
    texts = [line.text for take in takes for line in take.lines]
    assert len(texts) == len(set(texts)) == 50
    line = takes[-1].lines[0]
    samples, _ = render(line)
    assert np.abs(samples.astype(int)).max() == pytest.approx(32767 * 10 ** (line.peak_db / 20), abs=1)


def test_what_another_voice_would_read_is_found():
    """espeak-ng reads Latin letters in a Hindi text with its English voice, and marks it."""

    def switches(text):
        library, _ = espeak.load()
        espeak.set_voice(library, "hi")
        return "(en)" in espeak.phonemes(library, text)

    assert isolated(switches, "hello")
    assert not isolated(switches, "नमस्ते")


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.label)
def test_every_language_has_words_for_every_kind_of_clause(language):
    book = phrasebook(language, reads=bool)
    assert min(len(names) for names in book.names) > 150
    assert len(book.units) > 50
    texts = {sentence(book, random.Random(seed)) for seed in range(200)}
    assert len(texts) > 190


def test_quantities_follow_the_plural_rules():
    russian = next(language for language in LANGUAGES if language.label == "rus")
    book = phrasebook(russian, reads=bool)
    words = [quantity(book, number, "duration-hour") for number in (1, 2, 5, 21)]
    assert words == ["1 час", "2 часа", "5 часов", "21 час"]


@pytest.mark.parametrize(
    ("count", "recordings"), [(1, 1), (3, 3), (4, 1), (5, 2), (40, 37), (41, 35), (160, 148)]
)
def test_one_recording_in_forty_utterances_holds_four(count, recordings):
    assert sum(sizes(count)) == count
    assert len(sizes(count)) == recordings
