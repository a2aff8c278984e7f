"""Batches of waveforms from disk: worker processes seek, read, augment and pad ahead of the model."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from lid_toolkit.audio.reader import AudioError, read_audio
from lid_toolkit.augment.distortions import Wave
from lid_toolkit.data.features import Features, read_features
from lid_toolkit.data.preprocess import PreprocessorConf, augment_wave, load_sounds
from lid_toolkit.data.samplers import Batch, utterances_in
from lid_toolkit.data.sampling import AUGMENTATION
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.processes import die_with_parent, stop_only_for, stop_signals_blocked

REPLACEMENTS = 3
"""Utterances tried in the place of one that cannot be read."""


class Minibatch(NamedTuple):
    """Tensors of one batch; every field is on the CPU.

    Attributes:
        wave_bt: float32 waveforms, zero-padded at the end; or extracted features (B, T, D), float16.
        lengths_b: valid samples, or frames of features, int64.
        labels_b: classes, int64.
        rows_b: rows in the set's tables, int64.
        failed: (utterance, reason) of those that could not be read and were replaced or left out.
        samples: of audio that the batch holds or that its features stand for.
    """

    wave_bt: Tensor
    lengths_b: Tensor
    labels_b: Tensor
    rows_b: Tensor
    failed: list[tuple[str, str]]
    samples: int = 0


class MinibatchReader(Dataset[Minibatch]):
    """Item i is batch i of ``batches``, read and augmented.

    Args:
        utterances: the set.
        batches: rows, crop and seeds of each batch.
        conf: crops and augmentations; used by batches that carry seeds.
        rate: samples per second the audio must have.

    Raises:
        LidError: a list of noise or rooms is missing.
    """

    def __init__(
        self, utterances: Utterances, batches: Sequence[Batch], conf: PreprocessorConf, rate: int
    ) -> None:
        self.utterances, self.batches, self.conf, self.rate = utterances, batches, conf, rate
        self.sounds = load_sounds(conf)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Minibatch:
        """Return the batch; what cannot be read is left out, in training replaced."""
        batch = self.batches[index]
        waves: list[Wave | Features] = []
        rows: list[int] = []
        failed: list[tuple[str, str]] = []
        samples = 0
        for place, planned in enumerate(batch.rows_b.tolist()):
            rng = None if batch.seed is None else np.random.default_rng((AUGMENTATION, *batch.seed[place]))
            for row in self._candidates(planned, rng):
                try:
                    waves.append(self._wave(row, batch.crop, rng))
                except AudioError as error:
                    failed.append((self.utterances.refs.key(row), str(error)))
                else:
                    rows.append(row)
                    samples += self._samples(row, batch.crop, len(waves[-1]))
                    break
        return Minibatch(
            pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
            if waves
            else torch.empty(0, 0),
            torch.tensor([len(wave) for wave in waves], dtype=torch.int64),
            torch.from_numpy(self.utterances.labels_u[rows].astype(np.int64)),
            torch.tensor(rows, dtype=torch.int64),
            failed,
            samples,
        )

    def _samples(self, row: int, crop: int | None, size: int) -> int:
        """Return the audio of an utterance that takes ``size`` steps in a batch."""
        if self.utterances.hop_length is None:
            return size
        length = int(self.utterances.lengths_u[row])
        return length if crop is None else min(crop, length)

    def _candidates(self, row: int, rng: np.random.Generator | None) -> Iterator[int]:
        """Yield the row, then, in training, others of its language to replace it."""
        yield row
        if rng is None:
            return
        labels_u = self.utterances.labels_u
        alike = np.setdiff1d(np.flatnonzero(labels_u == labels_u[row]), [row], assume_unique=True)
        yield from rng.permutation(alike)[:REPLACEMENTS].tolist()

    def _wave(self, row: int, crop: int | None, rng: np.random.Generator | None) -> Wave | Features:
        ref, length = self.utterances.refs.value(row), int(self.utterances.lengths_u[row])
        if self.utterances.hop_length is not None:
            return self._features(ref, length, crop, rng)
        if rng is None:
            return self._read(ref, 0, length)
        # A faster voice is shorter: read enough for the fastest.
        reach = 1.0 if self.conf.voice_apply_prob == 0 else max(self.conf.tempo_range[1], 1.0)
        wanted = length if crop is None else min(int(crop * reach), length)
        start = int(rng.integers(length - wanted + 1))
        wave = augment_wave(self._read(ref, start, start + wanted), self.conf, self.sounds, rng)
        if crop is None or len(wave) <= crop:
            return wave
        start = int(rng.integers(len(wave) - crop + 1))
        return wave[start : start + crop]

    def _features(self, ref: str, length: int, crop: int | None, rng: np.random.Generator | None) -> Features:
        """Read a crop of as many frames as its samples make; features were augmented when extracted."""
        if rng is None or crop is None or crop >= length:
            return read_features(ref)
        hop = self.utterances.hop_length or 1
        start = int(rng.integers(length - crop + 1)) // hop
        return read_features(ref, start, start + max(crop // hop, 1))

    def _read(self, ref: str, start: int, stop: int) -> Wave:
        wave, rate = read_audio(ref, start, stop)
        if rate != self.rate:
            raise LidError(f"{rate} Hz, not {self.rate} Hz", where=ref, mend="format it with stage 3")
        return wave


class _FaultsAsItems(Dataset["Minibatch | LidError"]):
    """The reader's batches, or the error met instead: raised in a worker it would lose its message."""

    def __init__(self, reader: MinibatchReader) -> None:
        self.reader = reader

    def __getitem__(self, index: int) -> Minibatch | LidError:
        try:
            return self.reader[index]
        except LidError as error:
            return error


