"""The page in a real browser: Chromium or Chrome, without a window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import BROWSER, needs_browser
from data.corpus import LANGUAGES, RATE, vowel
from serve.conftest import encoded, running, spoken

from lid_toolkit.inference.prediction import Prediction, Segment
from lid_toolkit.serve import app as module
from lid_toolkit.serve.app import make_app
from lid_toolkit.serve.limits import Limits
from lid_toolkit.serve.server import LOOPBACK

pytestmark = needs_browser

SHOTS = os.environ.get("LID_SCREENSHOTS")
"""Folder for pictures of the page; none are made if it is not set."""

SIZES = ((1280, 900), (320, 640), (390, 844))


@pytest.fixture(scope="module")
def url(lid) -> Iterator[str]:
    limits = Limits(max_bytes=1 << 20, max_seconds=60)
    with running(make_app(lid, lid.policy, "tiny <model>", limits, LOOPBACK)) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    microphone = tmp_path_factory.mktemp("microphone") / "speech.wav"
    soundfile.write(microphone, vowel(5), RATE)
    options = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--no-sandbox",
    ]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=options)


@pytest.fixture
def page_of(browser, url) -> Iterator[Callable]:
    """Give a function that opens the page; complaints on the console and requests elsewhere fail the test."""
    complaints, contexts = [], []

    def opened():
        context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: asked.url.startswith((url, "data:", "blob:")) or complaints.append(asked.url),
        )
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in complaints if "status of 4" not in text] == []  # a refused upload is no fault


def upload(page, content: bytes, name: str = "a.wav") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


def look(page, name: str) -> None:
    """Check that nothing is wider than the page, at all sizes and in light and dark, and make pictures."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        for scheme in ("light", "dark") if SHOTS else ():
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=Path(SHOTS or "") / f"{name}-{width}-{scheme}.png", full_page=True)


def test_dark_and_light_differ(page_of):
    page, papers = page_of(), set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


def test_an_upload_shows_its_languages_as_bars(page_of, lid):
    page = page_of()
    look(page, "start")
    audio = spoken(2)
    expected = lid.identify(audio)
    upload(page, audio)
    page.wait_for_selector("#result:not([hidden])")
    assert page.text_content("#answer").startswith(expected.name or expected.language)
    bars = page.query_selector_all("#scores .bar i")
    shares = [float(bar.evaluate("bar => bar.style.width").rstrip("%")) / 100 for bar in bars]
    assert shares == pytest.approx(list(expected.scores.values()), abs=1e-4)
    widths = [bar.evaluate("bar => bar.getBoundingClientRect().width") for bar in bars]
    assert widths[0] > widths[-1] > 0  # the style is applied, in spite of the policy for content
    assert page.evaluate("document.activeElement.id") == "result"  # screen readers go on reading there
    look(page, "answer")


def many_segments(*_) -> Prediction:
    """Return the record of a recording with two languages."""
    parts = [(0.0, 42.5, "low", 0.91), (43.0, 61.0, "high", 0.72), (61.0, 95.0, "low", 0.999)]
    scores = {"low": 0.8, "high": 0.15, "middle": 0.05}
    segments = tuple(Segment(*part) for part in parts)
    return Prediction("ok", "low", None, 0.8, scores, 0.65, 95.0, 80.0, 19, segments, None, "silero")


def test_segments_are_a_timeline_and_a_list(page_of, monkeypatch):
    monkeypatch.setattr(module, "answer", many_segments)
    page = page_of()
    upload(page, spoken(0.5))
    page.wait_for_selector("#timeline:not([hidden])")
    pieces = page.query_selector_all("#strip i")
    lefts = [float(piece.evaluate("piece => piece.style.left").rstrip("%")) for piece in pieces]
    assert lefts == pytest.approx([0, 100 * 43 / 95, 100 * 61 / 95], abs=0.01)
    colours = [piece.evaluate("piece => getComputedStyle(piece).backgroundColor") for piece in pieces]
    assert colours[0] == colours[2] != colours[1]
    lines = [line.inner_text().split("\n") for line in page.query_selector_all("#parts li")]
    assert lines[1] == ["0:43.0 to 1:01.0", "high, 72 %"]
    look(page, "timeline")


