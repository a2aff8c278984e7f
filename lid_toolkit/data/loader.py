"""Batches of waveforms from disk: workers read, crop, augment and pad while the model computes.

Shapes: b batch, t samples or frames, d feature dimensions, u utterances.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lid_toolkit.audio.reader import AudioError
from lid_toolkit.audio.silence import require_signal_in
from lid_toolkit.augment.drawn import Drawn, distorted
from lid_toolkit.augment.fourier import Wave
from lid_toolkit.data.device_augment import BatchDistortions, Later, collate, distort
from lid_toolkit.data.features import Features, read_features
from lid_toolkit.data.preprocess import PreprocessorConf, draw, load_sounds
from lid_toolkit.data.samplers import Batch, utterances_in
from lid_toolkit.data.sampling import AUGMENTATION
from lid_toolkit.data.targets import Targets, Taught
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.data.waves import pad, read_wave
from lid_toolkit.data.workers import become_worker
from lid_toolkit.errors import LidError, allowed_failures
from lid_toolkit.processes import stop_signals_blocked

FULL_SCALE = 2**15
"""What an int16 sample is divided by to lie in [-1, 1]."""
REPLACEMENTS = 3
"""Number of other utterances to try when one cannot be read."""


class Minibatch(NamedTuple):
    """One batch; all tensors are on the CPU.

    Attributes:
        wave_bt: float32 waveforms, zero-padded at the end, or int16 ones (:meth:`narrowed`); or extracted
            features (B, T, D), float16.
        lengths_b: number of valid samples (frames, if features) of each utterance, int64.
        labels_b: class indices, int64.
        rows_b: row numbers in the tables of the data directory, int64.
        failed: (utterance, reason) of utterances that could not be read, and were replaced or skipped.
        samples: number of audio samples in the batch, or from which its features were computed.
        targets: target weights of the classes (B, classes), float32, or a teacher's answers; None to train
            with ``labels_b``.
        distortions: what :meth:`model_inputs` still does with ``wave_bt``, which may be longer than
            ``lengths_b`` until then; None: nothing.
    """

    wave_bt: Tensor
    lengths_b: Tensor
    labels_b: Tensor
    rows_b: Tensor
    failed: list[tuple[str, str]]
    samples: int = 0
    targets: Tensor | Taught | None = None
    distortions: BatchDistortions | None = None

    def model_inputs(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor | Taught | None]:
        """Return the arguments of the model's forward pass, on its device except for the lengths."""
        wave_bt, labels_b = (tensor.to(device, non_blocking=True) for tensor in (self.wave_bt, self.labels_b))
        targets = None if self.targets is None else self.targets.to(device, non_blocking=True)
        if wave_bt.dtype is torch.int16:
            wave_bt = wave_bt.float() / FULL_SCALE
        if self.distortions is not None:
            wave_bt = distort(wave_bt, self.lengths_b, self.distortions)
        return wave_bt, self.lengths_b, labels_b, targets

    def narrowed(self) -> Minibatch:
        """Return the batch with int16 samples if they are the same waveforms, which half the bytes then hold.

        This is so for recordings of 16 bits that no augmentation has changed.
        """
        if self.wave_bt.dtype is not torch.float32:
            return self
        wide_bt = self.wave_bt * FULL_SCALE
        narrow_bt = wide_bt.to(torch.int16)
        return self._replace(wave_bt=narrow_bt) if torch.equal(narrow_bt.float(), wide_bt) else self


