"""Draw a map of a set's embeddings."""

from __future__ import annotations

import logging
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import check_directories, input_files, read_answers
from lid_toolkit.files import write_whole
from lid_toolkit.steps import Step


def plot_tsne(
    data_dir: Path,
    inference_dir: Path,
    perplexity: float,
    max_iter: int,
    max_utt_per_lang: int,
    dry_run: bool = False,
) -> None:
    """Write ``tsne_plots/tsne.png``, ``tsne.html`` and ``tsne.csv`` unless current.

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
            from lid_toolkit.evaluation.map_pictures import map_csv, map_html, map_png

            answers = read_answers(data_dir, inference_dir)
            chart = map_embeddings(answers, embeddings, perplexity, max_iter, max_utt_per_lang)
            with write_whole(plots / "tsne.csv") as stream:
                stream.write(map_csv(answers, chart))
            with write_whole(plots / "tsne.html") as stream:
                stream.write(map_html(answers, chart))
            with write_whole(plots / "tsne.png", "wb") as stream:
                stream.write(map_png(answers, chart))
            work.finish(plots / name for name in ("tsne.csv", "tsne.html", "tsne.png"))
    logging.info("see %s", plots)
