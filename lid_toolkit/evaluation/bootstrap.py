"""Confidence intervals by resampling, where utterances of a speaker or a recording err together.

A draw takes as many clusters as there are, each with equal probability, and all utterances of each. The
metric is computed for each of many draws. Where there are no clusters, utterances are drawn.

For means over languages, clusters are drawn within each language, because a draw of all clusters can leave
a language out. A language with n clusters is drawn n - 1 times, which makes the variance unbiased (J. N. K.
Rao and C. F. J. Wu, "Resampling inference with complex survey data", JASA 83, 1988, section 2.2). The
variance of a language with one cluster is not known, and counts as 0.

Shapes: u utterances, k cells (pairs of a true and an answered language that occur), c clusters, d draws,
l languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.stats import t

from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.intervals import Z_95, Estimate, wilson

DRAWS = 1000
DRAWS_AT_ONCE = 50
CLUSTERS_AT_ONCE = 1 << 21
"""Number of clusters that are drawn at a time, over all draws."""
SEED = 0

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From confusion counts (draws, languages, languages + 1) to values (draws,)."""


@dataclass(frozen=True)
class Confusions:
    """Confusion counts of many draws.

    Attributes:
        cells_k: (K,) number of each cell in a matrix (languages, languages + 1), row by row.
        counts_dk: (D, K) utterances in each cell.
        languages: number of languages.
        freedom: number of clusters that can vary, the degrees of freedom of a variance.
    """

    cells_k: Counts
    counts_dk: Floats
    languages: int
    freedom: int

    def values(self, statistic: Statistic) -> Floats:
        """Return a statistic of each draw (D,)."""
        values = []
        for first in range(0, len(self.counts_dk), DRAWS_AT_ONCE):
            block = self.counts_dk[first : first + DRAWS_AT_ONCE]
            whole = np.zeros((len(block), self.languages * (self.languages + 1)))
            whole[:, self.cells_k] = block
            values.append(statistic(whole.reshape(len(block), self.languages, self.languages + 1)))
        return np.concatenate(values)

    def interval(self, statistic: Statistic, value: float) -> Estimate:
        """Return the 95 % interval of a statistic in [0, 1] with this value over all utterances.

        See :func:`effective_interval`.
        """
        return effective_interval(self.values(statistic), value, self.freedom)


def resampled(
    true_u: Counts, column_u: Counts, languages: int, clusters: Clusters | None, by_language: bool
) -> Confusions:
    """Return the confusion counts of ``DRAWS`` draws. They are the same in each run.

    Args:
        true_u: index of the true language.
        column_u: index of the answer; ``languages`` where there is none.
        languages: number of languages.
        clusters: utterances that are drawn together; None: each is drawn alone.
        by_language: draw within each language.
    """
    cells_k, cell_u = np.unique(true_u * (languages + 1) + column_u, return_inverse=True)
    rng = np.random.default_rng(SEED)
    language_k = cells_k // (languages + 1)
    if clusters is None:
        counts_k = np.bincount(cell_u, minlength=len(cells_k))
        counts_dk = drawn_utterances(rng, counts_k, language_k if by_language else np.zeros_like(language_k))
        strata = len(np.unique(language_k)) if by_language else 1
        return Confusions(cells_k, counts_dk, languages, int(counts_k.sum()) - strata)
    units_u = clusters.of_u * languages + (true_u if by_language else 0)
    units, unit_u = np.unique(units_u, return_inverse=True)
    stratum = units % languages
    counts_ck = sparse.csr_matrix(
        (np.ones(len(unit_u)), (unit_u, cell_u)), shape=(len(units), len(cells_k))
    )  # equal places are summed
    blocks = [weights_dc @ counts_ck for weights_dc in drawn_units(rng, stratum)]
    strata = len(np.unique(stratum))
    return Confusions(cells_k, np.concatenate(blocks), languages, len(units) - strata)


def drawn_utterances(rng: np.random.Generator, counts_k: Counts, stratum_k: Counts) -> Floats:
    """Return counts (D, K) of draws of single utterances, as many in each stratum as there are."""
    counts_dk = np.zeros((DRAWS, len(counts_k)))
    for stratum in np.unique(stratum_k).tolist():
        here = stratum_k == stratum
        total = int(counts_k[here].sum())
        counts_dk[:, here] = rng.multinomial(total, counts_k[here] / total, size=DRAWS)
    return counts_dk


