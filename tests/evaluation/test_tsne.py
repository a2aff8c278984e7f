"""Stage 8: which utterances are drawn, that the map is stable and keeps neighbours, and its files."""

from __future__ import annotations

import csv
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.written_set import DOLLARS, WrittenSet, write_set
from hypothesis import given, settings
from hypothesis import strategies as st

from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.embedding_map import chosen_rows, project, usable_perplexity
from lid_toolkit.evaluation.map_layout import Hidden, distinct_styles, name_places, separated
from lid_toolkit.evaluation.map_page import Point, read_points, thinned
from lid_toolkit.evaluation.tsne import plot_tsne


def draw(made: WrittenSet, at_most: int = 1000, dry_run: bool = False) -> Path:
    plot_tsne(made.data_dir, made.inference_dir, 3.0, 250, at_most, dry_run)
    return made.inference_dir / "tsne_plots"


def unit_blobs(count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(count), each)
    points = np.eye(count, 16)[groups] + 0.05 * random.normal(size=(count * each, 16))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), groups


def test_projection_is_deterministic_and_keeps_groups_together():
    points, groups = unit_blobs(4, 25)
    places = project(points, 5, 500)
    assert np.array_equal(places, project(points, 5, 500))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert np.mean(groups[np.argmin(distance, axis=1)] == groups) > 0.98


def test_projection_logs_iterations_and_time(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    project(unit_blobs(3, 10)[0], 3, 300)
    assert capsys.readouterr() == ("", "")
    assert re.search(r"t-SNE of 30 points: 300 iterations in \d+\.\d s", caplog.text)


def test_equal_embeddings_make_a_map():
    assert project(np.ones((6, 4), np.float32), 1, 250).tolist() == np.zeros((6, 2)).tolist()


def test_choice_is_capped_by_language_and_stable_when_others_leave():
    keys = tuple(f"u{number:03d}" for number in range(100))
    languages = np.arange(100) % 3
    chosen = chosen_rows(keys, languages, 10)
    assert np.bincount(languages[chosen]).tolist() == [10, 10, 10]
    assert (np.diff(chosen) > 0).all()
    kept = np.sort(np.concatenate([chosen, [row for row in range(100) if row not in chosen][:5]]))
    again = chosen_rows(tuple(keys[row] for row in kept), languages[kept], 10)
    assert np.array_equal(kept[again], chosen)
    assert len(chosen_rows(keys, languages, 1000)) == 100


def test_perplexity_is_lowered_with_a_warning(caplog: pytest.LogCaptureFixture):
    assert usable_perplexity(5, 100) == 5
    assert not caplog.text
    assert usable_perplexity(50, 100) == 33
    assert "perplexity 50 is too high for 100 points; 33 is used instead" in caplog.text


def test_writes_all_files_and_skips_when_current(small_set: WrittenSet, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    plots = draw(small_set)
    before = {path.name: path.read_bytes() for path in plots.iterdir()}
    assert set(before) == {"tsne.png", "tsne.svg", "tsne.html", "tsne.csv"}
    rows = list(csv.DictReader((plots / "tsne.csv").open()))
    assert len(rows) == 15
    assert (rows[0]["utt"], rows[0]["lang"], rows[0]["predicted"]) == ("d00", "deu", "nld")
    assert np.isfinite([[float(row["x"]), float(row["y"])] for row in rows]).all()
    assert b'"Dutch (nld)"' in before["tsne.html"]
    draw(small_set)
    assert "t-SNE test_x: current, skipped" in caplog.text
    (plots / "tsne.png").unlink()
    assert {path.name: path.read_bytes() for path in draw(small_set).iterdir()} == before


@pytest.mark.usefixtures("no_formulas")
def test_labels_with_dollars_are_no_formulas(tmp_path: Path):
    truth = {f"{label}{number}": label for label in DOLLARS for number in range(3)}
    plots = draw(write_set(tmp_path, truth, truth, DOLLARS, {}, name="$test$"))
    assert (plots / "tsne.png").stat().st_size


def test_no_name_is_read_as_html(tmp_path: Path):
    labels = ["<zz>deu", "<zz>fra"]
    truth = {f"<zz>{label}{number}": label for label in labels for number in range(4)}
    answers = dict.fromkeys(truth, labels[0])
    page = (draw(write_set(tmp_path, truth, answers, labels, {}, name="<zz>test")) / "tsne.html").read_text()
    assert "<zz>" not in page
    assert "&lt;zz&gt;test" in page
    data = page_data(page)
    assert data["names"][0] == "<zz><zz>deu0"
    assert [language["name"] for language in data["languages"]] == labels
    assert data["answers"] == labels[:1]


def page_data(page: str) -> Any:
    """Return the data of the map of a page."""
    return json.loads(page.split('<script type="application/json">')[1].split("</script>")[0])


def test_draws_at_most_as_many_as_asked(small_set: WrittenSet):
    rows = list(csv.DictReader((draw(small_set, at_most=3) / "tsne.csv").open()))
    assert [row["lang"] for row in rows] == ["deu"] * 3 + ["nld"] * 3


def test_the_page_has_all_points_with_their_answers(small_set: WrittenSet):
    data = page_data((draw(small_set) / "tsne.html").read_text())
    assert [(one["name"], one["count"]) for one in data["languages"]] == [
        ("Dutch (nld)", 5),
        ("German (deu)", 10),
    ]
    assert len({(one["colours"][0], one["marker"]) for one in data["languages"]}) == 2
    assert data["names"][:2] == ["d00", "d01"]
    answers = [data["answers"][number] for number in data["answer"]]
    assert answers[:3] == ["Dutch (nld)", "French (fra)", "German (deu)"]
    assert data["wrong"] == [1, 1] + 8 * [0] + [1] + 4 * [0]


def test_many_points_are_thinned_within_each_language():
    points = [Point(f"u{n:03d}", "ab"[n % 10 == 0], "a", n, 0.0) for n in range(100)]
    assert thinned(points, 100) == points
    few = thinned(points, 30)
    assert [sum(point.language == label for point in few) for label in "ab"] == [15, 10]


def test_a_table_that_is_no_map_is_one_line(tmp_path: Path):
    for text in (
        "",
        "a,b\n",
        "utt,lang,predicted,x,y\nu,deu,deu,1\n",
        "utt,lang,predicted,x,y\nu,deu,deu,1,x\n",
    ):
        (tmp_path / "tsne.csv").write_text(text)
        with pytest.raises(LidError, match=r"tsne\.csv: not a table of a map"):
            read_points(tmp_path / "tsne.csv")


def test_dry_run_writes_nothing(small_set: WrittenSet):
    assert not draw(small_set, dry_run=True).exists()


def test_missing_embeddings_say_how_to_get_them(small_set: WrittenSet):
    (small_set.inference_dir / "embeddings.scp").unlink()
    with pytest.raises(LidError, match=r"does not exist \(set extract_embd to true"):
        draw(small_set)


def test_few_utterances_make_no_map(tmp_path: Path):
    truth = {"a": "deu", "b": "deu", "c": "fra"}
    made = write_set(tmp_path, truth, truth, ["deu", "fra"], {})
    with pytest.raises(LidError, match=r"3 utterances are too few for a map \(use a set of at least 4\)"):
        draw(made)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6))
