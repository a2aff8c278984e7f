"""Where a Chromium or Chrome is, and how tests open pages in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium (apt-get install chromium) and no Chrome"
)


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Open a file; return the page, and complaints and requests to which more may be added."""
    page, noted = browser.new_page(**options), []
    page.on("console", lambda message: noted.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("dialog", lambda dialog: noted.append(dialog.message))
    page.on("request", lambda request: noted.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#tip", state="attached")
    return page, noted


def fits(page: Any) -> bool:
    """Return whether a page is not wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
