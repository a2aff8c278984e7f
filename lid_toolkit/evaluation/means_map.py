"""A map of the mean embeddings of the languages alone, in files with the names of ESPnet's recipe.

Shapes: l languages.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lid_toolkit import languages
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.embedding_map import project, usable_perplexity
from lid_toolkit.evaluation.map_layout import distinct_styles
from lid_toolkit.evaluation.map_pictures import write_names
from lid_toolkit.evaluation.pages import render
from lid_toolkit.evaluation.style import INK, MARKERS, PLOTLY_MARKERS, display_name
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
            stream.write(means_png(labels, places_l, title))
        with write_whole(plots / OUTPUTS[1]) as stream:
            stream.write(means_html(labels, places_l, title))
        with write_whole(plots / OUTPUTS[2]) as stream:
            stream.write(means_csv(labels, places_l))
        work.finish(plots / name for name in OUTPUTS)
    logging.info("see %s", plots / OUTPUTS[0])


def means_png(labels: Sequence[str], places_l: Places, title: str) -> bytes:
    """Return the map as a PNG picture, with a point and a name for each language."""
    figure = Figure(figsize=(12, 12), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (x, y), (colour, marker) in zip(places_l, distinct_styles(places_l), strict=True):
        axes.scatter(x, y, s=36, c=colour, marker=MARKERS[marker], linewidths=0)
    axes.set_title(title, fontsize=13, color=INK, loc="left", parse_math=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.06)
    axes.set_aspect("equal", adjustable="datalim")
    figure.draw_without_rendering()
    write_names(axes, [languages.name(label) for label in labels], places_l, letters=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    return picture.getvalue()


def means_html(labels: Sequence[str], places_l: Places, title: str) -> str:
    """Return the map as an interactive page."""
    styles = distinct_styles(places_l)
    names = [escape(display_name(label)) for label in labels]
    figure = go.Figure(
        go.Scatter(
            x=places_l[:, 0],
            y=places_l[:, 1],
            mode="markers+text",
            text=names,
            textposition="top center",
            hoverinfo="text",
            marker={
                "color": [colour for colour, _ in styles],
                "symbol": [PLOTLY_MARKERS[marker] for _, marker in styles],
                "size": 9,
            },
        )
    )
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False}
    figure.update_layout(
        title=escape(title), template="plotly_white", xaxis=axis, yaxis={**axis, "scaleanchor": "x"}
    )
    body = figure.to_html(full_html=False, include_plotlyjs=True, default_height="96vh", div_id="map")
    return render("map.html.j2", title=title, figure=Markup(body))


def means_csv(labels: Sequence[str], places_l: Places) -> str:
    """Return a CSV table with the columns ``x,y,label``, sorted by label."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("x", "y", "label"))
    rows = zip(places_l.tolist(), labels, strict=True)
    writer.writerows((f"{x:.5f}", f"{y:.5f}", label) for (x, y), label in rows)
    return text.getvalue()
