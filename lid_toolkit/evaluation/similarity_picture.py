"""Draw which languages sound alike to a model: a tree of their mean embeddings.

Shapes: l languages, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import dendrogram, linkage

from lid_toolkit.evaluation.style import INK, RIGHT, new_figure, plain_axes, short_name
from lid_toolkit.evaluation.svg import Picture, Spot

FEWEST = 3
ROW_INCH, TREE_INCH = 0.19, 4.2


def similarity_picture(labels: Sequence[str], means_ld: npt.NDArray[np.float32]) -> Picture:
    """Draw the tree of average linkage of the cosine distances of at least ``FEWEST`` mean embeddings.

    Languages that are joined at a small distance, near their names, have similar embeddings. Neighbours are
    as similar as the tree allows (Bar-Joseph, Gifford and Jaakkola 2001).
    """
    joined = linkage(means_ld.astype(np.float64), "average", metric="cosine", optimal_ordering=True)
    joined[:, 2] = np.maximum(joined[:, 2], 0)  # rounding
    tree = dendrogram(joined, no_plot=True)
    names = [short_name(labels[leaf]) for leaf in tree["leaves"]]
    left = 0.25 + 0.55 * 8.5 / 72 * max(map(len, names))
    width, height = left + TREE_INCH + 0.2, ROW_INCH * len(names) + 0.75
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, 0.55 / height, TREE_INCH / width, ROW_INCH * len(names) / height))
    spots = []
    # The places of leaves are 5, 15, 25, …
    for rows, distances in zip(tree["icoord"], tree["dcoord"], strict=True):
        axes.plot(distances, np.array(rows) / 10 - 0.5, color=RIGHT, linewidth=1.3)
        middle = (rows[1] + rows[2]) / 20 - 0.5
        spots.append(
            Spot(axes, (distances[1],) * 2, (middle,) * 2, f"joined at cosine distance {distances[1]:.3f}")
        )
    plain_axes(axes, grid="x")
    axes.set(xlim=(0, 1.03 * joined[-1, 2] or 1), ylim=(len(names) - 0.5, -0.5), xlabel="cosine distance")
    axes.set_yticks(range(len(names)), names, color=INK, parse_math=False)
    return Picture(figure, "Languages by the similarity of their mean embeddings", spots)
