#!/usr/bin/env python3
"""Time and quality of stage 8's t-SNE (scikit-learn) beside openTSNE's; prints a table, writes JSON.

    pip install openTSNE && benchmarks/tsne.py --points 2000 5000 20000

Both get the same synthetic embeddings, reduce them to 50 dimensions and do as many iterations. Seconds are
CPU time. Two measures of quality are computed from the positions, in the same way for both:

- divergence: what t-SNE minimises, from the distances of all pairs of points (lower is better);
- neighbours: the proportion of a point's 10 nearest points on the map that are among its 10 nearest
  embeddings (higher is better).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from openTSNE import TSNE
from openTSNE.affinity import PerplexityBasedNN
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.evaluation.embedding_map import PCA_DIMENSIONS, SEED, project
from lid_toolkit.files import write_whole

Units = npt.NDArray[np.float32]
Places = npt.NDArray[np.float64]

EXAGGERATED = 250
LANGUAGES, DIMENSIONS, NEIGHBOURS, BLOCK = 107, 192, 10, 500
DIRECTIONS = 32
"""Directions in which the utterances of a language differ most."""


def main(arguments: Sequence[str]) -> None:
    """Measure both libraries in turn, for each number of points."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--points", type=positive_int, nargs="+", default=[2000, 5000, 20000], help="sizes")
    parser.add_argument(
        "--library", choices=list(METHODS), nargs="+", default=list(METHODS), help="libraries"
    )
    parser.add_argument("--perplexity", type=float, default=5.0, help="number of neighbours that count")
    parser.add_argument("--max_iter", type=positive_int, default=1000, help="iterations, at least 250")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/tsne.json"), help="output file")
    options = parser.parse_args(arguments)
    rows = []
    print(f"{'points':>7s} {'library':12s} {'CPU s':>8s} {'divergence':>11s} {'neighbours':>11s}")
    for count in options.points:
        units = embeddings(count)
        for name in options.library:
            row = measure(METHODS[name], units, options.perplexity, options.max_iter)
            rows.append({"points": count, "library": name, **row})
            seconds, divergence, kept = row.values()
            print(f"{count:7d} {name:12s} {seconds:8.1f} {divergence:11.3f} {kept:11.3f}", flush=True)
    with write_whole(options.json) as stream:
        json.dump(rows, stream, indent=1)


def embeddings(count: int) -> Units:
    """Return (count, 192) unit vectors around the means of 107 languages."""
    random = np.random.default_rng(SEED)
    means = random.normal(size=(LANGUAGES, DIMENSIONS))
    directions = random.normal(size=(DIRECTIONS, DIMENSIONS))
    along = 0.1 * random.normal(size=(count, DIRECTIONS)) @ directions
    points = means[np.arange(count) % LANGUAGES] + along + 0.2 * random.normal(size=(count, DIMENSIONS))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def reduced(units: Units) -> Places:
    return np.asarray(PCA(PCA_DIMENSIONS, svd_solver="full").fit_transform(units.astype(np.float64)))


def with_opentsne(units: Units, perplexity: float, max_iter: int) -> Places:
    """Return the positions (N, 2) that openTSNE finds; its own choices, but exact neighbours."""
    tsne = TSNE(
        perplexity=perplexity,
        early_exaggeration_iter=EXAGGERATED,
        n_iter=max_iter - EXAGGERATED,
        neighbors="exact",
        random_state=SEED,
    )
    return np.asarray(tsne.fit(reduced(units)), np.float64)


def measure(
    method: Callable[[Units, float, int], Places], units: Units, perplexity: float, max_iter: int
) -> dict[str, float]:
    """Return the CPU seconds of a method, the divergence of its map and the neighbours kept."""
    started = time.process_time()
    places = method(units, perplexity, max_iter)
    seconds = time.process_time() - started
    points = reduced(units)
    return {
        "cpu_s": seconds,
        "divergence": divergence(points, places, perplexity),
        "neighbours": kept_neighbours(points, places),
    }


def divergence(points: Places, places: Places, perplexity: float) -> float:
    """Return the Kullback-Leibler divergence of a map, in nats (van der Maaten and Hinton 2008)."""
    wanted = sparse.coo_array(PerplexityBasedNN(points, perplexity, method="exact").P)
    near = 1 / (1 + np.sum((places[wanted.row] - places[wanted.col]) ** 2, axis=1))
    total = -float(len(places))  # the sum below has every point beside itself, too
    squares = np.sum(places**2, axis=1)
    for start in range(0, len(places), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = squares[rows, None] + squares - 2 * places[rows] @ places.T
        total += float(np.sum(1 / (1 + np.maximum(distances, 0))))
    return float(np.sum(wanted.data * np.log(wanted.data * total / near)))


def kept_neighbours(points: Places, places: Places) -> float:
    """Return the proportion of the nearest points on the map that are nearest embeddings too."""
    on_map, wanted = (
        NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors(return_distance=False)
        for x in (places, points)
    )
    kept = [len(np.intersect1d(one, other)) for one, other in zip(on_map, wanted, strict=True)]
    return float(np.mean(kept) / NEIGHBOURS)


METHODS = {"scikit-learn": project, "openTSNE": with_opentsne}


if __name__ == "__main__":
    run(main)
