"""What the evaluation tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import BROWSER
from evaluation.written_set import WrittenSet, write_set
from matplotlib.mathtext import MathTextParser


@pytest.fixture
def small_set(tmp_path: Path) -> WrittenSet:
    """Return 10 German and 6 Dutch utterances of a system that also knows French: 12 right, 1 failed."""
    truth = {f"d{n:02d}": "deu" for n in range(10)} | {f"n{n:02d}": "nld" for n in range(6)}
    answers = dict(truth) | {"d00": "nld", "d01": "fra", "n00": "deu"}
    del answers["n01"]
    return write_set(tmp_path, truth, answers, ["deu", "fra", "nld"], {"n01": "truncated <audio>"})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a Chromium or Chrome for the tests that are marked with ``needs_browser``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.fixture
def no_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a picture's text is read as a formula."""

    def parse(_: object, text: str, *__: object, **___: object) -> None:
        pytest.fail(f"{text} is read as a formula")

    monkeypatch.setattr(MathTextParser, "parse", parse)
