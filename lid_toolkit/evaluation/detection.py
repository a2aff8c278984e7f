r"""Detection costs: how well scores tell whether an utterance is in a given language.

A trial is an utterance and a language. Its score is the log likelihood ratio of the language against the
other languages of the system, with equal priors: log p - log((1 - p) / (n - 1)), where p is the posterior
and n the number of languages. Trials are made of the languages that occur in the set.

The scores are sorted into at most ``BINS`` bins: exact where no more distinct scores occur, and otherwise by
quantiles of the scores, so that rates are exact to about 1 / 2,000. The edges of the latter are multiples of
1 / ``PER_NAT``, so that a table finds the bin of a score, ten times as fast as a search.

Shapes: u utterances, n languages of the system, l languages that occur, s bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 1 << 12
BLOCK = 1 << 14
CELLS, PER_NAT = 1 << 16, 1 << 10
"""Length of that table, and its entries for each nat: scores from -32 to 32."""
FEWEST_UTTERANCES = 2
TARGET_PRIOR = 0.5
"""Of NIST's evaluations of 2007 to 2011, and of OLR."""
RARE_TARGET_PRIOR = 0.1
"""The second one of NIST's evaluations since 2017."""

Floats = npt.NDArray[np.floating]
Columns = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """The trials of a set, as counts.

    Attributes:
        edges: (S - 1,) scores between the bins, ascending; a score at an edge is above it.
        counts_lls: (L, L, S) utterances of the first language whose scores for the second are in a bin.
        c_llr: see :func:`detection`.
    """

    edges: Floats
    counts_lls: npt.NDArray[np.int64]
    c_llr: float


@dataclass(frozen=True)
class Detection:
    """Detection costs of a set.

    Attributes:
        c_avg: NIST's average cost with the decisions that the scores make at their face value: accept where
            the score is at least 0. Each language is a target with probability 0.5.
        min_c_avg: the same with the one threshold that makes it lowest, as OLR computes it.
        eer: equal error rate of all trials together.
        pairwise_eer: mean over pairs of languages of the equal error rate of telling them apart.
        min_dcf: lowest cost of all trials together with a target probability of 0.1, divided by the cost of
            rejecting all.
        c_llr: mean over the languages of C_llr, in bits; 0 is perfect, 1 knows nothing.
        curve: (points, 2) false acceptances and misses, for a picture.
    """

    c_avg: float
    min_c_avg: float
    eer: float
    pairwise_eer: float
    min_dcf: float
    c_llr: float
    curve: Floats


def detection(log_posteriors_un: Floats, true_u: Columns) -> Detection | None:
    """Return the detection costs of log posteriors (U, N) and true columns (U,); None with one language.

    Sources: NIST, The 2009 Language Recognition Evaluation Plan, section 4 (C_avg); NIST, 2017 Language
    Recognition Evaluation Plan, section 3.2 (the second prior); Z. Tang et al., "AP20-OLR challenge", APSIPA
    2020, section 4 (the lowest C_avg); N. Brümmer and J. du Preez, "Application-independent evaluation of
    speaker detection", Computer Speech and Language 20, 2006, equation 25 (C_llr).
    """
    trials = count_trials(log_posteriors_un, true_u)
    if trials is None:
        return None
    costs_s = average_costs(trials.counts_lls)
    misses_s, alarms_s = pooled_rates(trials.counts_lls)
    at_zero = int(np.searchsorted(trials.edges, 0.0, side="left")) + 1
    prior = RARE_TARGET_PRIOR
    dcf_s = (prior * misses_s + (1 - prior) * alarms_s) / min(prior, 1 - prior)
    kept = np.unique(np.linspace(0, len(misses_s) - 1, 200).astype(np.int64))
    return Detection(
        c_avg=float(costs_s[at_zero]),
        min_c_avg=float(costs_s.min()),
        eer=equal_error_rate(misses_s, alarms_s),
        pairwise_eer=pairwise_eer(log_posteriors_un, true_u),
        min_dcf=float(dcf_s.min()),
        c_llr=trials.c_llr,
        curve=np.stack((alarms_s, misses_s), axis=1)[kept],
    )


def count_trials(log_posteriors_un: Floats, true_u: Columns) -> Trials | None:
    """Sort the scores of all trials into bins; None if fewer than two languages occur."""
    present, place_u = np.unique(true_u, return_inverse=True)
    size = len(present)
    if size < FEWEST_UTTERANCES or log_posteriors_un.shape[1] < FEWEST_UTTERANCES:
        return None
    edges, exact = bin_edges(log_posteriors_un, true_u, present)
    bin_of = bin_finder(edges, exact)
    bins = len(edges) + 1
    counts = np.zeros(size * size * bins, np.int64)
    losses_ll = np.zeros((size, size))
    for rows, ratios_bl in ratio_blocks(log_posteriors_un, present):
        place_b = place_u[rows]
        cells_bl = (place_b[:, None] * size + np.arange(size)) * bins + bin_of(ratios_bl)
        np.add.at(counts, cells_bl.ravel(), 1)
        signs_bl = np.where(np.arange(size) == place_b[:, None], -ratios_bl, ratios_bl)
        # log(1 + exp(x)) without overflow, several times as fast as np.logaddexp
        losses_bl = np.log(np.exp(-np.abs(signs_bl)) + 1) + np.maximum(signs_bl, 0)
        order_b = np.argsort(place_b, kind="stable")
        here, firsts = np.unique(place_b[order_b], return_index=True)
        losses_ll[here] += np.add.reduceat(losses_bl[order_b], firsts, axis=0, dtype=np.float64)
    totals_l = np.bincount(place_u, minlength=size)
    return Trials(edges, counts.reshape(size, size, bins), mean_loss(losses_ll / totals_l[:, None]))


