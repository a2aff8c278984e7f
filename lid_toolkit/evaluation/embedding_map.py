"""t-SNE of utterance embeddings: choose the utterances to draw and compute their positions."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import Answers

FEWEST = 4
PCA_DIMENSIONS = 50
SEED = 0

Matrix = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EmbeddingMap:
    """Positions of utterances and language means in the plane.

    Attributes:
        rows: (utterances,) rows in ``utt2lang`` of the set, ascending.
        places: (utterances, 2) positions of the utterances.
        languages: (languages,) indices of the languages drawn.
        means: (languages, 2) positions of the mean embeddings of the languages.
        perplexity: the perplexity that was used.
    """

    rows: Indices
    places: npt.NDArray[np.float64]
    languages: Indices
    means: npt.NDArray[np.float64]
    perplexity: float


def map_embeddings(
    answers: Answers, path: Path, perplexity: float, max_iter: int, at_most: int
) -> EmbeddingMap:
    """Map the utterances and the mean embeddings of their languages together.

    Args:
        answers: true languages and answers of the set.
        path: ``embeddings.scp``.
        perplexity: approximate number of neighbours of an utterance. It is lowered, with a warning, if
            there are fewer than three times as many points.
        max_iter: iterations of t-SNE, at least 250 (scikit-learn's minimum).
        at_most: maximum number of utterances drawn for each language; the choice depends only on their ids.

    Raises:
        LidError: there are fewer than 4 utterances, or an embedding belongs to an unknown utterance.
    """
    keys, vectors = read_vectors(path)
    rows = answers.truth.rows(keys)
    _check(keys, rows, path)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    true = answers.true[rows]
    languages = np.unique(true)
    means = np.stack([units[true == language].mean(axis=0) for language in languages])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    drawn = chosen_rows(keys, true, at_most)
    points = np.concatenate([units[drawn], means])
    used = usable_perplexity(perplexity, len(points))
    places = project(points, used, max_iter)
    return EmbeddingMap(rows[drawn], places[: len(drawn)], languages, places[len(drawn) :], used)


def chosen_rows(keys: tuple[str, ...], languages: Indices, at_most: int) -> Indices:
    """Return the rows of at most ``at_most`` utterances of each language, ascending.

    The utterances with the smallest BLAKE2 digests of their ids are chosen. This is as good as a random
    choice, is the same on every run, and changes little if utterances are added or removed.
    """
    digests = np.array([hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys], "S8")
    order = np.lexsort((digests, languages))
    starts = np.searchsorted(languages[order], languages[order])
    return np.sort(order[np.arange(len(order)) - starts < at_most])


def usable_perplexity(perplexity: float, points: int) -> float:
    """Return ``perplexity``, or a third of the number of neighbours, with a warning, if that is lower."""
    most = (points - 1) / 3
    if perplexity <= most:
        return perplexity
    logging.warning("perplexity %g is too high for %d points; %.3g is used instead", perplexity, points, most)
    return most


def project(units: Matrix, perplexity: float, max_iter: int) -> npt.NDArray[np.float64]:
    """Return the (N, 2) t-SNE positions of (N, D) unit vectors, the same on every run.

    For unit vectors the squared Euclidean distance is twice the cosine distance. Reducing the vectors to 50
    dimensions by PCA (van der Maaten and Hinton 2008, section 4.2) speeds up the search for neighbours.
    Starting from the PCA preserves the global structure (Kobak and Berens 2019).
    """
    if np.ptp(units, axis=0).max() == 0:
        return np.zeros((len(units), 2))
    dimensions = min(PCA_DIMENSIONS, *units.shape)
    reduced = PCA(dimensions, svd_solver="full").fit_transform(units.astype(np.float64))
    tsne = TSNE(
        perplexity=perplexity,
        max_iter=max_iter,
        init="pca" if dimensions > 1 else "random",
        random_state=SEED,
    )
    started = time.monotonic()
    places = np.asarray(tsne.fit_transform(reduced), np.float64)
    seconds = time.monotonic() - started
    logging.info("t-SNE of %d points: %d iterations in %.1f s", len(units), tsne.n_iter_ + 1, seconds)
    return places


def _check(keys: tuple[str, ...], rows: Indices, path: Path) -> None:
    if len(unknown := np.flatnonzero(rows < 0)):
        raise LidError(
            f"utterance '{keys[unknown[0]]}' is not in utt2lang",
            where=path,
            mend="use the set that was identified",
        )
    if len(keys) < FEWEST:
        raise LidError(
            f"{len(keys)} utterances are too few for a map",
            where=path,
            mend=f"use a set of at least {FEWEST}",
        )
