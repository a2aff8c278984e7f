"""Crops, workers, and recordings that cannot be read."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, write_set
from jobs.cluster import alive

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.data import waves
from lid_toolkit.data.loader import MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import Batch, Sampler, sorted_batches
from lid_toolkit.data.sampling import Corpus, catpow
from lid_toolkit.data.utterances import load_utterances
from lid_toolkit.errors import LidError

EVERYTHING = {
    f"{name}_apply_prob": 0.7 for name in ("voice", "rir", "noise", "equalizer", "telephone", "volume")
}


@pytest.fixture
def directory(tmp_path):
    return write_set(tmp_path / "set", 24)


def load(directory):
    return load_utterances(directory, directory / "utt2num_samples", LANGUAGES)


def training_reader(directory, crop=(2000, 3000), bins=24000, **conf):
    utterances = load(directory)
    law = catpow(Corpus(utterances.labels_u, utterances.lengths_u))
    batches = Sampler(law, utterances.lengths_u, bins, crop_range=crop, draws=len(utterances)).epoch(1)
    return MinibatchReader(utterances, batches, PreprocessorConf(**conf), RATE)


def whole_reader(directory):
    utterances = load(directory)
    return MinibatchReader(utterances, sorted_batches(utterances.lengths_u, 30000), PreprocessorConf(), RATE)


def test_whole_utterances_come_once_zero_padded_with_their_labels(directory):
    reader = whole_reader(directory)
    seen = []
    for batch in iterate(reader, 0, 0):
        for place, row in enumerate(batch.rows_b.tolist()):
            length = int(batch.lengths_b[place])
            expected, _ = read_audio(reader.utterances.refs.value(row))
            assert np.array_equal(batch.wave_bt[place, :length], expected)
            assert not batch.wave_bt[place, length:].any()
            assert batch.labels_b[place] == row % 3
            seen.append(row)
    assert sorted(seen) == list(range(24))


def test_crops_lie_within_the_utterance_and_differ_from_epoch_to_epoch(directory):
    reader = training_reader(directory)
    starts = []
    for batch in iterate(reader, 0, 0):
        for place, row in enumerate(batch.rows_b.tolist()):
            crop = batch.wave_bt[place, : batch.lengths_b[place]].numpy()
            whole, _ = read_audio(reader.utterances.refs.value(row))
            windows = np.lib.stride_tricks.sliding_window_view(whole, len(crop))
            found = np.flatnonzero((windows == crop).all(axis=1))
            assert len(found) == 1
            starts.append(int(found[0]))
    assert len(set(starts)) > len(starts) // 2


def test_a_crop_may_begin_at_the_first_sample_and_end_with_the_last(tmp_path):
    reader = training_reader(write_set(tmp_path / "set", 24, shortest=1000, longest=1001), crop=(999, 999))
    first, last = 0, 0
    for batch in iterate(reader, 0, 0):
        for place, row in enumerate(batch.rows_b.tolist()):
            whole, _ = read_audio(reader.utterances.refs.value(row))
            first += np.array_equal(batch.wave_bt[place], whole[:999])
            last += np.array_equal(batch.wave_bt[place], whole[1:])
    assert first + last == 24
    assert min(first, last) > 4


@pytest.mark.parametrize("conf", [{}, EVERYTHING], ids=["plain", "augmented"])
def test_any_number_of_workers_makes_the_same_batches(directory, conf):
    reader = training_reader(directory, **conf)
    expected = list(iterate(reader, 0, 0))
    for workers in (1, 2):
        for one, other in zip(expected, iterate(reader, 0, workers), strict=True):
            assert torch.equal(one.wave_bt, other.wave_bt)
            assert torch.equal(one.rows_b, other.rows_b)
    (last,) = iterate(reader, len(reader) - 1, 0)
    assert torch.equal(last.wave_bt, expected[-1].wave_bt)


@pytest.mark.parametrize("crop", [None, (2000, 3000), (20000, 30000)])
def test_a_slowed_voice_stays_within_the_bins(directory, crop):
    conf = {"voice_apply_prob": 1.0, "tempo_range": (0.7, 0.75)}
    for batch in iterate(training_reader(directory, crop=crop, **conf), 0, 0):
        assert batch.wave_bt.numel() <= 24000


def test_an_unreadable_recording_is_left_out_and_named(directory, caplog):
    reader = whole_reader(directory)
    broken = directory / "wav" / "set-007.wav"
    broken.write_bytes(broken.read_bytes()[:100])
    (directory / "wav" / "set-008.wav").unlink()
    for workers in (0, 1):
        caplog.clear()
        batches = list(iterate(reader, 0, workers))
        assert sum(len(batch.rows_b) for batch in batches) == 22
        assert [name for batch in batches for name, _ in batch.failed].count("set-007") == 1
        assert "set-007 skipped" in caplog.text
        assert "set-008 skipped" in caplog.text


def test_too_many_unreadable_recordings_are_an_error(directory):
    for number in range(5):
        (directory / "wav" / f"set-{number:03d}.wav").unlink()
    with pytest.raises(LidError, match="3 of 24 utterances cannot be read"):
        list(iterate(whole_reader(directory), 0, 0, max_failed=0.05))


def test_a_batch_of_which_nothing_can_be_read_is_empty(directory):
    reader = whole_reader(directory)
    for path in (directory / "wav").iterdir():
        path.unlink()
    for batch in iterate(reader, 0, 0):
        assert len(batch.rows_b) == len(batch.labels_b) == len(batch.lengths_b) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_another_rate_is_an_error_in_one_line(directory, workers):
    soundfile.write(directory / "wav" / "set-003.wav", np.zeros(9000), 8000)
    reader = MinibatchReader(load(directory), [Batch(np.arange(24))], PreprocessorConf(), RATE)
    lengths = reader.utterances.lengths_u
    lengths[3] = 9000
    with pytest.raises(
        LidError, match=r"set-003\.wav: sampling rate is 8000 Hz, not 16000 Hz \(run formatting again\)"
    ):
        list(iterate(reader, 0, workers))


class KilledReader(MinibatchReader):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_an_error_that_says_so(directory):
    whole = whole_reader(directory)
    reader = KilledReader(whole.utterances, whole.batches, whole.conf, RATE)
    with pytest.raises(LidError, match="was killed"):
        list(iterate(reader, 0, 1))


def lose_the_connection():
    raise ConnectionResetError(104, "Connection reset by peer")


class Lost:
    """Cannot be received, like a tensor in shared memory whose process is just being killed."""

    def __reduce__(self):
        return lose_the_connection, ()


class LostReader(MinibatchReader):
    def __getitem__(self, index):
        return Lost()


def test_a_batch_that_a_killed_worker_held_ready_is_an_error_that_says_so(directory):
    whole = whole_reader(directory)
    with pytest.raises(LidError, match="was killed"):
        list(iterate(LostReader(whole.utterances, whole.batches, whole.conf, RATE), 0, 1))


@pytest.mark.parametrize("error", [RuntimeError, ConnectionError, EOFError])
def test_an_error_of_the_code_in_a_worker_is_no_killed_worker(directory, error):
    class FaultyReader(MinibatchReader):
        def __getitem__(self, index):
            raise error("a fault of ours")

    whole = whole_reader(directory)
    with pytest.raises(error, match="a fault of ours"):
        list(iterate(FaultyReader(whole.utterances, whole.batches, whole.conf, RATE), 0, 1))


class HangingReader(MinibatchReader):
    def __getitem__(self, index):
        print(os.getpid(), flush=True)
        time.sleep(60)


def read_for_ever(reader):
    list(iterate(reader, 0, 1))


def test_a_worker_ends_with_its_killed_parent(directory, capfd):
    whole = whole_reader(directory)
    reader = HangingReader(whole.utterances, whole.batches, whole.conf, RATE)
    parent = multiprocessing.get_context("fork").Process(target=read_for_ever, args=(reader,))
    parent.start()
    worker = ""
    while not worker:
        worker = capfd.readouterr().out
        time.sleep(0.05)
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 30
    while alive(int(worker)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_in_training_another_utterance_of_the_language_takes_a_broken_ones_place(directory):
    for number in (0, 7):
        (directory / "wav" / f"set-{number:03d}.wav").write_bytes(b"no audio")
    reader = training_reader(directory)
    planned = reader.batches.rows()
    batches = list(iterate(reader, 0, 0))
    rows = np.concatenate([batch.rows_b.numpy() for batch in batches])
    assert {0, 7} <= set(planned.tolist())
    assert not {0, 7} & set(rows.tolist())
    assert np.array_equal(rows % 3, planned % 3)
    assert {name for batch in batches for name, _ in batch.failed} == {"set-000", "set-007"}
    for batch in batches:
        assert batch.wave_bt.numel() <= 24000
        assert np.array_equal(batch.labels_b.numpy(), batch.rows_b.numpy() % 3)


def test_what_has_no_like_is_left_out(directory):
    (directory / "wav" / "set-001.wav").unlink()
    utterances = load(directory)
    labels = np.where(np.arange(24) == 1, 0, 1).astype(np.int32)
    reader = training_reader(directory)
    reader.utterances = dataclasses.replace(utterances, labels_u=labels)
    rows = np.concatenate([batch.rows_b.numpy() for batch in iterate(reader, 0, 0)])
    planned = reader.batches.rows()
    assert 1 in planned
    assert sorted(rows.tolist()) == sorted(planned[planned != 1].tolist())


def test_an_utterance_sounds_the_same_whatever_lies_in_its_batch(directory):
    """Augmentations belong to utterance and epoch, not to the place in a batch."""
    apart = {}
    for bins in (24000, 9000):
        for batch in iterate(training_reader(directory, crop=None, bins=bins, **EVERYTHING), 0, 0):
            for place, row in enumerate(batch.rows_b.tolist()):
                apart.setdefault(row, []).append(batch.wave_bt[place, : batch.lengths_b[place]])
    waves = [pair for pair in apart.values() if len(pair) == 2]
    assert len(waves) > 5
    for one, other in waves:
        shorter = min(len(one), len(other))
        if len(one) == len(other):
            assert torch.equal(one[:shorter], other[:shorter])


def test_recorded_noise_is_the_same_for_any_number_of_workers_and_another_next_epoch(directory, tmp_path):
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-1, 1, 90000), RATE)
    (tmp_path / "noise.scp").write_text(f"{tmp_path / 'noise.wav'}\n")
    conf = {"noise_scp": str(tmp_path / "noise.scp"), "rir_scp": str(tmp_path / "noise.scp")}
    reader = training_reader(directory, **conf)
    for one, other in zip(iterate(reader, 0, 0), iterate(reader, 0, 2), strict=True):
        assert torch.equal(one.wave_bt, other.wave_bt)


def test_a_broken_noise_counts_as_a_failure_that_names_it(directory, tmp_path):
    soundfile.write(tmp_path / "noise.wav", np.zeros(900), RATE)
    (tmp_path / "noise.scp").write_text(f"{tmp_path / 'noise.wav'}\n")
    reader = training_reader(directory, noise_scp=str(tmp_path / "noise.scp"))
    (tmp_path / "noise.wav").unlink()
    with pytest.raises(LidError, match=r"noise\.wav: does not exist"):
        list(iterate(reader, 0, 0, max_failed=0.1))


def test_a_missing_list_is_an_error_before_the_first_batch(directory, tmp_path):
    with pytest.raises(LidError, match=r"none\.scp: does not exist"):
        training_reader(directory, noise_scp=str(tmp_path / "none.scp"))


def test_only_the_crop_is_read(directory, monkeypatch):
    asked = []
    original = waves.read_audio

    def watching(ref, start, stop):
        asked.append(stop - start)
        return original(ref, start, stop)

    monkeypatch.setattr(waves, "read_audio", watching)
    for _ in iterate(training_reader(directory, crop=(1600, 1600)), 0, 0):
        pass
    assert set(asked) == {1600}
