"""Draws to batches: utterances of similar length together, no batch above ``batch_bins``.

An epoch's batches are a function of (seed, epoch) and the same on any number of processes, of which
each takes every so manyth; a training's :class:`Place` is therefore two numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import numpy.typing as npt

from lid_toolkit.data.sampling import BATCHING, CHOICE, Ints, Law, draw
from lid_toolkit.errors import LidError

BATCHES_A_WINDOW = 64
ROUNDS_A_WINDOW = 1024
# 0.1 s at 16 kHz. Every new shape costs the CPU's convolution library a compilation, and memory.
CROP_STEP = 1600
BLOCK_ROWS = 1 << 16
SPARE_DRAWS = 1.05


@dataclass(frozen=True)
class Batch:
    """Utterances computed together.

    Attributes:
        rows_b: row numbers in the set's tables.
        crop: most samples taken of each, which bounds the padded batch; None takes all.
        seed: seeds of the crops and augmentations, an integer row for each utterance; None for neither.
    """

    rows_b: Ints
    crop: int | None = None
    seed: Ints | None = None


@dataclass(frozen=True)
class Batches(Sequence[Batch]):
    """Batches as arrays: a million cost some tens of megabytes, which forked workers share.

    Attributes:
        rows_d: row numbers, the utterances of a batch beside each other.
        begins_b: where each batch begins in ``rows_d``.
        ends_b: where it ends.
        crops_b: its crop in samples; None: no batch is cropped.
        visits_d: how often each utterance had come before; None: nothing is random.
        seed: (seed, epoch) of what is random.
    """

    rows_d: Ints
    begins_b: Ints
    ends_b: Ints
    crops_b: Ints | None = None
    visits_d: Ints | None = None
    seed: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.begins_b)

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice | Ints) -> Batches: ...

    def __getitem__(self, index: int | slice | Ints) -> Batch | Batches:
        """Return a batch, or the batches of a slice or an array of numbers."""
        if isinstance(index, slice | np.ndarray):
            crops_b = None if self.crops_b is None else self.crops_b[index]
            return replace(self, begins_b=self.begins_b[index], ends_b=self.ends_b[index], crops_b=crops_b)
        span = slice(self.begins_b[index], self.ends_b[index])
        rows_b = self.rows_d[span]
        crop = None if self.crops_b is None else int(self.crops_b[index])
        if self.visits_d is None:
            return Batch(rows_b, crop)
        epoch_seed = np.broadcast_to(np.array(self.seed, dtype=np.int64), (len(rows_b), 2))
        return Batch(rows_b, crop, np.column_stack((epoch_seed, rows_b, self.visits_d[span])))

    def sizes_b(self) -> Ints:
        """Return how many utterances each batch has."""
        return self.ends_b - self.begins_b

    def share(self, rank: int, world_size: int, done: int = 0) -> Batches:
        """Return what process ``rank`` of ``world_size`` has to do when ``done`` of all batches are done.

        The processes take turns, so that together they go through the batches in order. Each gets the
        same number; up to ``world_size - 1`` batches at the end are left out.

        Raises:
            LidError: there are more processes than batches.
        """
        if len(self) < world_size:
            raise LidError(
                f"{len(self)} batches an epoch for {world_size} processes",
                where="batch_bins",
                mend="lower batch_bins or ngpu, or raise num_iters_per_epoch",
            )
        steps = max(len(self) - done, 0) // world_size
        return self[done + rank : done + steps * world_size : world_size]

    def rows(self) -> Ints:
        """Return the row numbers of all batches in order."""
        sizes_b = self.sizes_b()
        ends_b = np.cumsum(sizes_b)
        places: Ints = np.arange(sizes_b.sum()) + np.repeat(self.ends_b - ends_b, sizes_b)
        return self.rows_d[places]

    def padding(self, lengths_u: npt.NDArray[np.integer]) -> float:
        """Return the share of padding in the batches' samples."""
        sizes_b, lengths_d = self.sizes_b(), lengths_u[self.rows()]
        if not len(lengths_d):
            return 0.0
        if self.crops_b is not None:
            lengths_d = np.minimum(lengths_d, np.repeat(self.crops_b, sizes_b))
        longest_b = np.maximum.reduceat(lengths_d, np.cumsum(sizes_b) - sizes_b)
        return 1 - float(lengths_d.sum()) / float(longest_b @ sizes_b)