def drawn_units(rng: np.random.Generator, stratum_c: Counts) -> Iterator[Floats]:
    """Yield (draws, C): how often each cluster is drawn in its stratum, scaled to the stratum's size.

    With n > 1 clusters in a stratum, n - 1 are drawn, and count n / (n - 1) times.
    """
    order = np.argsort(stratum_c, kind="stable")
    _, firsts, sizes = np.unique(stratum_c[order], return_index=True, return_counts=True)
    taken = np.maximum(sizes - 1, 1)
    first_t, size_t = np.repeat(firsts, taken), np.repeat(sizes, taken)
    scale_c = np.repeat(sizes / taken, sizes)
    count = len(stratum_c)
    at_once = max(1, min(DRAWS_AT_ONCE, CLUSTERS_AT_ONCE // count))
    for begin in range(0, DRAWS, at_once):
        draws = min(at_once, DRAWS - begin)
        chosen_dt = first_t + (rng.random((draws, len(first_t))) * size_t).astype(np.int64)
        places = chosen_dt + count * np.arange(draws)[:, None]
        weights_dc = np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count) * scale_c
        unsorted = np.empty_like(weights_dc)
        unsorted[:, order] = weights_dc
        yield unsorted


def drawn_means(values_u: Floats, clusters: Clusters) -> Floats:
    """Return the mean of values (U,) in each draw of clusters (D,), and weigh each cluster by its size."""
    return drawn_ratios(values_u, np.ones_like(values_u), clusters)


def drawn_ratios(upper_u: Floats, lower_u: Floats, clusters: Clusters) -> Floats:
    """Return the sum of some values (U,) divided by that of others (U,), in each draw of clusters (D,).

    The draws are the same in each call, so ratios of two systems are paired. A draw in which the divisor is 0
    gives no finite number.
    """
    upper_c, lower_c = (
        np.bincount(clusters.of_u, values_u, clusters.count) for values_u in (upper_u, lower_u)
    )
    blocks = drawn_units(np.random.default_rng(SEED), np.zeros(clusters.count, np.int64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([(weights_dc @ upper_c) / (weights_dc @ lower_c) for weights_dc in blocks])


def effective_interval(drawn_d: Floats, value: float, freedom: int) -> Estimate:
    """Return Wilson's interval of a proportion for the effective number of utterances.

    That is the number of independent utterances whose proportion would have the variance of the draws,
    value (1 - value) / variance. Student's t is in place of the normal quantile, because a variance from few
    clusters is itself uncertain. Where the draws do not vary, the interval has no width.

    Source: C. Franco, R. Little, T. Louis and E. Slud, "Comparative study of confidence intervals for
    proportions in complex sample surveys", Journal of Survey Statistics and Methodology 7, 2019, section 2.
    Percentiles of the draws are too narrow, because a proportion near 1 is skewed.

    Args:
        drawn_d: the proportion, or a mean of proportions, in each draw (D,).
        value: over all utterances, 0 to 1.
        freedom: number of clusters that can vary.
    """
    variance = float(np.var(drawn_d[np.isfinite(drawn_d)], ddof=1))
    if variance == 0 or not 0 < value < 1:
        return Estimate(value, value, value)
    utterances = value * (1 - value) / variance
    return wilson(value * utterances, utterances, float(t.ppf(0.975, max(freedom, 1))))


def percentile_interval(drawn_d: Floats, value: float, freedom: int) -> tuple[float, float]:
    """Return the 2.5 and 97.5 % percentiles of draws, widened around the value.

    Their distances from the value are multiplied by the ratio of Student's t and the normal quantile, because
    a variance from few clusters is itself uncertain.
    """
    low, high = np.percentile(drawn_d[np.isfinite(drawn_d)], (2.5, 97.5)).tolist()
    factor = float(t.ppf(0.975, max(freedom, 1))) / Z_95
    return min(value, value - factor * (value - low)), max(value, value + factor * (high - value))


def design_effect(accuracies_d: Floats, accuracy: float, utterances: int) -> float:
    """Return the variance of the accuracy over draws, divided by that of as many single utterances.

    Source: L. Kish, Survey Sampling, 1965, section 8.2. It is 1 where all answers are right, or all wrong.
    """
    alone = accuracy * (1 - accuracy) / utterances
    return float(accuracies_d.var(ddof=1) / alone) if alone else 1.0


def accuracies(counts_dlm: Floats) -> Floats:
    """Return the proportion of correct answers in each draw (D,)."""
    right = np.einsum("dll->d", counts_dlm[:, :, :-1])
    return np.asarray(right / counts_dlm.sum(axis=(1, 2)))


def macro_recalls(counts_dlm: Floats) -> Floats:
    """Return the mean over the languages of the truth of the recall in each draw (D,)."""
    totals_dl = counts_dlm.sum(axis=2)
    right_dl = np.einsum("dll->dl", counts_dlm[:, :, :-1])
    return _mean(right_dl, totals_dl, totals_dl > 0)


def macro_f1s(counts_dlm: Floats) -> Floats:
    """Return the mean over the languages of the truth of F1 in each draw (D,)."""
    totals_dl, named_dl = counts_dlm.sum(axis=2), counts_dlm[:, :, :-1].sum(axis=1)
    right_dl = np.einsum("dll->dl", counts_dlm[:, :, :-1])
    return _mean(2 * right_dl, totals_dl + named_dl, totals_dl > 0)


def macro_precisions(counts_dlm: Floats) -> Floats:
    """Return the mean of the precision in each draw (D,), over the languages of the truth that are named."""
    totals_dl, named_dl = counts_dlm.sum(axis=2), counts_dlm[:, :, :-1].sum(axis=1)
    right_dl = np.einsum("dll->dl", counts_dlm[:, :, :-1])
    return _mean(right_dl, named_dl, (totals_dl > 0) & (named_dl > 0))


def _mean(over_dl: Floats, under_dl: Floats, counted_dl: npt.NDArray[np.bool_]) -> Floats:
    """Return the mean over languages of a ratio, where it counts."""
    ratios_dl = np.divide(over_dl, under_dl, out=np.zeros_like(over_dl), where=counted_dl)
    return np.asarray(ratios_dl.sum(axis=1) / np.maximum(counted_dl.sum(axis=1), 1))
