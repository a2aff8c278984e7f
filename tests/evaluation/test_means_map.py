"""The map of the languages alone: its files, and when it is drawn again."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
from commands import call
from datadir.vectors import write_pairs
from evaluation.written_set import DOLLARS, WrittenSet
from matplotlib import image

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.embedding_map import project
from lid_toolkit.evaluation.means_map import OUTPUTS, plot_means


def write_means(inference_dir: Path, labels: list[str]) -> np.ndarray:
    means = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    base = inference_dir / "lang_embeddings"
    write_pairs(base.with_suffix(".ark"), base.with_suffix(".scp"), zip(labels, means, strict=True))
    return means


@pytest.mark.usefixtures("no_formulas")
def test_the_map_has_espnets_names_and_columns(tmp_path: Path):
    labels = sorted(["deu", "fra", "nld", "spa", "x<b>y", *DOLLARS])
    means = write_means(tmp_path, labels)
    plot_means(tmp_path, 2.0, 250)
    assert {path.name for path in (tmp_path / "tsne_plots").iterdir()} == {
        "tsne_plot_lang_to_avg_embd.png",
        "tsne_plot_lang_to_avg_embd.html",
        "tsne_results_lang_to_avg_embd.csv",
    }
    with open(tmp_path / "tsne_plots" / OUTPUTS[2], newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == labels
    places = [(float(row["x"]), float(row["y"])) for row in rows]
    assert np.allclose(places, project(means, 2.0, 250), atol=1e-4)
    assert image.imread(tmp_path / "tsne_plots" / OUTPUTS[0]).shape[:2] == (1651, 1560)
    page = (tmp_path / "tsne_plots" / OUTPUTS[1]).read_text()
    assert "German (deu)" in page
    assert "x<b>y" not in page


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_languages(tmp_path: Path, count: int):
    write_means(tmp_path, [f"l{number}" for number in range(count)])
    plot_means(tmp_path, 5.0, 250)
    assert len((tmp_path / "tsne_plots" / OUTPUTS[2]).read_text().splitlines()) == 1 + count


def test_it_is_drawn_when_it_is_asked_for(small_set: WrittenSet, caplog: pytest.LogCaptureFixture):
    write_means(small_set.inference_dir, ["deu", "nld"])
    words = [*small_set.arguments, "--perplexity", "2", "--max_iter", "250"]
    plots = small_set.inference_dir / "tsne_plots"
    assert call("plot_tsne", *words).returncode == 0
    assert not (plots / OUTPUTS[0]).exists()
    drawn = (plots / "tsne.png").stat().st_mtime_ns
    assert call("plot_tsne", *words, "--espnet_files", "true").returncode == 0
    assert (plots / OUTPUTS[0]).exists()
    assert (plots / "tsne.png").stat().st_mtime_ns == drawn
    caplog.set_level(logging.INFO)
    plot_means(small_set.inference_dir, 2.0, 250)
    assert "t-SNE of the languages of test_x: current, skipped" in caplog.text
    plot_means(small_set.inference_dir, 3.0, 250, dry_run=True)
    assert "to do (perplexity changed from 2.0 to 3.0)" in caplog.text


def test_without_embeddings(tmp_path: Path):
    with pytest.raises(LidError, match=r"lang_embeddings\.scp: does not exist \(set extract_embd to true"):
        plot_means(tmp_path, 5.0, 250)
