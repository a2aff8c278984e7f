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

from lid_toolkit.evaluation.posteriors import Columns, Floats, LogPosteriors

BINS = 1 << 12
BLOCK = 1 << 14
CELLS, PER_NAT = 1 << 16, 1 << 10
"""Length of that table, and its entries for each nat: scores from -32 to 32."""
GROUP = 1 << 25
"""Number of scores of a group of languages, of which all pairs with those of another group are formed."""
FEWEST_UTTERANCES = 2
TARGET_PRIOR = 0.5
"""Of NIST's evaluations of 2007 to 2011, and of OLR."""
RARE_TARGET_PRIOR = 0.1
"""The second one of NIST's evaluations since 2017."""


@dataclass(frozen=True)
class Trials:
    """The trials of a set, as a histogram of their scores, with the targets (true languages) apart.

    Attributes:
        edges: (S - 1,) scores between the bins, ascending; a score at an edge is above it.
        targets_s: (S,) number of target trials.
        others_s: (S,) number of the other trials.
        target_shares_s: (S,) the mean over the languages of the proportion of their target trials.
        other_shares_s: (S,) the mean over all pairs of two languages of the proportion of the trials of the
            first language's utterances for the second language.
        c_llr: see :func:`detection`.
    """

    edges: Floats
    targets_s: Floats
    others_s: Floats
    target_shares_s: Floats
    other_shares_s: Floats
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


def detection(log_posteriors_un: LogPosteriors, true_u: Columns) -> Detection | None:
    """Return the detection costs of log posteriors (U, N) and true columns (U,); None with one language.

    Sources: NIST, The 2009 Language Recognition Evaluation Plan, section 4 (C_avg); NIST, 2017 Language
    Recognition Evaluation Plan, section 3.2 (the second prior); Z. Tang et al., "AP20-OLR challenge", APSIPA
    2020, section 4 (the lowest C_avg); N. Brümmer and J. du Preez, "Application-independent evaluation of
    speaker detection", Computer Speech and Language 20, 2006, equation 25 (C_llr).
    """
    trials = count_trials(log_posteriors_un, true_u)
    if trials is None:
        return None
    costs_s = average_costs(trials)
    misses_s, alarms_s = rates(trials.targets_s, trials.others_s)
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


def count_trials(log_posteriors_un: LogPosteriors, true_u: Columns) -> Trials | None:
    """Sort the scores of all trials into bins; None if fewer than two languages occur."""
    present, place_u, totals_l = np.unique(true_u, return_inverse=True, return_counts=True)
    size = len(present)
    if size < FEWEST_UTTERANCES or log_posteriors_un.shape[1] < FEWEST_UTTERANCES:
        return None
    edges, exact = bin_edges(log_posteriors_un, true_u, present)
    bin_of = bin_finder(edges, exact)
    bins, weight_u = len(edges) + 1, (1 / totals_l)[place_u]
    targets_s, trials_s, target_shares_s, other_shares_s = np.zeros((4, bins))
    losses_ll = np.zeros((size, size))
    for rows, ratios_bl in ratio_blocks(log_posteriors_un, present):
        place_b, weight_b, bins_bl = place_u[rows], weight_u[rows], bin_of(ratios_bl)
        own = np.arange(len(place_b)), place_b
        targets_s += np.bincount(bins_bl[own], minlength=bins)
        target_shares_s += np.bincount(bins_bl[own], weight_b, bins)
        weight_bl = np.repeat(weight_b[:, None], size, axis=1)
        weight_bl[own] = 0.0
        trials_s += np.bincount(bins_bl.ravel(), minlength=bins)
        other_shares_s += np.bincount(bins_bl.ravel(), weight_bl.ravel(), bins)
        signs_bl = np.where(np.arange(size) == place_b[:, None], -ratios_bl, ratios_bl)
        # log(1 + exp(x)) without overflow, several times as fast as np.logaddexp
        losses_bl = np.log(np.exp(-np.abs(signs_bl)) + 1) + np.maximum(signs_bl, 0)
        order_b = np.argsort(place_b, kind="stable")
        here, firsts = np.unique(place_b[order_b], return_index=True)
        losses_ll[here] += np.add.reduceat(losses_bl[order_b], firsts, axis=0, dtype=np.float64)
    return Trials(
        edges,
        targets_s,
        trials_s - targets_s,
        target_shares_s / size,
        other_shares_s / (size * (size - 1)),
        mean_loss(losses_ll / totals_l[:, None]),
    )


