"""Batches of waveforms from disk: worker processes seek, read, augment and pad ahead of the model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from lid_toolkit.audio.augment import Wave
from lid_toolkit.audio.reader import AudioError, read_audio
from lid_toolkit.data.preprocess import PreprocessorConf, augment_wave
from lid_toolkit.data.samplers import Batch
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError


class Minibatch(NamedTuple):
    """Tensors of one batch; every field is on the CPU.

    Attributes:
        wave_bt: float32 waveforms, zero-padded at the end.
        lengths_b: valid samples, int64.
        labels_b: classes, int64.
        rows_b: rows in the set's tables, int64.
        failed: (utterance, reason) of those that could not be read and were left out.
    """

    wave_bt: Tensor
    lengths_b: Tensor
    labels_b: Tensor
    rows_b: Tensor
    failed: list[tuple[str, str]]


class MinibatchReader(Dataset[Minibatch]):
    """Item i is batch i of ``batches``, read and augmented.

    Args:
        utterances: the set.
        batches: rows, crop and seed of each batch.
        conf: crops and augmentations; used by batches that carry a seed.
        rate: samples per second the audio must have.
    """

    def __init__(
        self, utterances: Utterances, batches: Sequence[Batch], conf: PreprocessorConf, rate: int
    ) -> None:
        self.utterances, self.batches, self.conf, self.rate = utterances, batches, conf, rate

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Minibatch:
        """Return the batch without the utterances that cannot be read."""
        batch = self.batches[index]
        waves: list[Wave] = []
        rows: list[int] = []
        failed: list[tuple[str, str]] = []
        for place, row in enumerate(batch.rows_b.tolist()):
            try:
                waves.append(self._wave(row, place, batch))
                rows.append(row)
            except AudioError as error:
                failed.append((self.utterances.refs.key(row), str(error)))
        return Minibatch(
            pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
            if waves
            else torch.empty(0, 0),
            torch.tensor([len(wave) for wave in waves], dtype=torch.int64),
            torch.from_numpy(self.utterances.labels_u[rows].astype(np.int64)),
            torch.tensor(rows, dtype=torch.int64),
            failed,
        )

    def _wave(self, row: int, place: int, batch: Batch) -> Wave:
        ref, length = self.utterances.refs.value(row), int(self.utterances.lengths_u[row])
        if batch.seed is None:
            return self._read(ref, 0, length)
        rng = np.random.default_rng((batch.seed, place))
        # A faster voice is shorter: read enough for the fastest.
        reach = 1.0 if self.conf.voice_apply_prob == 0 else max(self.conf.pitch_range[1], 1.0)
        wanted = length if batch.crop is None else min(int(batch.crop * reach), length)
        start = int(rng.integers(length - wanted + 1))
        wave = augment_wave(self._read(ref, start, start + wanted), self.conf, rng)
        if batch.crop is None or len(wave) <= batch.crop:
            return wave
        start = int(rng.integers(len(wave) - batch.crop + 1))
        return wave[start : start + batch.crop]

    def _read(self, ref: str, start: int, stop: int) -> Wave:
        wave, rate = read_audio(ref, start, stop)
        if rate != self.rate:
            raise LidError(f"{rate} Hz, not {self.rate} Hz", where=ref, mend="format it with stage 3")
        return wave


def iterate(reader: MinibatchReader, first: int, workers: int, pin: bool = False) -> Iterator[Minibatch]:
    """Yield the reader's batches from number ``first`` on, in order, read ahead by ``workers`` processes.

    What could not be read is logged; 0 workers read in this process. ``pin`` puts the tensors where
    a GPU can fetch them while it computes.
    """
    loader = DataLoader(
        reader,
        batch_size=None,
        sampler=range(first, len(reader)),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
    )
    for minibatch in loader:
        for utterance, reason in minibatch.failed:
            logging.warning("%s left out: %s", utterance, reason)
        yield minibatch
