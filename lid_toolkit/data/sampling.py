"""Which utterance is drawn next: ESPnet's batch types as laws of chance.

A law sorts utterances into groups and says how often each group is drawn. Within a group, utterances
come in random order, each once before any comes again, from one epoch to the next: a group's draws
are one endless sequence of permutations, of which an epoch takes the next piece. All of it follows
from (seed, epoch), so no state is kept, and no global random generator is touched. A sampler of a
given number of batches draws a few more than these hold, and leaves some batches out.
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

# First numbers of the seeds, so that no two purposes share a stream.
COUNTS, ORDER, PASSES, BATCHING, AUGMENTATION, CHOICE = 1, 2, 3, 4, 5, 6
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Corpus:
    """What the laws look at; row u of every array is the same utterance.

    Attributes:
        labels_u: class of each utterance, at least 0.
        lengths_u: samples of each.
        datasets_u: number of the dataset each comes from; None where that is not known.
        language_power: exponent on a language's share of the speech.
        dataset_power: exponent on a dataset's share.
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
        members: row numbers, one group after the other.
        starts_g: (groups + 1,) where each group starts in ``members``; none is empty.
        shares_g: probability that a draw is of each group.
        sorting: among which draws those of similar length are brought together: ``window``, some
            hundreds that follow each other; ``turn``, the same, but each draw changes places with
            others of its group only; ``epoch``, all; ``none``.
    """

    members: Ints
    starts_g: Ints
    shares_g: Floats
    sorting: Literal["window", "turn", "epoch", "none"]

    def sizes_g(self) -> Ints:
        """Return how many utterances each group has."""
        return np.diff(self.starts_g)


def catpow(corpus: Corpus) -> Law:
    """Languages by a power of their share, then utterances of a language without replacement.

    P(l) is proportional to (n_l / N) ** language_power, n_l the samples of language l and N those of
    all (Pratap et al., 2023, https://arxiv.org/abs/2305.13516, section 3; ESPnet's ``catpow``). Power 1
    keeps the proportions of the corpus, 0 draws every language alike.
    """
    groups_u, samples_g = _groups(corpus.labels_u, corpus.lengths_u)
    return _law(groups_u, powers(samples_g, corpus.language_power), "window")


def catpow_balance_dataset(corpus: Corpus) -> Law:
    """Datasets by a power of their share, then languages within the dataset by a power of theirs.

    P(d) is proportional to (N_d / N) ** dataset_power and P(l | d) to (n_ld / N_d) ** language_power,
    n_ld the samples of language l in dataset d, N_d those of the dataset and N all; utterances of a
    language in a dataset come without replacement (ESPnet's ``catpow_balance_dataset``).

    Raises:
        LidError: the utterances' datasets are not known.
    """
    if corpus.datasets_u is None:
        raise LidError(
            "needs to know each utterance's dataset",
            where="batch_type catpow_balance_dataset",
            mend="write utt2dataset in the training set's data directory and run from stage 3",
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
    """Languages in turn: in every batch no language has two utterances more than another.

    P(l) is the same for all languages, whatever their share; a batch of no more utterances than there
    are languages has no language twice (ESPnet's ``catbel``, which leaves out draws that would unbalance
    a batch, where this one repeats small languages). Utterances of a language come without replacement.
    """
    groups_u, samples_g = _groups(corpus.labels_u, corpus.lengths_u)
    return _law(groups_u, powers(samples_g, 0.0), "turn")


def unsorted(corpus: Corpus) -> Law:
    """Every utterance once in each pass over the corpus, in random order, whatever its length."""
    return _all_alike(corpus, "none")


def length(corpus: Corpus) -> Law:
    """Every utterance once in each pass; neighbours in length, over the whole corpus, share a batch.

    Batches are as full as ``batch_bins`` allows and come in random order (ESPnet's ``length``). ``numel``
    counts a feature's dimensions too; a waveform has one, so it is the same law.
    """
    return _all_alike(corpus, "epoch")


def sorted_by_length(corpus: Corpus) -> Law:
    """Every utterance once in each pass; neighbours in length share a batch of ``batch_size``."""
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
"""Types whose draws follow languages; the others pass over the corpus."""

BY_BATCH_SIZE = ("catbel", "unsorted", "sorted")
"""Types whose batches have ``batch_size`` utterances, as far as ``batch_bins`` allows."""


def powers(amounts: npt.NDArray[np.floating], power: float) -> Floats:
    """Return shares proportional to a power of amounts, all above 0; they sum to 1."""
    weights = (np.asarray(amounts, dtype=np.float64) / np.sum(amounts)) ** power
    shares: Floats = weights / weights.sum()
    return shares


def draw(law: Law, draws: int, epoch: int, seed: int) -> tuple[Ints, Ints]:
    """Draw an epoch's utterances.

    Args:
        law: what is drawn how often.
        draws: how many, at least 1; a law with turns rounds up to whole rounds. The same for all epochs.
        epoch: from 1.
        seed: at least 0.

    Returns:
        Row numbers in order, and for each how often its utterance had come before, in any epoch.
    """
    counts_g = _counts(law, draws, epoch, seed)
    before_g = np.zeros_like(counts_g)
    for past in range(1, epoch):
        before_g += _counts(law, draws, past, seed)
    rng = np.random.default_rng((ORDER, seed, epoch))
    order = _places(law, counts_g, rng)
    rows_d, visits_d = np.empty(len(order), dtype=np.int64), np.empty(len(order), dtype=np.int64)
    sizes_g, ends_g = law.sizes_g(), np.cumsum(counts_g)
    for group in np.flatnonzero(counts_g).tolist():
        first, count = int(before_g[group]), int(counts_g[group])
        places = order[ends_g[group] - count : ends_g[group]]
        rows_d[places] = _piece(law, group, first, first + count, seed)
        visits_d[places] = np.arange(first, first + count) // sizes_g[group]
    return rows_d, visits_d


def _groups(keys_u: npt.NDArray[np.integer], lengths_u: npt.NDArray[np.integer]) -> tuple[Ints, Floats]:
    """Number the keys that occur, in order; return each utterance's group and the groups' samples."""
    keys, groups_u = np.unique(keys_u, return_inverse=True)
    samples_g = np.bincount(groups_u, weights=lengths_u, minlength=len(keys))
    return groups_u.astype(np.int64), samples_g.astype(np.float64)


def _all_alike(corpus: Corpus, sorting: Literal["epoch", "none"]) -> Law:
    return _law(np.zeros(len(corpus.lengths_u), dtype=np.int64), np.ones(1), sorting)


def _law(groups_u: Ints, shares_g: Floats, sorting: Literal["window", "turn", "epoch", "none"]) -> Law:
    starts_g = np.concatenate(([0], np.cumsum(np.bincount(groups_u, minlength=len(shares_g)))))
    return Law(np.argsort(_narrow(groups_u), kind="stable"), starts_g, shares_g, sorting)


def _counts(law: Law, draws: int, epoch: int, seed: int) -> Ints:
    """Return how many of an epoch's draws are of each group."""
    groups = len(law.shares_g)
    if law.sorting == "turn":
        return np.full(groups, -(-draws // groups))
    return np.random.default_rng((COUNTS, seed, epoch)).multinomial(draws, law.shares_g)


def _places(law: Law, counts_g: Ints, rng: np.random.Generator) -> Ints:
    """Return the places of the draws, ascending, of one group after the other."""
    groups = np.arange(len(counts_g))
    if law.sorting == "turn":
        groups_d = np.tile(rng.permutation(groups), int(counts_g[0]))
    else:
        groups_d = rng.permutation(np.repeat(groups, counts_g))
    return np.argsort(_narrow(groups_d), kind="stable")


def _piece(law: Law, group: int, first: int, last: int, seed: int) -> Ints:
    """Return draws ``first`` to ``last`` of a group's endless sequence of permutations.

    Permutations of a small group are made many at a time.
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
    """Return group numbers in 16 bits where they fit: NumPy sorts these by radix, in linear time."""
    return groups.astype(np.uint16) if groups.max(initial=0) < 1 << 16 else groups