class MinibatchReader(Dataset[Minibatch]):
    """A PyTorch dataset whose item i is batch i of ``batches``, read and augmented.

    Args:
        utterances: the data.
        batches: rows, crop and seeds of each batch.
        conf: crops and augmentations; used for batches with seeds.
        rate: sampling rate that the audio must have.

    Raises:
        LidError: a list of noise or room recordings is missing.
    """

    def __init__(
        self, utterances: Utterances, batches: Sequence[Batch], conf: PreprocessorConf, rate: int
    ) -> None:
        self.utterances, self.batches, self.conf, self.rate = utterances, batches, conf, rate
        self.sounds = load_sounds(conf)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Minibatch:
        """Return batch number ``index``."""
        return self.read(self.batches[index])

    def read(self, batch: Batch) -> Minibatch:
        """Return a batch. Utterances that cannot be read are replaced in training, and skipped otherwise."""
        waves: list[Wave | Features] = []
        laters: list[Later] = []
        rows: list[int] = []
        failed: list[tuple[str, str]] = []
        samples = 0
        for index_in_batch, planned in enumerate(batch.rows_b.tolist()):
            rng = None
            if batch.seed is not None:
                rng = np.random.default_rng((AUGMENTATION, *batch.seed[index_in_batch]))
            for row in self._candidates(planned, rng):
                try:
                    wave, later = self._wave(row, batch.crop, rng)
                except AudioError as error:
                    failed.append((self.utterances.refs.key(row), str(error)))
                else:
                    rows.append(row)
                    waves.append(wave)
                    laters += [] if later is None else [later]
                    samples += self._samples(row, batch.crop, len(wave))
                    break
        wave_bt, lengths_b = pad(waves)
        return Minibatch(
            wave_bt,
            lengths_b if batch.crop is None or not laters else lengths_b.clamp(max=batch.crop),
            torch.from_numpy(self.utterances.labels_u[rows].astype(np.int64)),
            torch.tensor(rows, dtype=torch.int64),
            failed,
            samples,
            self._targets(rows),
            collate(laters) if laters else None,
        )

    def _targets(self, rows: list[int]) -> Tensor | Taught | None:
        """Return the targets of some utterances."""
        targets = self.utterances.targets
        if targets is None or not rows:
            return None
        return torch.from_numpy(targets.dense(rows)) if isinstance(targets, Targets) else targets.batch(rows)

    def _samples(self, row: int, crop: int | None, size: int) -> int:
        """Return the number of audio samples behind ``size`` samples or frames of an utterance."""
        if self.utterances.hop_length is None:
            return size if crop is None else min(crop, size)
        length = int(self.utterances.lengths_u[row])
        return length if crop is None else min(crop, length)

    def _candidates(self, row: int, rng: np.random.Generator | None) -> Iterator[int]:
        """Yield the row, then, in training, other utterances of its language that may replace it."""
        yield row
        if rng is None:
            return
        labels_u = self.utterances.labels_u
        same_language = np.setdiff1d(np.flatnonzero(labels_u == labels_u[row]), [row], assume_unique=True)
        yield from rng.permutation(same_language)[:REPLACEMENTS].tolist()

    def _wave(
        self, row: int, crop: int | None, rng: np.random.Generator | None
    ) -> tuple[Wave | Features, Later | None]:
        """Return an utterance, and what is left to do with it on the device; raises AudioError."""
        ref, length = self.utterances.refs.value(row), int(self.utterances.lengths_u[row])
        if self.utterances.hop_length is not None:
            return self._features(ref, length, crop, rng), None
        if rng is None:
            begins_u = self.utterances.begins_u
            begin = 0 if begins_u is None else int(begins_u[row])
            wave = read_wave(ref, self.rate, begin, begin + length)
            require_signal_in(wave, ref)
            return wave, None
        # Raising the tempo shortens a waveform: read enough for the highest tempo. Example: for a crop of
        # 3 s and tempo up to 1.2, 3.6 s are read; cropped again after augmentation.
        reach = 1.0 if self.conf.voice_apply_prob == 0 else max(self.conf.tempo_range[1], 1.0)
        wanted = length if crop is None else min(int(crop * reach), length)
        start = int(rng.integers(length - wanted + 1))
        wave = read_wave(ref, self.rate, start, start + wanted)
        now, rest = draw(len(wave), self.conf, self.sounds, rng), Drawn()
        if self.conf.augment_on == "device":
            now, rest = now.split()
        wave = distorted(wave, now, self.rate)
        start, kept = 0, len(wave)
        if crop is not None and len(wave) > crop:
            start, kept = int(rng.integers(len(wave) - crop + 1)), crop
        if self.conf.augment_on == "device":
            return wave, Later(rest, len(wave), start)
        return wave[start : start + kept], None

    def _features(self, ref: str, length: int, crop: int | None, rng: np.random.Generator | None) -> Features:
        """Read a random crop of features; they were augmented when they were extracted.

        ``length`` and ``crop`` are in samples, and are converted to frames.
        """
        if rng is None or crop is None or crop >= length:
            return read_features(ref)
        hop = self.utterances.hop_length or 1
        start = int(rng.integers(length - crop + 1)) // hop
        return read_features(ref, start, start + max(crop // hop, 1))


Item: TypeAlias = "Minibatch | LidError"
"""What a worker makes of a batch."""


class _FaultsAsItems(Dataset[Item]):
    """The reader's batches, with errors as items: an error raised in a worker would lose its message.

    Args:
        reader: the batches.
        narrow: give int16 samples where they are the same (:meth:`Minibatch.narrowed`).
    """

    def __init__(self, reader: MinibatchReader, narrow: bool) -> None:
        self.reader, self.narrow = reader, narrow

    def __getitem__(self, index: int) -> Minibatch | LidError:
        try:
            minibatch = self.reader[index]
        except LidError as error:
            return error
        return minibatch.narrowed() if self.narrow else minibatch


def iterate(
    reader: MinibatchReader, first: int, workers: int, pin: bool = False, max_failed: float = 1.0
) -> Generator[Minibatch, None, None]:
    """Yield the reader's batches in order, read ahead by workers; log utterances that cannot be read.

    Args:
        reader: the batches.
        first: number of the first batch to yield.
        workers: number of worker processes; 0 reads in this process.
        pin: for a GPU: use pinned memory, from which it can copy while it computes, and int16 samples where
            they are the same waveforms (:meth:`Minibatch.narrowed`).
        max_failed: largest proportion of utterances that may be unreadable, from 0 to 1.

    Raises:
        LidError: the sampling rate is wrong, too many utterances are unreadable, or a worker was killed.
    """
    loader = make_loader(_FaultsAsItems(reader, pin), range(first, len(reader)), workers, pin)
    yield from checked(loaded(loader), utterances_in(reader.batches), max_failed)


def checked(
    minibatches: Iterable[Minibatch], total: int, max_failed: float
) -> Generator[Minibatch, None, None]:
    """Yield minibatches, which have ``total`` utterances; log utterances that cannot be read.

    Raises:
        LidError: more than the fraction ``max_failed`` of the utterances are unreadable.
    """
    failed = 0
    for minibatch in minibatches:
        for utterance, reason in minibatch.failed:
            logging.warning("%s skipped: %s", utterance, reason)
            failed += 1
            if failed > allowed_failures(max_failed, total):
                raise LidError(
                    f"{failed} of {total} utterances cannot be read; the last one: {reason}",
                    where=utterance,
                    redo="formatting",
                    mend="raise max_failed",
                )
        yield minibatch
    if failed:
        logging.warning("%d of %d utterances could not be read", failed, total)


def make_loader(
    dataset: Dataset[Item], order: Iterable[object], workers: int, pin: bool, persistent: bool = False
) -> DataLoader[Item]:
    """Return a loader of the dataset's items with the keys ``order``.

    ``persistent`` workers serve every iteration of the loader; others are started anew for each.
    """
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=become_worker,
        persistent_workers=persistent and workers > 0,
    )


def loaded(loader: DataLoader[Item]) -> Iterator[Minibatch]:
    """Yield a loader's minibatches, and raise the errors among its items.

    Raises:
        LidError: an error of the reader, or a worker was killed.
    """
    try:
        for item in _started(loader):
            if isinstance(item, LidError):
                raise item
            yield item
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not _worker_died(error):
            raise
        raise LidError(
            "a data-loading worker was killed",
            where="num_workers",
            mend="if memory ran out, lower num_workers; the same command continues from the last checkpoint",
        ) from error


def _worker_died(error: Exception) -> bool:
    """Return whether a loader raised ``error`` because a worker died, not because of the data.

    PyTorch names the worker by its process number, or the connection fails: a batch that is ready lies in
    shared memory, which the loader asks the worker for. An error of the reader in a worker starts with
    "Caught".
    """
    if isinstance(error, RuntimeError):
        return "DataLoader worker (pid" in str(error)
    return not str(error).startswith("Caught")


def _started(loader: DataLoader[Item]) -> Iterator[Item]:
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