def log_ratio_cost(log_posteriors_un: LogPosteriors, true_u: Columns) -> float | None:
    """Return C_llr in bits alone; None where :func:`detection` has none."""
    trials = count_trials(log_posteriors_un, true_u)
    return None if trials is None else trials.c_llr


def mean_loss(means_ll: npt.NDArray[np.float64]) -> float:
    """Return C_llr in bits from the mean losses of utterances of one language in trials of another (L, L)."""
    size = len(means_ll)
    targets = np.diagonal(means_ll)
    others = (means_ll.sum(axis=0) - targets) / (size - 1)
    return float((targets + others).mean() / (2 * np.log(2)))


def ratio_blocks(log_posteriors_un: LogPosteriors, columns: Columns) -> Iterator[tuple[slice, Floats]]:
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


def bin_edges(log_posteriors_un: LogPosteriors, true_u: Columns, present: Columns) -> tuple[Floats, bool]:
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


def average_costs(trials: Trials, prior: float = TARGET_PRIOR) -> Floats:
    """Return C_avg for each threshold (S + 1,): the mean over the target languages of their cost.

    The thresholds are at the lower end of each bin, from accepting all to accepting none. The cost of a
    language is prior * P(miss) + (1 - prior) * the mean over the other languages of P(false acceptance).
    """
    misses_s, alarms_s = rates(trials.target_shares_s, trials.other_shares_s)
    return prior * misses_s + (1 - prior) * alarms_s


def rates(targets_s: Floats, others_s: Floats) -> tuple[Floats, Floats]:
    """Return the proportions of misses and of false acceptances for each threshold (S + 1,)."""
    below, above = (np.concatenate(([0.0], np.cumsum(counts))) for counts in (targets_s, others_s))
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


def pairwise_eer(log_posteriors_un: LogPosteriors, true_u: Columns) -> float:
    """Return the mean over pairs of occurring languages of the EER of log p(first) - log p(second).

    Of the scores, only those of two groups of languages are copied at a time.
    """
    present, counts_l = np.unique(true_u, return_counts=True)
    order = np.argsort(true_u, kind="stable")
    rows_of = np.split(order, np.cumsum(counts_l)[:-1])
    group_l = np.cumsum(counts_l) * len(present) // GROUP

    def scores_of(group: int) -> dict[int, Floats]:
        """Return the scores of the utterances of each language of a group, for the occurring languages."""
        places = np.flatnonzero(group_l == group).tolist()
        return {one: log_posteriors_un[rows_of[one]][:, present] for one in places}

    found = []
    for first in np.unique(group_l):
        ones = scores_of(first)
        for second in np.unique(group_l[group_l <= first]):
            others = ones if second == first else scores_of(second)
            found += [
                two_class_eer(
                    of_one[:, one] - of_one[:, other],
                    of_other[:, one] - of_other[:, other],
                )
                for one, of_one in ones.items()
                for other, of_other in others.items()
                if other < one
            ]
    return float(np.mean(found))


def two_class_eer(targets: Floats, others: Floats) -> float:
    """Return the equal error rate of scores that should be high for targets and low for others.

    Scores in float32 are sorted as integers, whose last bit tells the targets: twice as fast.
    """
    keys = np.sort(np.concatenate((2 * _ordered(targets) + 1, 2 * _ordered(others))))
    ends = np.append(np.flatnonzero(np.diff(keys >> 1)), len(keys) - 1)  # equal ones go together
    below = np.cumsum(keys & 1)[ends]
    misses = np.concatenate(([0], below)) / len(targets)
    alarms = 1 - np.concatenate(([0], ends + 1 - below)) / len(others)
    return equal_error_rate(misses, alarms)


def _ordered(scores: Floats) -> Columns:
    """Return integers in the order of scores in float32, equal where these are."""
    bits = (scores.astype(np.float32) + np.float32(0.0)).view(np.int32).astype(np.int64)  # -0 becomes 0
    return np.asarray(bits ^ ((bits >> 63) & 0x7FFFFFFF))