def iterate(
    reader: MinibatchReader, first: int, workers: int, pin: bool = False, max_failed: float = 1.0
) -> Iterator[Minibatch]:
    """Yield the reader's batches in order, read ahead by worker processes; log what cannot be read.

    Args:
        reader: the batches.
        first: number of the first to yield.
        workers: processes; 0 reads in this one.
        pin: put the tensors where a GPU can fetch them while it computes.
        max_failed: largest share of the utterances that may be unreadable.

    Raises:
        LidError: audio at another rate, more than ``max_failed`` unreadable, or a worker was killed.
    """
    total = utterances_in(reader.batches)
    failed = 0
    for minibatch in _loaded(reader, first, workers, pin):
        for utterance, reason in minibatch.failed:
            logging.warning("%s left out: %s", utterance, reason)
            failed += 1
            if failed > allowed_failures(max_failed, total):
                raise LidError(
                    f"{failed} of {total} utterances cannot be read, the last: {reason}",
                    where=utterance,
                    mend="mend the recordings and run from stage 3",
                )
        yield minibatch
    if failed:
        logging.warning("%d of %d utterances could not be read", failed, total)


def _loaded(reader: MinibatchReader, first: int, workers: int, pin: bool) -> Iterator[Minibatch]:
    loader = DataLoader(
        _FaultsAsItems(reader),
        batch_size=None,
        sampler=range(first, len(reader)),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_become_worker,
    )
    try:
        for item in _started(loader):
            if isinstance(item, LidError):
                raise item
            yield item
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise LidError(
            "a data-loading worker was killed",
            where="num_workers",
            mend="if memory ran out, lower num_workers; the same command continues from the last checkpoint",
        ) from error


def _started(loader: DataLoader[Minibatch | LidError]) -> Iterator[Minibatch | LidError]:
    """Start the workers of a loader, protected from signals to the process group.

    PyTorch installs a handler for SIGCHLD that raises wherever the main thread is when a worker dies, for
    instance between two updates. It is removed: without it, the error comes from the loader's ``next``,
    which looks every five seconds whether its workers live.
    """
    with stop_signals_blocked():  # a worker might get a signal before it has set up how to treat it
        on_child = signal.getsignal(signal.SIGCHLD)
        started = iter(loader)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, on_child or signal.SIG_DFL)
    return started


def _become_worker(_worker: int) -> None:
    """Compute on one thread, leave signals to the parent, and end with it.

    PyTorch limits its own threads in a worker, but not those of NumPy's linear algebra. Its workers check
    now and then whether their parent lives, but wait forever for a lock that a killed parent held.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        stop_only_for(parent.pid)
        die_with_parent(parent.pid)
    threadpool_limits(1)