def test_a_bad_upload_is_one_sentence(page_of):
    page = page_of()
    upload(page, b"not audio " * 50, "notes.txt")
    page.wait_for_selector("#error:not([hidden])")
    assert page.text_content("#error").startswith("The recording cannot be decoded: Format not recognised")
    assert page.is_hidden("#result")
    look(page, "error")
    upload(page, spoken(1))  # the next one is answered, and the error is gone
    page.wait_for_selector("#result:not([hidden])")
    assert page.is_hidden("#error")


def test_too_large_a_file_is_not_sent(page_of):
    page = page_of()
    page.on("request", lambda asked: pytest.fail(asked.url) if "identify" in asked.url else None)
    upload(page, b"0" * ((1 << 20) + 1))
    page.wait_for_selector("#error:not([hidden])")
    assert "larger than 1 MiB" in page.text_content("#error")


def test_a_format_that_only_the_browser_knows_is_decoded_there(page_of, monkeypatch):
    from lid_toolkit.audio.references import UnsupportedError
    from lid_toolkit.serve import answer

    real, names = answer.opened, []

    def without_ogg(file, rate, name):
        names.append(name)
        if file.getvalue().startswith(b"OggS"):
            raise UnsupportedError("cannot be decoded")
        return real(file, rate, name)

    monkeypatch.setattr(answer, "opened", without_ogg)
    page = page_of()
    upload(page, encoded(vowel(2), "OGG"), "a.ogg")
    page.wait_for_selector("#result:not([hidden])")
    assert names == ["a.ogg", "decoded.wav"]
    assert "2.0 s" in page.text_content("#facts")


def test_a_recording_from_the_microphone_is_identified(page_of):
    page = page_of()
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]")
    level = 0.0
    for _ in range(600):  # the microphone may start late, and its speech has pauses
        level = max(level, page.evaluate("document.getElementById('level').value"))
        if level > 0.01 and page.text_content("#clock") not in ("", "0:00"):
            break
        page.wait_for_timeout(50)
    assert level > 0.01
    look(page, "recording")
    page.click("#record")
    page.wait_for_selector("#result:not([hidden])")
    assert page.text_content("#record") == "Record"
    seconds = float(page.text_content("#facts dd").split()[0])
    assert 1 < seconds < 60


def test_options_are_sent_and_silence_is_explained(page_of):
    page = page_of()
    page.click("summary:has-text('Options')")
    page.fill("#languages", "low, high")
    page.fill("#window", "1")
    page.check("#segments")
    page.click("summary:has-text('The languages of the model')")
    look(page, "options")
    upload(page, spoken(3))
    page.wait_for_selector("#result:not([hidden])")
    assert len(page.query_selector_all("#scores li")) == 2
    assert "Windows9" in page.text_content("#facts")
    assert len(page.query_selector_all("#parts li")) >= 1
    upload(page, encoded(np.zeros(RATE)))
    page.wait_for_selector("#answer:text-is('No speech')")
    assert page.text_content("#reason")
    page.fill("#languages", "klingon")
    upload(page, spoken(1))
    page.wait_for_selector("#error:not([hidden])")
    assert "klingon" in page.text_content("#error")


def test_the_keyboard_reaches_everything_and_everything_has_a_name(page_of):
    page = page_of()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached == ["file", "record", "segments", "Options"]
    page.keyboard.press("Enter")
    for name in ("languages", "window"):
        assert page.get_by_label({"languages": "Only these", "window": "Seconds of"}[name]).is_visible()
    tree = page.locator("body").aria_snapshot()
    for part in ('heading "Which language is spoken?"', 'button "Record"', "Choose a recording", "status"):
        assert part in tree
    assert all(label in page.text_content("main") for label in LANGUAGES)
    assert page.get_attribute("html", "lang") == "en"
    assert "<model>" in page.text_content("header")  # the name is escaped
