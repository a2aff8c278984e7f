"""Several experiments on one page: numbers of each, paired differences, and what cannot be compared."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import fits, needs_browser, opened
from commands import call
from evaluation.written_set import write_set

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import read_answers
from lid_toolkit.evaluation.compare import compare
from lid_toolkit.evaluation.score import score
from lid_toolkit.evaluation.side_by_side import short_paths, side_by_side

LABELS = ["deu", "fra", "<b>"]


def experiment(
    root: Path, name: str, wrong: int, sets: tuple[str, ...] = ("test",), utterances: int = 30
) -> Path:
    """Write and score an experiment, of whose answers the first ones are wrong."""
    for number, own in enumerate(sets):
        truth = {f"u{n:03d}": LABELS[(n + number) % 3] for n in range(utterances)}
        answers = {key: LABELS[0] if n < wrong else label for n, (key, label) in enumerate(truth.items())}
        made = write_set(root / name, truth, answers, LABELS, {}, name=own)
        score(made.data_dir, made.inference_dir)
    return root / name


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of experiments, which tests may copy but not change."""
    root = tmp_path_factory.mktemp("scored")
    experiment(root, "lid_a", 12)
    experiment(root, "lid_b", 3, ("test", "other"))
    experiment(root, "lid_c", 3, utterances=27)
    return root


def copied(scored: Path, names: Mapping[str, str], root: Path) -> list[Path]:
    """Copy experiments to a directory under other names."""
    for name, new in names.items():
        shutil.copytree(scored / name, root / new)
    return [root / new for new in names.values()]


def cells(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table after a heading."""
    table = page.split(f">{heading}</h")[1].split("<table")[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows[1:]]


def test_numbers_differences_and_recalls(scored: Path):
    one, two = scored / "lid_a", scored / "lid_b"
    page = side_by_side([one, two])
    headline = {row[0]: row[1:] for row in cells(page, "test")}
    assert headline["utterances"] == ["30", "30"]
    assert [cell.split(" %")[0] for cell in headline["accuracy"]] == ["73.33", "93.33"]
    assert headline["coverage"] == ["100.00 %", "100.00 %"]
    found = [read_answers(path / "dump/raw/test", path / "inference/model/test") for path in (one, two)]
    expected = compare(*found)
    (difference,) = cells(page, "Differences")
    assert difference[:3] == ["lid_a", "lid_b", f"{100 * expected.gain.value:+.2f}"]
    assert difference[4:6] == ["0", "6"]
    assert difference[7] == "lid_b is better"
    recalls = {row[0]: row[1:] for row in cells(page, "Recall of each language, %")}
    assert recalls == {
        "German (deu)": ["10", "100.00", "100.00"],
        "French (fra)": ["10", "60.00", "90.00"],
        "<b>": ["10", "60.00", "90.00"],
    }
    assert 'id="set2"' not in page  # the other set was scored once
    assert page.count("<svg ") >= 3


def test_systems_on_other_utterances_or_counted_otherwise_are_not_compared(scored: Path, tmp_path: Path):
    text = html.unescape(side_by_side([scored / name for name in ("lid_a", "lid_b", "lid_c")]))
    assert len(cells(text, "Differences")) == 1
    assert (
        "lid_a and lid_c are not compared: their sets have other utterances or other true languages." in text
    )
    one, two = copied(scored, {"lid_a": "a", "lid_b": "b"}, tmp_path)
    record = two / "inference/model/test/.done/score.json"
    content = json.loads(record.read_text())
    content["options"]["merge_macrolanguages"] = True
    kept = record.read_text()
    record.write_text(json.dumps(content))
    text = html.unescape(side_by_side([one, two]))
    assert "a and b are not compared: they were scored with other options." in text
    record.write_text(kept)
    shutil.move(two / "dump", tmp_path / "moved")
    text = html.unescape(side_by_side([one, two]))
    assert "a and b are not compared: the set is not where it was when it was scored" in text
    assert "Differences" not in text


def test_clusters_widen_a_difference(scored: Path, tmp_path: Path):
    paths = copied(scored, {"lid_a": "a", "lid_b": "b"}, tmp_path)
    intervals = [cells(side_by_side(paths), "Differences")[0][3]]
    write_table(paths[0] / "dump/raw/test/utt2spk", [(f"u{n:03d}", f"s{n // 6}") for n in range(30)])
    intervals.append(cells(side_by_side(paths), "Differences")[0][3])
    narrow, wide = (np.ptp(json.loads(text)) for text in intervals)
    assert wide > narrow


def test_what_is_refused_is_one_line(scored: Path, tmp_path: Path):
    one, two = copied(scored, {"lid_a": "a", "lid_b": "b"}, tmp_path)
    shutil.rmtree(two / "inference/model/test")
    (tmp_path / "empty").mkdir()
    nothing = f"{one} and {two}: the experiments have no scored set in common (score the same set with each)"
    for paths, message in (
        ((one, tmp_path / "none"), f"{tmp_path}/none: does not exist (give the directory of an experiment)"),
        ((one, tmp_path / "empty"), f"{tmp_path}/empty: no set has been scored (run stage 7 again)"),
        ((one, one), f"{one}: given twice"),
        ((one, two), nothing),
    ):
        done = call("report", *paths, "--output", tmp_path / "page.html")
        assert (done.returncode, done.stderr) == (2, f"error: {message}\n")
    assert not (tmp_path / "page.html").exists()
    (two / "inference/model/other/results.json").write_text("{}")
    with pytest.raises(LidError, match=r"results\.json: no 'set'"):
        side_by_side([one, two])


def test_names_tell_experiments_and_models_apart(scored: Path, tmp_path: Path):
    one, two = copied(scored, {"lid_a": "x/lid", "lid_b": "y/lid"}, tmp_path)
    shutil.copytree(two / "inference" / "model", two / "inference" / "best")
    page = side_by_side([one, two])
    assert re.findall(r"<h3>([xy]/lid[^<]*)</h3>", page) == ["x/lid", "y/lid best", "y/lid model"]
    assert short_paths([Path("/a/b/c"), Path("/d/b/c"), Path("/d/e")]) == ["a/b/c", "d/b/c", "/d/e"]
    assert short_paths([Path("/a/b"), Path("/a/c")]) == ["b", "c"]


@needs_browser
def test_the_page_opens_without_network_and_fits(browser: Any, scored: Path, tmp_path: Path):
    names = {"lid_a": "<b>a'\"", "lid_b": "<b>b'\"", "lid_c": "c" * 90}
    output = tmp_path / "page.html"
    assert call("report", *copied(scored, names, tmp_path), "--output", output).returncode == 0
    for width, scheme in ((1600, "light"), (390, "dark")):
        page, noted = opened(browser, output, viewport={"width": width, "height": 800}, color_scheme=scheme)
        assert fits(page)
        table = page.locator("table").nth(2)
        head = table.locator("th button").nth(2)
        head.click()
        values = [float(value) for value in table.locator("td:nth-child(3)").all_inner_texts()]
        assert values == sorted(values)
        assert head.inner_text() == "<b>a'\""
        assert noted == []
        page.close()