def test_separated_boxes_do_not_overlap(count: int, seed: int):
    random = np.random.default_rng(seed)
    centres, sizes = random.uniform(0, 600, (count, 2)), random.uniform((30, 12), (90, 14), (count, 2))
    placed = separated(centres, sizes)
    gaps = np.abs(placed[:, None] - placed[None])
    overlap = ((sizes[:, None] + sizes[None]) / 2 - gaps).min(axis=2)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() < 2


def test_boxes_apart_stay_where_they_are():
    centres = np.array([[0.0, 0.0], [100.0, 0.0]])
    assert np.array_equal(separated(centres, np.full((2, 2), 50.0)), centres)


def test_107_languages_get_107_styles():
    styles = distinct_styles(np.random.default_rng(2).uniform(size=(107, 2)))
    assert len(set(styles)) == 107


def test_a_name_hides_no_small_language():
    """Two clusters of points: one large, one of a single point beside it, where a name could be."""
    random = np.random.default_rng(0)
    large = random.normal((300, 300), 25, (400, 2))
    points = np.concatenate([large, [(300.0, 380.0)]])
    languages = np.array([0] * 400 + [1])
    means = np.stack([large.mean(axis=0), points[-1]])
    names, letter = ["Long name", "Rare"], 12.0
    places = name_places(means, names, points, languages, (0, 600, 0, 600), letter)
    sizes = np.array([(0.62 * letter * len(name) + 4, 1.25 * letter) for name in names])
    for place, size in zip(places, sizes, strict=True):
        assert not (np.abs(points[-1] - place) < size / 2).all()
    hidden = (np.abs(large[:, None] - places) < sizes / 2).all(axis=2).any(axis=1)
    assert hidden.mean() < 0.1
    assert (np.abs(places[0] - places[1]) >= sizes.mean(axis=0) - 1e-6).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_weights_in_rectangles_are_those_of_all_points_in_them(seed: int):
    random = np.random.default_rng(seed)
    points, weights = random.uniform(0, 100, (50, 2)), random.uniform(size=50)
    low = random.uniform(-20, 80, (5, 2))
    high = low + random.uniform(1, 60, (5, 2))
    inside = ((points >= low[:, None]) & (points <= high[:, None])).all(axis=2)
    around = ((points >= low[:, None] - 1) & (points <= high[:, None] + 1)).all(axis=2)
    found = Hidden.by(points, weights, 1.0).share(low, high)
    assert (found >= inside @ weights - 1e-9).all()
    assert (found <= around @ weights + 1e-9).all()
