"""Workers that are started once: the batches of new workers, whatever was read before."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import write_set
from data.test_loader import training_reader, whole_reader

from lid_toolkit.data.loader import MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.readers import Readers
from lid_toolkit.errors import LidError

CPU = torch.device("cpu")
NOISY = {"noise_apply_prob": 0.5}


@pytest.fixture
def directory(tmp_path):
    return write_set(tmp_path / "set", 24)


def same(one, other):
    """Return whether two batches are the same for the model, whatever their number format."""
    inputs = zip(one.model_inputs(CPU)[:3], other.model_inputs(CPU)[:3], strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in inputs) and one.samples == other.samples


@pytest.mark.parametrize("workers", [0, 2])
def test_two_sets_in_turns_also_after_an_iteration_that_was_not_finished(directory, workers):
    train, valid = training_reader(directory, **NOISY), whole_reader(directory)
    readers = Readers((train.utterances, valid.utterances), PreprocessorConf(**NOISY), workers)
    next(readers.read(train.utterances, train.batches))
    for reader in (train, valid, train):
        read = readers.read(reader.utterances, reader.batches)
        assert all(same(*pair) for pair in zip(read, iterate(reader, 0, 0), strict=True))


class Numbered(MinibatchReader):
    def read(self, batch):
        return super().read(batch)._replace(failed=[], samples=os.getpid())


def test_the_workers_are_started_once(directory, monkeypatch):
    monkeypatch.setattr("lid_toolkit.data.readers.MinibatchReader", Numbered)
    whole = whole_reader(directory)
    readers = Readers((whole.utterances,), PreprocessorConf(), 1)
    processes = {batch.samples for _ in range(2) for batch in readers.read(whole.utterances, whole.batches)}
    assert len(processes) == 1
    assert os.getpid() not in processes


def test_an_error_in_a_worker_is_told_in_one_line(directory):
    soundfile.write(directory / "wav" / "set-003.wav", np.zeros(9000), 8000)
    whole = whole_reader(directory)
    whole.utterances.lengths_u[3] = 9000
    with pytest.raises(LidError, match="sampling rate is 8000 Hz"):
        list(Readers((whole.utterances,), PreprocessorConf(), 1).read(whole.utterances, whole.batches))


def test_samples_of_16_bits_travel_as_such_and_nothing_else_does(directory):
    train, valid = training_reader(directory, volume_apply_prob=1.0), whole_reader(directory)
    for reader, kind in ((valid, torch.int16), (train, torch.float32)):
        for index in range(len(reader)):
            wide, narrow = reader[index], reader[index].narrowed()
            assert narrow.wave_bt.dtype is kind
            assert same(wide, narrow)


def test_full_scale_is_no_int16_sample(directory):
    batch = whole_reader(directory)[0]
    for value, kind in ((-1.0, torch.int16), (1.0, torch.float32)):
        loud = batch._replace(wave_bt=torch.full_like(batch.wave_bt, value)).narrowed()
        assert loud.wave_bt.dtype is kind
        assert torch.equal(loud.model_inputs(CPU)[0], torch.full_like(batch.wave_bt, value))


def test_a_gpu_gets_int16(directory):
    whole = whole_reader(directory)
    readers = Readers((whole.utterances,), PreprocessorConf(), 0, gpu=True)
    assert {batch.wave_bt.dtype for batch in readers.read(whole.utterances, whole.batches)} == {torch.int16}


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_identification_on_a_gpu_gets_int16(directory):
    whole = whole_reader(directory)
    for pin, kind in ((True, torch.int16), (False, torch.float32)):
        assert {batch.wave_bt.dtype for batch in iterate(whole, 0, 0, pin)} == {kind}
