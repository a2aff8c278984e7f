"""Draw a map of a set's embeddings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import Answers, check_directories, input_files, read_answers
from lid_toolkit.evaluation.report import RESULTS, read_means, write_report
from lid_toolkit.evaluation.style import FORMS, saved
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step

if TYPE_CHECKING:
    from lid_toolkit.evaluation.embedding_map import EmbeddingMap


def plot_tsne(
    data_dir: Path,
    inference_dir: Path,
    perplexity: float,
    max_iter: int,
    max_utt_per_lang: int,
    dry_run: bool = False,
) -> None:
    """Write ``tsne_plots/tsne.png``, ``.svg``, ``.html`` and ``.csv`` unless current.

    Also a tree of the languages' mean embeddings, ``languages.png`` and ``.svg``, and the report again, which
    has the map, if the set has been scored.

    Args:
        data_dir: the truth, ``dump/raw/SET``.
        inference_dir: answers and embeddings, ``.../MODEL/SET``; the outputs go there too.
        perplexity: as in :func:`lid_toolkit.evaluation.embedding_map.map_embeddings`.
        max_iter: iterations of t-SNE, at least 250 (scikit-learn's minimum).
        max_utt_per_lang: maximum number of utterances drawn for each language.
        dry_run: only log whether there is work to do.

    Raises:
        LidError: there are no embeddings; and see ``map_embeddings`` and ``read_answers``.
    """
    inference_dir = inference_dir.resolve()
    embeddings = inference_dir / "embeddings.scp"
    step = Step(
        name=f"t-SNE {inference_dir.name}",
        record=inference_dir / ".done" / "tsne.json",
        inputs={
            **input_files(data_dir, inference_dir),
            "embeddings.scp": embeddings,
            "embeddings.ark": inference_dir / "embeddings.ark",
        },
        options={
            "perplexity": perplexity,
            "max_iter": max_iter,
            "max_utt_per_lang_for_tsne": max_utt_per_lang,
        },
        version=2,
    )
    if dry_run:
        step.due(dry_run=True)
        return
    check_directories(data_dir, inference_dir)
    plots = inference_dir / "tsne_plots"
    with step.work("drawing embeddings", lock=inference_dir) as work:
        if work is not None:
            if not embeddings.exists():
                mend = "set extract_embd to true when you identify the set"
                raise LidError("does not exist", where=embeddings, mend=mend)
            from lid_toolkit.evaluation.embedding_map import map_embeddings  # late: scikit-learn is slow

            answers = read_answers(data_dir, inference_dir)
            chart = map_embeddings(answers, embeddings, perplexity, max_iter, max_utt_per_lang)
            work.finish(_write(answers, chart, inference_dir))
    if (inference_dir / RESULTS).exists():
        write_report(inference_dir)
    logging.info("see %s", plots)


def _write(answers: Answers, chart: EmbeddingMap, inference_dir: Path) -> list[Path]:
    """Write the map and the tree of the languages; return the files."""
    from lid_toolkit.evaluation.map_page import MAP_NOTE, map_data, map_html, read_points
    from lid_toolkit.evaluation.map_pictures import map_csv, map_figure, map_title
    from lid_toolkit.evaluation.similarity_picture import FEWEST, similarity_picture

    plots = inference_dir / "tsne_plots"
    with write_whole(plots / "tsne.csv") as stream:
        stream.write(map_csv(answers, chart))
    with write_whole(plots / "tsne.html") as stream:
        points = map_data(read_points(plots / "tsne.csv"))
        stream.write(map_html(map_title(answers, chart), points, MAP_NOTE))
    figures = {"tsne": map_figure(answers, chart)}
    means = read_means(inference_dir)
    if means is not None and len(means[0]) >= FEWEST:
        figures["languages"] = similarity_picture(*means).figure
    pictures = {
        plots / f"{name}.{form}": (figure, form) for name, figure in figures.items() for form in FORMS
    }
    for path, (figure, form) in pictures.items():
        with write_whole(path, "wb") as stream:
            stream.write(saved(figure, form))
    return [plots / "tsne.csv", plots / "tsne.html", *pictures]
