"""From draws to batches: utterances of similar length together, at most ``batch_bins`` samples per batch.

The batches of an epoch are a function of (seed, epoch), and the same for any number of processes. Process
``rank`` takes batches rank, rank + world_size, ..., so the position to resume from is (epoch, batches done).

Shapes: b batches (or utterances of a batch), d draws, u utterances, m members of groups, g groups.
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
# 0.1 s at 16 kHz. The CPU's convolution library compiles code for every new shape, which takes time and
# memory, so crops have few different lengths.
CROP_STEP = 1600
# Utterances whose lengths differ by less than this factor are in any order, which costs 2 to 3 % of padding.
SAME_LENGTH = 1.05
BLOCK_ROWS = 1 << 16
SPARE_DRAWS = 1.05


@dataclass(frozen=True)
class Batch:
    """The utterances of one batch.

    Attributes:
        rows_b: row numbers in the tables of the data directory.
        crop: largest number of samples of each utterance, which limits the size of the padded batch; None:
            whole utterances.
        seed: seeds of the crops and augmentations, a row of integers for each utterance; None: utterances
            are neither cropped at random nor augmented.
    """

    rows_b: Ints
    crop: int | None = None
    seed: Ints | None = None


@dataclass(frozen=True)
class Batches(Sequence[Batch]):
    """Batches as arrays. A million batches take some tens of megabytes, which forked workers share.

    Attributes:
        rows_d: row numbers; the utterances of a batch are next to each other.
        begins_b: where each batch begins in ``rows_d``.
        ends_b: where each batch ends in ``rows_d``.
        crops_b: crop of each batch in samples; None: no batch is cropped.
        visits_d: how often each utterance was drawn before; None: nothing is random.
        seed: (seed, epoch) of the random numbers.
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
        """Return one batch, or the batches of a slice or of an array of indices."""
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
        """Return the number of utterances in each batch."""
        return self.ends_b - self.begins_b

    def share(self, rank: int, world_size: int, done: int = 0) -> Batches:
        """Return the remaining batches of process ``rank`` when ``done`` batches of the epoch are done.

        The processes take turns and get equally many batches; up to ``world_size - 1`` batches at the end
        are skipped. Example: of 9 batches, 2 done, with 3 processes, process 0 gets batches 2 and 5,
        process 1 gets 3 and 6, process 2 gets 4 and 7, and batch 8 is skipped.

        Raises:
            LidError: there are more processes than batches.
        """
        if len(self) < world_size:
            raise LidError(
                f"{len(self)} batches per epoch are too few for {world_size} processes",
                where="batch_bins",
                mend="lower batch_bins, use fewer processes, or raise num_iters_per_epoch",
            )
        steps = max(len(self) - done, 0) // world_size
        return self[done + rank : done + steps * world_size : world_size]

    def rows(self) -> Ints:
        """Return the row numbers of all batches, in order.

        This concatenates ``rows_d[begin:end]`` without a loop. Example: batches 7:9 and 2:5 have sizes 2 and
        3. Counting 0 1 | 2 3 4 over both and adding end minus cumulative size of each batch (9 - 2 and
        5 - 5) gives 7 8 | 2 3 4.
        """
        sizes_b = self.sizes_b()
        ends_b = np.cumsum(sizes_b)
        indices: Ints = np.arange(sizes_b.sum()) + np.repeat(self.ends_b - ends_b, sizes_b)
        return self.rows_d[indices]

    def padding(self, lengths_u: npt.NDArray[np.integer]) -> float:
        """Return the proportion of padding in the batches."""
        sizes_b, lengths_d = self.sizes_b(), lengths_u[self.rows()]
        if not len(lengths_d):
            return 0.0
        if self.crops_b is not None:
            lengths_d = np.minimum(lengths_d, np.repeat(self.crops_b, sizes_b))
        longest_b = np.maximum.reduceat(lengths_d, np.cumsum(sizes_b) - sizes_b)
        return 1 - float(lengths_d.sum()) / float(longest_b @ sizes_b)

    def mean_different(self, values_u: npt.NDArray[np.integer] | None = None) -> float:
        """Return how many different values a batch has, averaged over the batches.

        Args:
            values_u: a number for each utterance, at least 0, for example its label; None: its row number.

        Example: batches of the labels 0 0 1 and 2 2 2 have 2 and 1 different values, 1.5 on average.
        """
        values_d = self.rows() if values_u is None else values_u[self.rows()].astype(np.int64)
        batch_d = np.repeat(np.arange(len(self)), self.sizes_b())
        pairs = np.unique(batch_d * (values_d.max(initial=0) + 1) + values_d)
        return len(pairs) / max(len(self), 1)


