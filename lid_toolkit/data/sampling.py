"""Which utterances are drawn: ESPnet's batch types as sampling laws.

A law puts utterances into groups and gives each group a probability. Within a group, utterances are drawn
in random order without replacement, also across epochs: the draws of a group are an endless sequence of
permutations, and each epoch takes the next piece of it. Everything is a function of (seed, epoch), so there
is no state to save, and no global random generator is used.

Example: a group of utterances a b c is drawn twice in epoch 1, then four times in epoch 2. Its sequence of
permutations may begin ``b c a | a c b | ...``: epoch 1 gets b c, epoch 2 gets a a c b.

Shapes: u utterances, g groups, d draws, l languages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lid_toolkit.errors import LidError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# First numbers of the seeds: each purpose has its own stream of random numbers.
COUNTS, ORDER, PASSES, BATCHING, AUGMENTATION, CHOICE = 1, 2, 3, 4, 5, 6
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Corpus:
    """The input of the laws; row u of every array is the same utterance.

    Attributes:
        labels_u: class index of each utterance, at least 0.
        lengths_u: number of samples of each utterance.
        datasets_u: number of the dataset of each utterance; None if not known.
        language_power: exponent of a language's proportion of the speech.
        dataset_power: exponent of a dataset's proportion of the speech.
    """

    labels_u: npt.NDArray[np.integer]
    lengths_u: npt.NDArray[np.integer]
    datasets_u: npt.NDArray[np.integer] | None = None
    language_power: float = 0.5
    dataset_power: float = 0.5


@dataclass(frozen=True)
class Law:
    """Groups of utterances and how they are drawn.

    Attributes:
        members: row numbers of the utterances, one group after another.
        starts_g: (groups + 1,) where each group starts in ``members``; no group is empty.
        shares_g: probability of each group; they sum to 1.
        sorting: which draws may be reordered by length: ``window``, some hundreds of consecutive draws;
            ``turn``, the same, but a draw only changes places with draws of its own group; ``epoch``, all
            draws of an epoch; ``none``.
    """

    members: Ints
    starts_g: Ints
    shares_g: Floats
    sorting: Literal["window", "turn", "epoch", "none"]

    def sizes_g(self) -> Ints:
        """Return the number of utterances in each group."""
        return np.diff(self.starts_g)


def catpow(corpus: Corpus) -> Law:
    """Draw languages by a power of their proportion, then utterances of a language without replacement.

    P(l) is proportional to (n_l / N) ** language_power, with n_l the samples of language l and N those of
    all (Pratap et al., 2023, https://arxiv.org/abs/2305.13516, section 3; ESPnet's ``catpow``). Power 1
    keeps the proportions of the corpus; with 0, all languages are equally likely.
    """
    groups_u, samples_g = _groups(corpus.labels_u, corpus.lengths_u)
    return _law(groups_u, powers(samples_g, corpus.language_power), "window")


def catpow_balance_dataset(corpus: Corpus) -> Law:
    """Draw datasets by a power of their proportion, then languages of the dataset in the same way.

    P(d) is proportional to (N_d / N) ** dataset_power and P(l | d) to (n_ld / N_d) ** language_power,
    with n_ld the samples of language l in dataset d, N_d those of the dataset and N those of all. Utterances
    of a language in a dataset are drawn without replacement (ESPnet's ``catpow_balance_dataset``).

    Raises:
        LidError: the datasets of the utterances are not known.
    """
    if corpus.datasets_u is None:
        raise LidError(
            "the dataset of each utterance is not known",
            where="batch_type catpow_balance_dataset",
            mend="write utt2dataset in the data directory of the training set and format it again",
        )
    datasets_u, samples_d = _groups(corpus.datasets_u, corpus.lengths_u)
    width = int(corpus.labels_u.max()) + 1
    pairs_u = datasets_u * width + corpus.labels_u
    groups_u, samples_g = _groups(pairs_u, corpus.lengths_u)
    dataset_g = np.unique(pairs_u) // width
    shares_d = powers(samples_d, corpus.dataset_power)
    shares_g = np.empty(len(samples_g))
    for dataset, share in enumerate(shares_d):
        inside = dataset_g == dataset
        shares_g[inside] = share * powers(samples_g[inside], corpus.language_power)
    return _law(groups_u, shares_g, "window")


def catbel(corpus: Corpus) -> Law:
    """Draw languages in turn: in a batch, the numbers of utterances of two languages differ by at most 1.

    All languages are equally likely, and a batch with no more utterances than there are languages has no
    language twice. Utterances of a language are drawn without replacement. (ESPnet's ``catbel`` skips draws
    that would unbalance a batch; this law repeats small languages instead.)
    """
    groups_u, samples_g = _groups(corpus.labels_u, corpus.lengths_u)
    return _law(groups_u, powers(samples_g, 0.0), "turn")


def unsorted(corpus: Corpus) -> Law:
    """Draw every utterance once per pass over the corpus, in random order, regardless of its length."""
    return _all_alike(corpus, "none")


def length(corpus: Corpus) -> Law:
    """Draw every utterance once per pass; a batch has utterances of similar length from the whole corpus.

    Batches are as full as ``batch_bins`` allows, and in random order (ESPnet's ``length``). ESPnet's
    ``numel`` also counts feature dimensions; a waveform has one, so it is the same law.
    """
    return _all_alike(corpus, "epoch")


def sorted_by_length(corpus: Corpus) -> Law:
    """Draw every utterance once per pass; a batch has ``batch_size`` utterances of similar length."""
    return _all_alike(corpus, "epoch")


LAWS: Mapping[str, Callable[[Corpus], Law]] = {
    "catpow": catpow,
    "catpow_balance_dataset": catpow_balance_dataset,
    "catbel": catbel,
    "unsorted": unsorted,
    "sorted": sorted_by_length,
    "length": length,
    "numel": length,
}
BatchType = Literal["catpow", "catpow_balance_dataset", "catbel", "unsorted", "sorted", "length", "numel"]
BY_CATEGORY = ("catpow", "catpow_balance_dataset", "catbel")
"""Batch types that draw by language; the others make passes over the corpus."""

BY_BATCH_SIZE = ("catbel", "unsorted", "sorted")
"""Batch types whose batches have ``batch_size`` utterances, if ``batch_bins`` allows it."""


def powers(amounts: npt.NDArray[np.floating], power: float) -> Floats:
    """Return probabilities proportional to a power of the amounts, which must be positive."""
    weights = (np.asarray(amounts, dtype=np.float64) / np.sum(amounts)) ** power
    shares: Floats = weights / weights.sum()
    return shares


def draw(law: Law, draws: int, epoch: int, seed: int) -> tuple[Ints, Ints]:
    """Draw an epoch's utterances.

    Args:
        law: how utterances are drawn.
        draws: number of draws, at least 1, the same for all epochs; ``turn`` rounds it up to whole rounds.
        epoch: number of the epoch, from 1.
        seed: seed of the random numbers, at least 0.

    Returns:
        Row numbers in order, and how often the utterance of each draw was drawn before, in any epoch.
    """
    counts_g = _counts(law, draws, epoch, seed)
    before_g = np.zeros_like(counts_g)
    for past in range(1, epoch):
        before_g += _counts(law, draws, past, seed)
    rng = np.random.default_rng((ORDER, seed, epoch))
    order = _indices_by_group(law, counts_g, rng)
    rows_d, visits_d = np.empty(len(order), dtype=np.int64), np.empty(len(order), dtype=np.int64)
    sizes_g, ends_g = law.sizes_g(), np.cumsum(counts_g)
    for group in np.flatnonzero(counts_g).tolist():
        first, count = int(before_g[group]), int(counts_g[group])
        indices = order[ends_g[group] - count : ends_g[group]]
        rows_d[indices] = _piece(law, group, first, first + count, seed)
        visits_d[indices] = np.arange(first, first + count) // sizes_g[group]
    return rows_d, visits_d


def _groups(keys_u: npt.NDArray[np.integer], lengths_u: npt.NDArray[np.integer]) -> tuple[Ints, Floats]:
    """Return the group of each utterance, numbered in order of the keys, and the samples of each group."""
    keys, groups_u = np.unique(keys_u, return_inverse=True)
    samples_g = np.bincount(groups_u, weights=lengths_u, minlength=len(keys))
    return groups_u.astype(np.int64), samples_g.astype(np.float64)


def _all_alike(corpus: Corpus, sorting: Literal["epoch", "none"]) -> Law:
    return _law(np.zeros(len(corpus.lengths_u), dtype=np.int64), np.ones(1), sorting)


def _law(groups_u: Ints, shares_g: Floats, sorting: Literal["window", "turn", "epoch", "none"]) -> Law:
    starts_g = np.concatenate(([0], np.cumsum(np.bincount(groups_u, minlength=len(shares_g)))))
    return Law(np.argsort(_narrow(groups_u), kind="stable"), starts_g, shares_g, sorting)


def _counts(law: Law, draws: int, epoch: int, seed: int) -> Ints:
    """Return the number of draws of each group in an epoch."""
    groups = len(law.shares_g)
    if law.sorting == "turn":
        return np.full(groups, -(-draws // groups))
    return np.random.default_rng((COUNTS, seed, epoch)).multinomial(draws, law.shares_g)


def _indices_by_group(law: Law, counts_g: Ints, rng: np.random.Generator) -> Ints:
    """Return the indices of each group's draws in the epoch, ascending, one group after another."""
    groups = np.arange(len(counts_g))
    if law.sorting == "turn":
        groups_d = np.tile(rng.permutation(groups), int(counts_g[0]))
    else:
        groups_d = rng.permutation(np.repeat(groups, counts_g))
    return np.argsort(_narrow(groups_d), kind="stable")


def _piece(law: Law, group: int, first: int, last: int, seed: int) -> Ints:
    """Return draws ``first`` to ``last`` of a group's endless sequence of permutations.

    Many permutations of a small group are made at a time, as a block with its own seed. Example: a block of
    a group of 4 has 1024 passes; draws 4094 to 4099 are the last 2 of block 0 and the first 3 of block 1.
    """
    own = law.members[law.starts_g[group] : law.starts_g[group + 1]]
    passes = max(BLOCK_ROWS // len(own), 1)
    size = passes * len(own)
    begin = first // size
    blocks = [
        np.random.default_rng((PASSES, seed, group, block)).permuted(np.tile(own, (passes, 1)), axis=1)
        for block in range(begin, -(-last // size))
    ]
    return np.concatenate([block.ravel() for block in blocks])[first - begin * size : last - begin * size]


def _narrow(groups: Ints) -> npt.NDArray[np.integer]:
    """Return group numbers in 16 bits if they fit: NumPy sorts these by radix sort, in linear time."""
    return groups.astype(np.uint16) if groups.max(initial=0) < 1 << 16 else groups
