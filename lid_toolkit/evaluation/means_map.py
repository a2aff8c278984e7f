"""A map of the mean embeddings of the languages alone, in files with the names of ESPnet's recipe.

Shapes: l languages.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lid_toolkit import languages
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.embedding_map import project, usable_perplexity
from lid_toolkit.evaluation.map_layout import distinct_styles
from lid_toolkit.evaluation.map_page import map_html, means_data
from lid_toolkit.evaluation.map_pictures import map_axes, write_names
from lid_toolkit.evaluation.style import MARKERS, saved, shortened
from lid_toolkit.evaluation.wording import plural
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step

OUTPUTS = (
    "tsne_plot_lang_to_avg_embd.png",
    "tsne_plot_lang_to_avg_embd.html",
    "tsne_results_lang_to_avg_embd.csv",
)

Places = npt.NDArray[np.float64]


def plot_means(inference_dir: Path, perplexity: float, max_iter: int, dry_run: bool = False) -> None:
    """Write the map of the mean embeddings to ``tsne_plots``, see ``OUTPUTS``, unless current.

    Args:
        inference_dir: the embeddings, ``.../MODEL/SET``; the outputs go there too.
        perplexity: as in :func:`lid_toolkit.evaluation.embedding_map.map_embeddings`.
        max_iter: iterations of t-SNE, at least 250.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: there are no embeddings.
    """
    inference_dir = inference_dir.resolve()
    means = inference_dir / "lang_embeddings.scp"
    step = Step(
        f"t-SNE of the languages of {inference_dir.name}",
        inference_dir / ".done" / "tsne_means.json",
        {"lang_embeddings.scp": means, "lang_embeddings.ark": means.with_suffix(".ark")},
        {"perplexity": perplexity, "max_iter": max_iter},
    )
    if dry_run:
        step.due(dry_run=True)
        return
    plots = inference_dir / "tsne_plots"
    with step.work("drawing mean embeddings", lock=inference_dir) as work:
        if work is None:
            return
        if not means.exists():
            mend = "set extract_embd to true when you identify the set"
            raise LidError("does not exist", where=means, mend=mend)
        labels, vectors = read_vectors(means)
        used = usable_perplexity(perplexity, len(labels)) if len(labels) > 1 else 0.0
        places_l = project(vectors, used, max_iter)
        title = f"{inference_dir.name}: {plural(len(labels), 'language')}, t-SNE of mean embeddings"
        with write_whole(plots / OUTPUTS[0], "wb") as stream:
            stream.write(saved(means_figure(labels, places_l, title), "png", dpi=130))
        with write_whole(plots / OUTPUTS[1]) as stream:
            stream.write(map_html(title, means_data(labels, places_l), "The mean of each language."))
        with write_whole(plots / OUTPUTS[2]) as stream:
            stream.write(means_csv(labels, places_l))
        work.finish(plots / name for name in OUTPUTS)
    logging.info("see %s", plots / OUTPUTS[0])


def means_figure(labels: Sequence[str], places_l: Places, title: str) -> Figure:
    """Draw the map, with a point and a name for each language."""
    figure, axes = map_axes(places_l, title, 12)
    for (x, y), (colour, marker) in zip(places_l, distinct_styles(places_l), strict=True):
        axes.scatter(x, y, s=36, c=colour, marker=MARKERS[marker], linewidths=0)
    names = [shortened(languages.name(label)) for label in labels]
    write_names(axes, names, places_l, places_l, np.arange(len(labels)), letters=9)
    return figure


def means_csv(labels: Sequence[str], places_l: Places) -> str:
    """Return a CSV table with the columns ``x,y,label``, sorted by label."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("x", "y", "label"))
    rows = zip(places_l.tolist(), labels, strict=True)
    writer.writerows((f"{x:.5f}", f"{y:.5f}", label) for (x, y), label in rows)
    return text.getvalue()