@dataclass
class Position:
    """The position of a training in the batches of a sampler, the same in every process.

    Attributes:
        epoch: the current epoch, from 1.
        batches: number of its batches that are done, by all processes together.
    """

    epoch: int = 1
    batches: int = 0

    def begin_next_epoch(self) -> None:
        """Go to the first batch of the next epoch."""
        self.epoch, self.batches = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Return the position as :meth:`load_state_dict` expects it."""
        return {"epoch": self.epoch, "batches": self.batches}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore a position, which may come from a training with another number of processes."""
        self.epoch, self.batches = state["epoch"], state["batches"]


def utterances_in(batches: Sequence[Batch]) -> int:
    """Return the total number of utterances in some batches."""
    if isinstance(batches, Batches):
        return int(batches.sizes_b().sum())
    return sum(len(batch.rows_b) for batch in batches)


@dataclass(frozen=True)
class Sampler:
    """Draws utterances by a sampling law and splits the draws into batches.

    Batching does not change how often an utterance is drawn. The draws are only reordered: within windows
    of about 64 batches (or as ``law.sorting`` says) they are sorted by length after the crop, descending and
    ascending in turn, then split into batches, and each 64 batches are shuffled. So a batch has utterances
    of similar length, and every draw is in one batch, except those in a last batch that ``fewest`` or
    ``drop_last`` removes, and those in the surplus batches that ``batches_an_epoch`` removes at random.

    Draws of similar length are in random order, but the draws of one utterance are spaced evenly. So an
    utterance is twice in a batch only if the law draws it more than once for each batch of that length.

    Attributes:
        law: how utterances are drawn.
        lengths_u: number of samples of each utterance.
        batch_bins: largest number of samples in a batch, padding included; a longer utterance is cropped.
        most: largest number of utterances in a batch; None: as many as fit.
        fewest: smallest number of utterances in a batch; crops are short enough for that many to fit. A last
            batch with fewer is removed, unless it is the only one.
        crop_range: shortest and longest crop in samples; the crop of each batch is drawn, and rounded down
            to a multiple of ``CROP_STEP``. None: whole utterances.
        drop_last: remove the last batch, which may not be full, unless it is the only one.
        draws: number of draws per epoch; not used with ``batches_an_epoch``.
        batches_an_epoch: number of batches per epoch; None: as many as the draws fill.
        seed: seed of all random numbers.
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
        # Remove surplus batches at random: those at the end would be the ones with the shortest utterances.
        chosen = np.random.default_rng((CHOICE, self.seed, epoch)).permutation(len(batches))[:wanted]
        return batches[np.sort(chosen)]

    def longest(self) -> int:
        """Return the largest number of samples that an utterance can have in a batch."""
        fitting = max(self.batch_bins // self.fewest, 1)
        return fitting if self.crop_range is None else min(self.crop_range[1], fitting)

    def fill(self) -> float:
        """Return the mean number of utterances in a batch, if there were no padding."""
        crop: float = self.longest()
        if self.crop_range is not None and self.crop_range[0] < crop:
            # The number of utterances is proportional to 1 / crop, so what is needed is the reciprocal of the
            # mean of 1 / crop: the logarithmic mean. Example: (4 - 2) / log(4 / 2) = 2.9 s for 2 to 4 s.
            crop = (crop - self.crop_range[0]) / math.log(crop / self.crop_range[0])
        lengths_m = np.minimum(self.lengths_u[self.law.members], crop)
        mean_g = np.add.reduceat(lengths_m, self.law.starts_g[:-1]) / self.law.sizes_g()
        fill = self.batch_bins / max(float(mean_g @ self.law.shares_g), 1.0)
        return max(fill if self.most is None else min(fill, self.most), 1.0)

    def _batches(self, draws: int, epoch: int) -> Batches:
        rows_d, visits_d = draw(self.law, draws, epoch, self.seed)
        rng = np.random.default_rng((BATCHING, self.seed, epoch))
        order = self._order(rows_d, rng)
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
        shuffled = rng.permutation(len(ends_b))
        if self.law.sorting == "window":
            shuffled = shuffled[np.argsort(shuffled // BATCHES_A_WINDOW, kind="stable")]
        return Batches(
            rows_d, begins_b[shuffled], ends_b[shuffled], crops_b[shuffled], visits_d, (self.seed, epoch)
        )

    def _order(self, rows_d: Ints, rng: np.random.Generator) -> Ints:
        """Return the indices of the draws in the order in which they are split into batches."""
        draws = np.arange(len(rows_d))
        if self.law.sorting == "none":
            return draws
        groups, window = 1, max(round(BATCHES_A_WINDOW * self.fill()), 1)
        if self.law.sorting == "epoch":
            window = len(rows_d)
        elif self.law.sorting == "turn":
            groups, window = len(self.law.shares_g), ROUNDS_A_WINDOW
        lengths_d = np.minimum(self.lengths_u[rows_d], self.longest())
        classes_d = np.floor(np.log(lengths_d) / math.log(SAME_LENGTH))
        keys_d = classes_d + evenly_spaced(rows_d, draws // (groups * window), rng)
        within = zigzag(keys_d.reshape(-1, groups), window)
        return (within * groups + np.arange(groups)).ravel()


def evenly_spaced(rows_d: Ints, windows_d: Ints, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each draw; sorting by it spaces the draws of an utterance evenly.

    An utterance drawn c times in a window gets u / c, (1 + u) / c, ..., with a random u in [0, 1). Example:
    of the draws a a a a b c in one window, a gets 0.1, 0.35, 0.6 and 0.85 (u = 0.4), and b and c get any
    number: batches of three have two draws of a each.

    Args:
        rows_d: row number of the utterance of each draw.
        windows_d: number of the window of each draw, ascending.
        rng: source of u.
    """
    keys_d = windows_d * (rows_d.max(initial=0) + 1) + rows_d
    order = np.argsort(keys_d, kind="stable")
    first = np.flatnonzero(np.diff(keys_d[order], prepend=-1))
    counts = np.diff(first, append=len(order))
    copies = np.arange(len(order)) - np.repeat(first, counts)
    numbers_d = np.empty(len(order))
    numbers_d[order] = (copies + np.repeat(rng.random(len(first)), counts)) / np.repeat(counts, counts)
    return numbers_d


