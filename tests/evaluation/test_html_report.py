"""The HTML report in a browser: it needs no network, its tables sort and filter, and labels stay text."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import fits, needs_browser, opened
from evaluation.written_set import WrittenSet, write_set

from lid_toolkit.datadir.tables.table import write_table
from lid_toolkit.evaluation.score import score
from lid_toolkit.evaluation.tsne import plot_tsne

pytestmark = needs_browser
HOSTILE = "<img/src=x/onerror=alert(1)>"
QUOTES = "\"'`</script><script>alert(2)</script>&amp;\u202eñ語𝔘"
LARGEST = 1_000_000


def answered(root: Path, languages: int, accuracy: float, each: int = 4) -> WrittenSet:
    """Write a set with random answers, among its labels hostile ones."""
    random = np.random.default_rng(0)
    labels = [f"l{number:03d}" for number in range(languages - 2)] + [HOSTILE, QUOTES]
    truth = {f"u{number:04d}": labels[number % languages] for number in range(each * languages)}
    answers = {
        key: label if random.random() < accuracy else labels[random.integers(languages)]
        for key, label in truth.items()
    }
    return write_set(root, truth, answers, labels, {})


def reported(made: WrittenSet) -> Path:
    score(made.data_dir, made.inference_dir)
    return made.inference_dir / "report.html"


@pytest.mark.parametrize(("languages", "accuracy"), [(3, 1.0), (12, 0.5), (107, 0.01)])
def test_it_opens_without_network_and_fits(browser: Any, tmp_path: Path, languages: int, accuracy: float):
    report = reported(answered(tmp_path, languages, accuracy))
    assert report.stat().st_size < LARGEST
    for width, scheme in ((1600, "light"), (1280, "dark"), (390, "dark")):
        page, noted = opened(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme)
        assert noted == []
        assert fits(page)
        paper, picture, words = page.evaluate(
            """[getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.querySelector("#durations svg path")).fill,
                getComputedStyle(document.querySelector("#durations svg text")).fill]"""
        )
        assert paper == picture == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 25, 30)")
        assert words == ("rgb(31, 41, 51)" if scheme == "light" else "rgb(230, 233, 236)")
        page.close()


def test_tables_sort_and_filter_and_labels_stay_text(browser: Any, tmp_path: Path):
    page, noted = opened(browser, reported(answered(tmp_path, 12, 0.5)))
    table = page.locator("#languages table")

    def column(number: int) -> list[str]:
        return table.locator(f"tbody tr:not([hidden]) td:nth-child({number})").all_inner_texts()

    recalls = [float(text) for text in column(4)]
    assert recalls == sorted(recalls)
    assert len(set(recalls)) > 2
    head = table.locator("th button").nth(3)
    head.click()
    head.click()
    assert [float(text) for text in column(4)] == sorted(recalls, reverse=True)
    table.locator("th button").nth(2).click()  # the bars
    assert [float(text) for text in column(4)] == sorted(recalls)
    shown = QUOTES.replace("\u202e", "\ufffd")  # the mark that turns what follows round
    for text, expected in (("L003", "l003"), ("onerror", HOSTILE), ("alert(2)", shown)):
        page.locator("#languages .filter input").fill(text)
        found = list(zip(column(1), column(9), strict=True))  # the language, or what it is mistaken for
        assert expected in [language for language, _ in found]
        assert 0 < len(found) < 12
    assert noted == []


def test_numbers_that_are_no_whole_ones_sort_by_value(browser: Any, tmp_path: Path):
    made = answered(tmp_path, 12, 0.5)
    page, _ = opened(browser, reported(made))
    values = page.evaluate(
        """() => {
            const table = document.querySelector("#mistakes table");
            const texts = ["0.5", "0.25", "1e-3", "-"];
            [...table.tBodies[0].rows].forEach((row, n) => { row.cells[3].textContent = texts[n % 4]; });
            table.querySelectorAll("th button")[3].click();
            return [...table.tBodies[0].rows].map(row => row.cells[3].textContent);
        }"""
    )
    order = ["-", "1e-3", "0.25", "0.5"]
    assert [order.index(value) for value in values] == sorted(order.index(value) for value in values)


def test_pictures_show_values_and_the_confusions_zoom(browser: Any, tmp_path: Path):
    view = {"width": 1280, "height": 1600}
    page, noted = opened(browser, reported(answered(tmp_path, 12, 0.5)), viewport=view)
    tip = page.locator("#tip")
    page.locator("#durations .spot").first.hover()
    assert tip.inner_text().startswith("3-5 s: ")
    page.locator("#languages .bar").first.hover()
    assert " % [" in tip.inner_text()
    cells = page.locator("#confusion [data-cells]")
    content = json.loads(cells.get_attribute("data-cells"))
    row, column, count = max(content["cells"], key=lambda cell: (cell[0] != cell[1], cell[2]))
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    side = box["width"] / len(content["columns"])
    page.mouse.move(box["x"] + (column + 0.5) * side, box["y"] + (row + 0.5) * side)
    true, answer, share = tip.inner_text().splitlines()
    assert (true, answer) == (f"true: {content['rows'][row]}", f"answered: {content['columns'][column]}")
    assert share.startswith(f"{count} of {content['totals'][row]} (")
    page.locator('[data-zoom="1.5"]').click()
    assert cells.bounding_box()["width"] == pytest.approx(1.5 * box["width"], rel=0.02)
    assert fits(page)
    page.locator('[data-zoom="0"]').click()
    assert cells.bounding_box()["width"] == pytest.approx(box["width"], rel=0.02)
    assert noted == []


def test_the_map_is_in_the_report_and_languages_are_selected(browser: Any, tmp_path: Path):
    made = answered(tmp_path, 12, 0.5)
    report = reported(made)
    assert 'class="points"' not in report.read_text()
    plot_tsne(made.data_dir, made.inference_dir, 3.0, 250, 1000)
    own = made.inference_dir / "tsne_plots" / "tsne.html"
    for path in (report, own):
        page, noted = opened(browser, path, viewport={"width": 390, "height": 800}, color_scheme="dark")
        canvas, legend = page.locator("canvas.points"), page.locator(".legend li")
        assert fits(page)
        assert legend.count() == 12
        assert HOSTILE in legend.all_inner_texts()[0] + "".join(legend.all_inner_texts())
        boxes = canvas.bounding_box(), page.locator(".legend").bounding_box()
        assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]  # the legend is not on the map
        before = canvas.evaluate("canvas => canvas.toDataURL()")
        legend.first.locator("button").click()
        assert legend.first.locator("button").get_attribute("aria-pressed") == "true"
        chosen = canvas.evaluate("canvas => canvas.toDataURL()")
        assert chosen != before
        page.locator('[data-map="1.5"]').click()
        assert canvas.evaluate("canvas => canvas.toDataURL()") != chosen
        page.locator('[data-map="0"]').click()
        legend.first.locator("button").click()
        assert canvas.evaluate("canvas => canvas.toDataURL()") == before
        assert noted == []
        page.close()


def test_the_map_says_what_a_point_is(browser: Any, small_set: WrittenSet):
    plot_tsne(small_set.data_dir, small_set.inference_dir, 3.0, 250, 1000)
    page, noted = opened(browser, small_set.inference_dir / "tsne_plots" / "tsne.html")
    found = page.evaluate(
        """() => {
            const canvas = document.querySelector("canvas.points"), box = canvas.getBoundingClientRect();
            const tip = document.getElementById("tip"), found = new Set();
            for (let x = 0; x < box.width; x += 12) for (let y = 0; y < box.height; y += 12) {
                const place = {clientX: box.left + x, clientY: box.top + y, bubbles: true};
                canvas.dispatchEvent(new PointerEvent("pointermove", place));
                if (!tip.hidden) found.add(tip.textContent);
            }
            return [...found];
        }"""
    )
    assert len(found) == 15
    assert "d00\ntrue: German (deu)\nanswered: Dutch (nld)" in found
    assert noted == []


def test_recordings_beside_the_report_are_played(browser: Any, tmp_path: Path):
    made = answered(tmp_path, 3, 0.5, each=8)
    audio = tmp_path / "dump" / "audio ä#"
    audio.mkdir()
    keys = [f"u{number:04d}" for number in range(24)]
    for key in keys[:12]:
        with wave.open(str(audio / f"{key}.wav"), "wb") as stream:
            stream.setparams((1, 2, 16000, 0, "NONE", ""))
            stream.writeframes(bytes(32000))
    places = {key: f"dump/audio ä#/{key}.wav" for key in keys[:18]}
    write_table(
        made.data_dir / "wav.scp",
        [(key, places.get(key, f"dump/audio.ark:{n}")) for n, key in enumerate(keys)],
    )
    report = reported(made)
    page, noted = opened(browser, report)
    assert noted == []  # nothing is read before one presses play
    rows = {row.split()[0]: row for row in page.locator("#mistakes tbody tr").all_inner_texts()}
    wrong = sorted(rows)
    there = [key for key in wrong if key in keys[:12]]
    assert page.locator("#mistakes audio").count() == len(there) > 0
    assert [key for key in wrong if "the file is missing" in rows[key]] == [
        k for k in wrong if k in keys[12:18]
    ]
    assert [key for key in wrong if "in an archive" in rows[key]] == [k for k in wrong if k in keys[18:]]
    seconds = page.locator("#mistakes audio").first.evaluate(
        """audio => new Promise(done => {
            audio.addEventListener("loadedmetadata", () => done(audio.duration));
            audio.preload = "metadata";
            audio.load();
        })"""
    )
    assert seconds == pytest.approx(1.0)
    for path in audio.iterdir():
        path.unlink()
    page, _ = opened(browser, report)
    cell = page.locator("#mistakes td:has(audio)").first
    cell.locator("audio").evaluate("audio => { audio.preload = 'auto'; audio.load(); }")
    page.wait_for_function("document.body.textContent.includes('the file is missing, or the browser')")