@dataclass
class Place:
    """How far a training has come through a sampler's batches: the same in every process.

    Attributes:
        epoch: the epoch under way, from 1.
        batches: its batches that are done, by all processes together.
    """

    epoch: int = 1
    batches: int = 0

    def begin_next_epoch(self) -> None:
        """Go to the first batch of the next epoch."""
        self.epoch, self.batches = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Return what :meth:`load_state_dict` takes."""
        return {"epoch": self.epoch, "batches": self.batches}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to where :meth:`state_dict` was taken, by any number of processes.

        Raises:
            LidError: the numbers are no place.
        """
        epoch, batches = state["epoch"], state["batches"]
        if epoch < 1 or batches < 0:
            raise LidError(f"epoch {epoch}, batch {batches} is no place in a training", where="sampler")
        self.epoch, self.batches = epoch, batches


def utterances_in(batches: Sequence[Batch]) -> int:
    """Return how many utterances batches have together."""
    if isinstance(batches, Batches):
        return int(batches.sizes_b().sum())
    return sum(len(batch.rows_b) for batch in batches)


@dataclass(frozen=True)
class Sampler:
    """A law's draws, cut into batches.

    Batching does not bend the law: draws are only reordered, within windows of about 64 batches (or as
    ``law.sorting`` says), by length, one window falling and the next rising, and cut into batches; each
    64 batches are shuffled. Similar lengths lie together, and every draw is in one batch, but for what
    ``fewest`` and ``drop_last`` leave out, and ``batches_an_epoch``, by chance, of batches that are too many.

    Attributes:
        law: what is drawn.
        lengths_u: samples of each utterance.
        batch_bins: most samples in a batch, padding included; a longer utterance is cropped to it.
        most: most utterances in a batch; None: as many as fit.
        fewest: least utterances in a batch; crops are short enough for so many to fit. A last batch with
            fewer is left out, unless it is the only one.
        crop_range: shortest and longest crop in samples; a batch draws its own, rounded down to a
            multiple of ``CROP_STEP``. None: whole utterances.
        drop_last: leave out the last batch, which nothing filled, unless it is the only one.
        draws: draws in an epoch; not used with ``batches_an_epoch``.
        batches_an_epoch: number of batches; None: as many as the draws fill.
        seed: of everything that is drawn.
    """

    law: Law
    lengths_u: npt.NDArray[np.integer]
    batch_bins: int
    most: int | None = None
    fewest: int = 1
    crop_range: tuple[int, int] | None = None
    drop_last: bool = False
    draws: int = 1
    batches_an_epoch: int | None = None
    seed: int = 0

    def epoch(self, epoch: int) -> Batches:
        """Return the batches of an epoch, counted from 1, in order."""
        wanted = self.batches_an_epoch
        if wanted is None:
            return self._batches(self.draws, epoch)
        draws = math.ceil(SPARE_DRAWS * wanted * self.fill())
        while len(batches := self._batches(draws, epoch)) < wanted:
            draws = math.ceil(1.1 * draws * wanted / len(batches))
        # By chance: where the draws end, batches are of short utterances.
        chosen = np.random.default_rng((CHOICE, self.seed, epoch)).permutation(len(batches))[:wanted]
        return batches[np.sort(chosen)]

    def longest(self) -> int:
        """Return the samples that an utterance has at most in a batch."""
        fitting = max(self.batch_bins // self.fewest, 1)
        return fitting if self.crop_range is None else min(self.crop_range[1], fitting)

    def fill(self) -> float:
        """Return how many utterances a batch without padding would have on average."""
        crop: float = self.longest()
        if self.crop_range is not None and self.crop_range[0] < crop:
            # The logarithmic mean: its reciprocal is the mean of the reciprocals of the crops.
            crop = (crop - self.crop_range[0]) / math.log(crop / self.crop_range[0])
        lengths_m = np.minimum(self.lengths_u[self.law.members], crop)
        mean_g = np.add.reduceat(lengths_m, self.law.starts_g[:-1]) / self.law.sizes_g()
        fill = self.batch_bins / max(float(mean_g @ self.law.shares_g), 1.0)
        return max(fill if self.most is None else min(fill, self.most), 1.0)

    def _batches(self, draws: int, epoch: int) -> Batches:
        rows_d, visits_d = draw(self.law, draws, epoch, self.seed)
        rng = np.random.default_rng((BATCHING, self.seed, epoch))
        order = self._order(self.lengths_u[rows_d])
        rows_d, visits_d = rows_d[order], visits_d[order]
        most = len(rows_d) if self.most is None else self.most
        low, high = self.crop_range or (self.longest(), self.longest())
        crops = np.minimum(rng.integers(low, high, len(rows_d), endpoint=True), self.longest())
        lengths_d = self.lengths_u[rows_d]
        ends_b, crops_b = cut(lengths_d, crops, self.batch_bins, most)
        if len(ends_b) > 1 and (self.drop_last or ends_b[-1] - ends_b[-2] < self.fewest):
            ends_b, crops_b = ends_b[:-1], crops_b[:-1]
        if self.crop_range is not None:
            crops_b = whole_steps(crops_b)
        begins_b = np.concatenate(([0], ends_b))[:-1]
        mixed = rng.permutation(len(ends_b))
        if self.law.sorting == "window":
            mixed = mixed[np.argsort(mixed // BATCHES_A_WINDOW, kind="stable")]
        return Batches(rows_d, begins_b[mixed], ends_b[mixed], crops_b[mixed], visits_d, (self.seed, epoch))

    def _order(self, lengths_d: npt.NDArray[np.integer]) -> Ints:
        """Return the places of the draws in the order in which they are cut into batches."""
        if self.law.sorting == "none":
            return np.arange(len(lengths_d))
        if self.law.sorting == "epoch":
            return np.argsort(-lengths_d, kind="stable")
        if self.law.sorting == "turn":
            groups = len(self.law.shares_g)
            within = zigzag(lengths_d.reshape(-1, groups), ROUNDS_A_WINDOW)
            return (within * groups + np.arange(groups)).ravel()
        window = max(round(BATCHES_A_WINDOW * self.fill()), 1)
        return zigzag(lengths_d[:, None], window)[:, 0]


def zigzag(lengths_dg: npt.NDArray[np.integer], window: int) -> Ints:
    """Sort each column within windows of rows, falling in one window and rising in the next.

    Where one window ends with short utterances, the next begins with such.

    Returns:
        Row numbers of the same shape.
    """
    order_dg = np.empty(lengths_dg.shape, dtype=np.int64)
    for number, start in enumerate(range(0, len(lengths_dg), window)):
        keys = lengths_dg[start : start + window] * (-1 if number % 2 == 0 else 1)
        order_dg[start : start + window] = start + np.argsort(keys, axis=0, kind="stable")
    return order_dg


def whole_steps(samples: Ints) -> Ints:
    """Round down to multiples of ``CROP_STEP``, but not to none."""
    return np.maximum(samples // CROP_STEP * CROP_STEP, np.minimum(samples, CROP_STEP))


def cut(
    lengths_d: npt.NDArray[np.integer], crops: npt.NDArray[np.integer], batch_bins: int, most: int
) -> tuple[Ints, Ints]:
    """Cut a sequence of utterances into batches, each as long as it may be.

    Args:
        lengths_d: samples of each utterance.
        crops: most samples of an utterance in the first batch, the second, …; at most ``batch_bins``.
        batch_bins: most samples in a batch: its utterances times the longest of them, cropped.
        most: most utterances in a batch.

    Returns:
        Where each batch ends, and its longest utterance, cropped.
    """
    ends: list[int] = []
    longest_b: list[int] = []
    crop = int(crops[0]) if len(crops) else 0
    longest = count = 0
    for place, whole in enumerate(_integers(lengths_d)):
        length = whole if whole < crop else crop
        if length < longest:
            length = longest
        if count == most or length * (count + 1) > batch_bins:
            ends.append(place)
            longest_b.append(longest)
            crop = int(crops[len(ends)])
            length, count = whole if whole < crop else crop, 0
        longest = length
        count += 1
    if count:
        ends.append(len(lengths_d))
        longest_b.append(longest)
    return np.array(ends, dtype=np.int64), np.array(longest_b, dtype=np.int64)


def _integers(array: npt.NDArray[np.integer]) -> Iterator[int]:
    """Iterate over an array's numbers, a block of them at a time as objects."""
    blocks = (array[start : start + BLOCK_ROWS].tolist() for start in range(0, len(array), BLOCK_ROWS))
    return itertools.chain.from_iterable(blocks)


def sorted_batches(
    lengths_u: npt.NDArray[np.integer], batch_bins: int, max_batch_size: int | None = None
) -> Batches:
    """Cut all utterances, longest first, into batches of at most ``batch_bins`` padded samples.

    For validation and identification: the least padding, and memory runs out at once or never. Nothing
    is cropped: an utterance that alone exceeds the bins makes a batch of one.
    """
    rows_u = np.argsort(-lengths_u, kind="stable")
    most = len(rows_u) if max_batch_size is None else max_batch_size
    # Cropped to the bins, a longer utterance fills its batch; the batch itself is not cropped.
    crops = np.broadcast_to(np.int64(batch_bins), len(rows_u))
    ends_b, _ = cut(lengths_u[rows_u], crops, batch_bins, most)
    return Batches(rows_u, np.concatenate(([0], ends_b))[:-1], ends_b)