def zigzag(keys_dg: npt.NDArray[np.number], window: int) -> Ints:
    """Sort each column within windows of rows, descending in one window and ascending in the next.

    A batch may extend from one window into the next. If all windows were descending, such a batch would
    have the shortest utterances of one and the longest of the other, and much padding. Example: lengths
    3 9 5 | 8 2 6 in windows of 3 become 9 5 3 | 2 6 8.

    Returns:
        Row numbers, of the same shape.
    """
    order_dg = np.empty(keys_dg.shape, dtype=np.int64)
    for number, start in enumerate(range(0, len(keys_dg), window)):
        keys = keys_dg[start : start + window] * (-1 if number % 2 == 0 else 1)
        order_dg[start : start + window] = start + np.argsort(keys, axis=0, kind="stable")
    return order_dg


def whole_steps(samples: Ints) -> Ints:
    """Round down to multiples of ``CROP_STEP``; smaller numbers are unchanged."""
    return np.maximum(samples // CROP_STEP * CROP_STEP, np.minimum(samples, CROP_STEP))


def cut(
    lengths_d: npt.NDArray[np.integer], crops: npt.NDArray[np.integer], batch_bins: int, most: int
) -> tuple[Ints, Ints]:
    """Split a sequence of utterances into batches, each as large as possible.

    Example: lengths 5 4 4 2 with crop 9 and 10 bins give batches ``5 4`` (2 x 5 samples) and ``4 2`` (2 x 4
    samples): the ends are 2 and 4, the longest 5 and 4.

    Args:
        lengths_d: number of samples of each utterance.
        crops: crop of the first batch, the second, ... in samples; at most ``batch_bins``.
        batch_bins: largest number of samples in a batch: number of utterances times the longest, cropped.
        most: largest number of utterances in a batch.

    Returns:
        The end of each batch in ``lengths_d``, and the length of its longest utterance, cropped.
    """
    ends: list[int] = []
    longest_b: list[int] = []
    crop = int(crops[0]) if len(crops) else 0
    longest = count = 0
    for draw_index, whole in enumerate(_integers(lengths_d)):
        length = whole if whole < crop else crop
        if length < longest:
            length = longest
        if count == most or length * (count + 1) > batch_bins:
            ends.append(draw_index)
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
    """Iterate over an array as Python integers, converting one block at a time to save memory."""
    blocks = (array[start : start + BLOCK_ROWS].tolist() for start in range(0, len(array), BLOCK_ROWS))
    return itertools.chain.from_iterable(blocks)


def sorted_batches(
    lengths_u: npt.NDArray[np.integer], batch_bins: int, max_batch_size: int | None = None
) -> Batches:
    """Split all utterances, longest first, into batches of at most ``batch_bins`` samples with padding.

    For validation and identification: there is little padding, and if memory runs out, it does so in the
    first batch. Utterances are not cropped; one longer than ``batch_bins`` is a batch of its own.
    """
    rows_u = np.argsort(-lengths_u, kind="stable")
    most = len(rows_u) if max_batch_size is None else max_batch_size
    # For splitting only, a longer utterance counts as `batch_bins` samples, which fill a batch.
    crops = np.broadcast_to(np.int64(batch_bins), len(rows_u))
    ends_b, _ = cut(lengths_u[rows_u], crops, batch_bins, most)
    return Batches(rows_u, np.concatenate(([0], ends_b))[:-1], ends_b)
