"""The HTML report in a browser: it needs no network, its tables sort and filter, and labels stay text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import BROWSER, needs_browser
from evaluation.written_set import write_set

from lid_toolkit.evaluation.score import score

pytestmark = needs_browser
HOSTILE = "<img/src=x/onerror=alert(1)>"


def scored(root: Path, languages: int, accuracy: float) -> Path:
    """Score a set of random answers and return the report."""
    random = np.random.default_rng(0)
    labels = [f"l{number:03d}" for number in range(languages - 1)] + [HOSTILE]
    truth = {f"u{number:04d}": labels[number % languages] for number in range(4 * languages)}
    answers = {
        key: label if random.random() < accuracy else labels[random.integers(languages)]
        for key, label in truth.items()
    }
    made = write_set(root, truth, answers, labels, {})
    score(made.data_dir, made.inference_dir)
    return made.inference_dir / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Open a report; return the page, and complaints and requests to which more may be added."""
    page, noted = browser.new_page(**options), []
    page.on("console", lambda message: noted.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("dialog", lambda dialog: noted.append(dialog.message))
    page.on("request", lambda request: noted.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#duration_chart .main-svg")
    return page, noted


@pytest.mark.parametrize(("languages", "accuracy"), [(3, 1.0), (12, 0.5), (107, 0.01)])
def test_it_opens_without_network_and_fits(browser: Any, tmp_path: Path, languages: int, accuracy: float):
    report = scored(tmp_path, languages, accuracy)
    for width, scheme in ((1600, "light"), (390, "dark")):
        size = {"width": width, "height": 800}
        page, noted = opened(browser, report, viewport=size, color_scheme=scheme)
        assert noted == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        papers = page.evaluate(
            """[getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.querySelector("#duration_chart .main-svg")).backgroundColor]"""
        )
        assert len(set(papers)) == 1  # charts have the page's colour
        assert papers[0] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 25, 30)")
        page.close()


def test_tables_sort_and_filter_and_labels_stay_text(browser: Any, tmp_path: Path):
    page, noted = opened(browser, scored(tmp_path, 12, 0.5))
    table = page.locator("table").last

    def column(number: int) -> list[str]:
        return table.locator(f"tbody tr:not([hidden]) td:nth-child({number})").all_inner_texts()

    recalls = [float(text) for text in column(4)]
    head = table.locator("th button").nth(3)
    head.click()
    assert [float(text) for text in column(4)] == sorted(recalls)
    head.click()
    assert [float(text) for text in column(4)] == sorted(recalls, reverse=True)
    for text, expected in (("L003", "l003"), ("onerror", HOSTILE)):
        page.locator(".filter input").last.fill(text)
        shown = list(zip(column(1), column(8), strict=True))  # the language, or what it is mistaken for
        assert expected in [language for language, _ in shown]
        assert all(expected in language + mistaken for language, mistaken in shown)
        assert 0 < len(shown) < 12
    assert noted == []