def mean_loss(means_ll: npt.NDArray[np.float64]) -> float:
    """Return C_llr in bits from the mean losses of utterances of one language in trials of another (L, L)."""
    size = len(means_ll)
    targets = np.diagonal(means_ll)
    others = (means_ll.sum(axis=0) - targets) / (size - 1)
    return float((targets + others).mean() / (2 * np.log(2)))


def ratio_blocks(log_posteriors_un: Floats, columns: Columns) -> Iterator[tuple[slice, Floats]]:
    """Yield rows, and their log likelihood ratios for these columns, a block at a time."""
    others = np.float32(np.log(log_posteriors_un.shape[1] - 1))
    least = np.finfo(np.float32).tiny  # a posterior of exactly 1 gets a finite score
    for first in range(0, len(log_posteriors_un), BLOCK):
        rows = slice(first, first + BLOCK)
        own_bl = log_posteriors_un[rows][:, columns].astype(np.float32)
        rest_bl = np.log(np.maximum(-np.expm1(own_bl), least))
        yield rows, own_bl - rest_bl + others


def bin_finder(edges: Floats, exact: bool) -> Callable[[Floats], Columns]:
    """Return a function from scores to the numbers of their bins."""
    if exact:
        return lambda ratios: np.searchsorted(edges, ratios, side="right")
    begins = (np.arange(CELLS) - CELLS // 2) / PER_NAT
    table = np.searchsorted(edges, begins, side="right")

    def find(ratios: Floats) -> Columns:
        cells = np.floor(ratios * PER_NAT) + CELLS // 2
        return np.asarray(table[np.clip(cells, 0, CELLS - 1).astype(np.int64)])

    return find


def bin_edges(log_posteriors_un: Floats, true_u: Columns, present: Columns) -> tuple[Floats, bool]:
    """Return the edges of the bins, and whether they are exact.

    They are the distinct scores, or else quantiles of those of targets and of others.
    """
    step = max(1, len(log_posteriors_un) * len(present) // (BINS * 1024))
    targets, others = [], []
    for rows, ratios_bl in ratio_blocks(log_posteriors_un[::step], present):
        is_target_bl = true_u[::step][rows][:, None] == present
        targets.append(ratios_bl[is_target_bl])
        others.append(ratios_bl[~is_target_bl])
    found = [np.concatenate(values) for values in (targets, others)]
    distinct = np.unique(np.concatenate(found))
    if step == 1 and len(distinct) < BINS:
        return distinct, True
    shares = np.linspace(0, 1, BINS // 2)
    quantiles = [np.quantile(values, shares) for values in found]
    edges = np.unique(np.ceil(np.concatenate([*quantiles, [0.0]]) * PER_NAT) / PER_NAT)
    return edges[np.abs(edges) < CELLS // 2 / PER_NAT], False


def average_costs(counts_lls: npt.NDArray[np.int64], prior: float = TARGET_PRIOR) -> Floats:
    """Return C_avg for each threshold (S + 1,): the mean over the target languages of their cost.

    The thresholds are at the lower end of each bin, from accepting all to accepting none. The cost of a
    language is prior * P(miss) + (1 - prior) * the mean over the other languages of P(false acceptance).
    """
    size, totals_l = len(counts_lls), counts_lls[:, 0].sum(axis=1)
    own_ls = np.diagonal(counts_lls).T / totals_l[:, None]
    others_ls = (np.einsum("kls,k->ls", counts_lls, 1 / totals_l) - own_ls) / (size - 1)
    misses_s, alarms_s = (np.concatenate(([0.0], np.cumsum(x.mean(axis=0)))) for x in (own_ls, others_ls))
    return np.asarray(prior * misses_s + (1 - prior) * (alarms_s[-1] - alarms_s))


def pooled_rates(counts_lls: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the proportions of misses and of false acceptances for each threshold (S + 1,)."""
    own_s = np.diagonal(counts_lls).sum(axis=1)
    others_s = counts_lls.sum(axis=(0, 1)) - own_s
    below, above = (np.concatenate(([0], np.cumsum(counts))) for counts in (own_s, others_s))
    return below / below[-1], 1 - above / above[-1]


def equal_error_rate(misses_s: Floats, alarms_s: Floats) -> float:
    """Return where the rates of misses, which rise, and of false acceptances meet, between two thresholds."""
    gaps_s = misses_s - alarms_s
    after = int(np.argmax(gaps_s >= 0))
    if after == 0:
        return float(misses_s[0])
    step = gaps_s[after] - gaps_s[after - 1]
    share = gaps_s[after] / step
    return float(misses_s[after] - share * (misses_s[after] - misses_s[after - 1]))


def pairwise_eer(log_posteriors_un: Floats, true_u: Columns) -> float:
    """Return the mean over pairs of occurring languages of the EER of log p(first) - log p(second)."""
    present = np.unique(true_u)
    of_language = [log_posteriors_un[true_u == column][:, present] for column in present.tolist()]
    rates = [
        two_class_eer(
            of_language[one][:, one] - of_language[one][:, other],
            of_language[other][:, one] - of_language[other][:, other],
        )
        for one in range(len(present))
        for other in range(one)
    ]
    return float(np.mean(rates))


def two_class_eer(targets: Floats, others: Floats) -> float:
    """Return the equal error rate of scores that should be high for targets and low for others."""
    scores = np.concatenate((targets, others))
    is_target = np.arange(len(scores)) < len(targets)
    order = np.argsort(scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # equal ones go together
    below = np.cumsum(is_target[order])[ends]
    misses = np.concatenate(([0], below)) / len(targets)
    alarms = 1 - np.concatenate(([0], ends + 1 - below)) / len(others)
    return equal_error_rate(misses, alarms)
