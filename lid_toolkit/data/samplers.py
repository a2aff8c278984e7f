"""Which utterances make up each batch: pure functions of the seed and the epoch.

No sampler keeps state: an epoch's batches follow from (seed, epoch) alone, so a resumed run finds
its place by counting, on any number of loader workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
BATCHES_A_WINDOW = 64
# 0.1 s at 16 kHz. Every new shape costs the CPU's convolution library a compilation, and memory.
CROP_STEP = 1600


@dataclass(frozen=True)
class Batch:
    """Utterances computed together.

    Attributes:
        rows_b: row numbers in the set's tables.
        crop: most samples taken of each, which bounds the padded batch; None takes all.
        seed: seed of the batch's crops and augmentations; None for neither.
    """

    rows_b: Ints
    crop: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class CatpowSampler:
    """Languages by the power of their share, then utterances of a language without replacement.

    The law (ESPnet's ``catpow``): a draw is of language l with probability proportional to
    (n_l / N) ** power, n_l its number of utterances, N all. power 1 keeps the corpus's proportions,
    0 takes every language alike. Within a language utterances come in random order, each once
    before any comes again.

    Batching does not bend the law: draws are cut into windows of about 64 batches; within a window
    they are sorted by length, cut into batches of at most ``batch_bins`` padded samples, and the
    batches shuffled. Similar lengths lie together, and no draw is lost: what does not fill the last
    batch of a window goes over into the next.

    Attributes:
        labels_u: class of each utterance.
        lengths_u: samples of each utterance.
        batch_bins: most samples in a batch, padding included.
        power: exponent on a language's share.
        crop_range: shortest and longest crop in samples; a batch draws its own, rounded down to a
            multiple of ``CROP_STEP``. None: no crop.
        max_batch_size: most utterances in a batch; None: as many as fit.
        batches_an_epoch: number of batches; None: as many as ``scaling_factor`` times the corpus.
        scaling_factor: draws in an epoch as a multiple of the number of utterances.
        seed: of everything that is drawn.
    """

    labels_u: npt.NDArray[np.integer]
    lengths_u: npt.NDArray[np.integer]
    batch_bins: int
    power: float = 0.5
    crop_range: tuple[int, int] | None = None
    max_batch_size: int | None = None
    batches_an_epoch: int | None = None
    scaling_factor: float = 1.0
    seed: int = 0

    def epoch(self, epoch: int) -> list[Batch]:
        """Return the epoch's batches in order."""
        draws = max(round(self.scaling_factor * len(self.labels_u)), 1)
        if self.batches_an_epoch is None:
            return list(self._batches(draws, epoch))
        while len(batches := list(self._batches(draws, epoch))) < self.batches_an_epoch:
            draws = round(1.1 * draws * self.batches_an_epoch / len(batches)) + 1
        return batches[: self.batches_an_epoch]

    def _batches(self, draws: int, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, epoch))
        rows_d = draw_catpow(self.labels_u, self.power, draws, rng)
        low, high = self.crop_range or (None, None)
        longest = int(np.minimum(self.lengths_u, high or self.lengths_u.max()).mean())
        window = max(BATCHES_A_WINDOW * self.batch_bins // max(longest, 1), 1)
        rest = rows_d[:0]
        for start in range(0, draws, window):
            rows_w = np.concatenate((rest, rows_d[start : start + window]))
            rows_w = rows_w[np.argsort(-self.lengths_u[rows_w], kind="stable")]
            batches: list[Batch] = []
            last = start + window >= draws
            while len(rows_w):
                crop = int(self.lengths_u[rows_w[0]])
                if low is not None and high is not None:
                    crop = whole_steps(min(crop, int(rng.integers(low, high + 1))))
                size = batch_size(crop, self.batch_bins, self.max_batch_size)
                if size >= len(rows_w) and batches and not last:
                    break
                batches.append(Batch(rows_w[:size], crop, int(rng.integers(2**62))))
                rows_w = rows_w[size:]
            rest = rows_w
            yield from (batches[i] for i in rng.permutation(len(batches)))


def whole_steps(samples: int) -> int:
    """Round down to a multiple of ``CROP_STEP``, but not to none."""
    return max(samples // CROP_STEP * CROP_STEP, min(samples, CROP_STEP))


def draw_catpow(
    labels_u: npt.NDArray[np.integer], power: float, draws: int, rng: np.random.Generator
) -> Ints:
    """Draw row numbers by the law of :class:`CatpowSampler`."""
    counts_l = np.bincount(labels_u)
    weights_l = np.where(counts_l > 0, (counts_l / counts_l.sum()) ** power, 0.0)
    languages_d = rng.choice(len(counts_l), size=draws, p=weights_l / weights_l.sum())
    by_language = np.argsort(labels_u, kind="stable")
    ends_l = np.cumsum(counts_l)
    rows_d = np.empty(draws, dtype=np.int64)
    for language in np.flatnonzero(np.bincount(languages_d, minlength=len(counts_l))):
        own = by_language[ends_l[language] - counts_l[language] : ends_l[language]]
        places = np.flatnonzero(languages_d == language)
        rounds = -(-len(places) // len(own))
        order = np.concatenate([rng.permutation(own) for _ in range(rounds)])
        rows_d[places] = order[: len(places)]
    return rows_d


def batch_size(longest: int, batch_bins: int, most: int | None = None) -> int:
    """Return how many utterances of at most ``longest`` samples fit into ``batch_bins``, padding included.

    An utterance that alone exceeds the bins makes a batch of one.
    """
    fitting = max(batch_bins // max(longest, 1), 1)
    return fitting if most is None else min(fitting, most)


def sorted_batches(
    lengths_u: npt.NDArray[np.integer], batch_bins: int, max_batch_size: int | None = None
) -> list[Batch]:
    """Cut all utterances, longest first, into batches of at most ``batch_bins`` padded samples.

    For validation and identification: the least padding, and memory runs out at once or never.
    """
    rows_u = np.argsort(-lengths_u, kind="stable")
    batches = []
    while len(rows_u):
        size = batch_size(int(lengths_u[rows_u[0]]), batch_bins, max_batch_size)
        batches.append(Batch(rows_u[:size]))
        rows_u = rows_u[size:]
    return batches
