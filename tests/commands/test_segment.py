"""``lid segment``: the interface's segments in each format, a picture, and one line for what is wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest
import soundfile
from data.corpus import RATE, beeps, vowel

from lid_toolkit.cli import run
from lid_toolkit.commands.segment import main as segment
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.outputs.formats import WRITERS
from lid_toolkit.inference.prediction import Segment
from lid_toolkit.inference.segmentation import Segmenting

PLAIN = ("--device", "cpu", "--vad", "none")
FINE = ("--window", "1", "--penalty", "0.01", "--min_duration", "0.2")


@pytest.fixture
def recording(tmp_path):
    pieces = [beeps("low", 3 * RATE, 1), vowel(3.0), beeps("low", 3 * RATE, 2)]
    soundfile.write(tmp_path / "a é.wav", np.concatenate(pieces), RATE)
    return str(tmp_path / "a é.wav")


class Terminal(io.StringIO):
    """A terminal, as a stream."""

    def isatty(self):
        return True


def command(model_file, *words, code=0):
    with pytest.raises(SystemExit) as left:
        run(segment, ["--model", str(model_file), *PLAIN, *map(str, words)])
    assert left.value.code == code


def test_segments_in_every_format(model_file, recording, tmp_path, capsys):
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    settings = Segmenting(penalty=0.01, min_duration=0.2)
    record = lid.identify(recording, vad="none", window=1, segments=settings)
    assert len(record.segments) > 1
    command(model_file, recording, *FINE)
    row = json.loads(capsys.readouterr().out)
    assert row.keys() == {"id", *record.as_dict()}
    for part, expected in zip(row["segments"], record.segments, strict=True):
        assert Segment(**part) == dataclasses.replace(expected, score=pytest.approx(expected.score))
    for suffix in ("tsv", "rttm", "json"):
        command(model_file, recording, *FINE, "--output", tmp_path / f"a.{suffix}")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == row
    head, *lines = (tmp_path / "a.tsv").read_text().splitlines()
    assert head.split("\t") == ["start", "end", "language", "name", "score"]
    assert [line.split("\t")[2] for line in lines] == [part.language for part in record.segments]
    assert float(lines[0].split("\t")[1]) == pytest.approx(record.segments[0].end, abs=0.01)
    WRITERS[".rttm"]([row], tmp_path / "expected.rttm")
    assert (tmp_path / "a.rttm").read_text() == (tmp_path / "expected.rttm").read_text()


def test_a_table_on_a_terminal_and_a_picture(model_file, recording, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    for name, begin in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        segment(["--model", str(model_file), *PLAIN, recording, "--picture", str(tmp_path / name)])
        assert (tmp_path / name).read_bytes().startswith(begin)
    assert sys.stdout.getvalue().startswith("start\tend\tlanguage\t")


def test_a_recording_without_speech_has_no_segments(model_file, tmp_path, capsys):
    soundfile.write(tmp_path / "silence.wav", np.zeros(9 * RATE), RATE)
    words = ("--output", tmp_path / "a.rttm", "--picture", tmp_path / "a.png")
    command(model_file, tmp_path / "silence.wav", *words)
    assert "no segments: no signal" in capsys.readouterr().err
    assert (tmp_path / "a.rttm").read_text() == ""
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.wav"], "none.wav: does not exist"),
        (["a.wav", "--output", "a.csv"], r"a.csv: unknown format '.csv' \(use .json, .tsv, .rttm\)"),
        (["a.wav", "--picture", "a.gif"], r"a.gif: unknown format \(use .png or .svg\)"),
        (["a.wav", "--window", "1", "--hop", "2"], "hop: must be above 0 s and at most window"),
        (["a.wav", "--penalty", "-1"], "'-1' is not a number of at least 0"),
    ],
)
def test_what_is_wrong_is_told_on_one_line(model_file, words, message, capsys):
    command(model_file, *words, code=2)
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
