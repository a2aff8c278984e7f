"""The data report against numbers worked out by hand, and its picture as a picture."""

import io
import json

import numpy as np
import pytest
from evaluation.written_set import DOLLARS
from PIL import Image

from lid_toolkit.datadir.tables.table import table_from_pairs
from lid_toolkit.evaluation.data_report import describe, hours_figure, text_of, write_report
from lid_toolkit.evaluation.style import saved


@pytest.fixture
def report():
    """Three languages; one of five utterances has no known duration."""
    utt2lang = table_from_pairs([("a", "eng"), ("b", "fra"), ("c", "eng"), ("d", "xxx"), ("e", "eng")])
    return describe("train", utt2lang, np.array([3600, 1800, 7200, np.nan, 1800.0]))


def test_numbers(report):
    assert (report.utterances, report.hours, report.unreadable) == (5, 4.0, 1)
    assert [(share.label, share.utterances, share.hours, share.median_s) for share in report.languages] == [
        ("eng", 3, 3.5, 3600),
        ("fra", 1, 0.5, 1800),
        ("xxx", 1, 0.0, None),
    ]
    assert (report.quantiles_s["min"], report.quantiles_s["median"], report.quantiles_s["max"]) == (
        1800,
        2700,
        7200,
    )


def test_text(report):
    lines = text_of(report).splitlines()
    assert lines[0] == "train: 5 utterances, 4.00 h, 3 languages, 1 unreadable"
    assert " ".join(lines[2].split()) == "seconds min 1 % 5 % 25 % median 75 % 95 % 99 % max"
    assert lines[6].split() == ["eng", "English", "3", "3.50", "87.50", "3600.00"]
    assert lines[8].split() == ["xxx", "xxx", "1", "0.00", "0.00", "-"]


def test_files(report, tmp_path):
    write_report(report, tmp_path)
    kept = json.loads((tmp_path / "report.json").read_text())
    assert kept["languages"][0]["hours"] == 3.5
    assert (tmp_path / "report.txt").read_text() == text_of(report)
    assert (tmp_path / "hours.png").read_bytes() == saved(hours_figure(report), "png")
    assert "English (eng)" in (tmp_path / "hours.svg").read_text()


def test_picture_grows_with_the_languages(report):
    few = hours_figure(report).get_size_inches()
    labels = [f"l{i:03d}" for i in range(107)]
    many = describe("many", table_from_pairs(zip(labels, labels, strict=True)), np.arange(107.0))
    tall = hours_figure(many).get_size_inches()
    assert few[0] == tall[0]
    assert tall[1] > 10 * few[1] / 2


@pytest.mark.usefixtures("no_formulas")
def test_labels_with_dollars_are_no_formulas():
    picture = saved(
        hours_figure(describe("$test$", table_from_pairs(zip("abc", DOLLARS, strict=True)), np.ones(3))),
        "png",
    )
    assert Image.open(io.BytesIO(picture)).width


def test_nothing_readable_is_reported_too(tmp_path):
    report = describe("none", table_from_pairs([("a", "eng")]), np.array([np.nan]))
    write_report(report, tmp_path)
    assert "none: 1 utterance, 0.00 h, 1 language, 1 unreadable" in (tmp_path / "report.txt").read_text()
