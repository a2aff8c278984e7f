"""Files of records: CSV, TSV, parquet and RTTM."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pyarrow import parquet as pq

from lid_toolkit.errors import LidError
from lid_toolkit.inference.outputs import formats
from lid_toolkit.inference.outputs.formats import COLUMNS, WRITERS, require_writer
from lid_toolkit.inference.outputs.journal import open_journal
from lid_toolkit.inference.outputs.lines import columns_of
from lid_toolkit.inference.prediction import Prediction, Segment

SEGMENTS = (Segment(0.0, 1.25, "eng", 0.9), Segment(1.25, 3.0, "fra", 0.75))
RECORDS = {
    'a,b "c".wav': Prediction("ok", "eng", "English", 0.8, {"eng": 0.8, "fra": 0.2}, 0.6, 2.5, 2.0, 1),
    "é\tb.wav": Prediction("ok", "fra", "French", 0.9, {"fra": 0.9}, 0.8, 3.0, None, 3, SEGMENTS),
    "none.wav": Prediction("failed", reason="does not exist (check the path)"),
    "short.wav": Prediction("too_short", duration=0.1, reason="lasts 0.1 s"),
}
ROWS = [{"id": key, **record.as_dict()} for key, record in RECORDS.items()]


def test_columns_are_all_attributes():
    assert set(COLUMNS) == set(ROWS[0])


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_tables_read_back(tmp_path, suffix, delimiter):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](ROWS, path)
    with open(path, newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream, delimiter=delimiter))
    assert [row["id"] for row in table] == list(RECORDS)
    for row, expected in zip(table, ROWS, strict=True):
        for name in ("scores", "segments"):
            assert json.loads(row.pop(name)) == expected[name]
        assert row == {name: "" if expected[name] is None else str(expected[name]) for name in row}


def test_parquet_reads_back(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "GROUP", 3)
    path = tmp_path / "a.parquet"
    WRITERS[".parquet"](ROWS, path)
    assert pq.ParquetFile(path).num_row_groups == 2
    table = [{**row, "scores": dict(row["scores"])} for row in pq.read_table(path).to_pylist()]
    assert table == [{name: row[name] for name in COLUMNS} for row in ROWS]
    assert list(tmp_path.iterdir()) == [path]


def test_rttm_has_the_segments_or_the_whole_recording(tmp_path):
    path = tmp_path / "a.rttm"
    WRITERS[".rttm"](ROWS, path)
    assert path.read_text().splitlines() == [
        "SPEAKER a,b%20%22c%22.wav 1 0.000 2.500 <NA> <NA> eng 0.8000 <NA>",
        "SPEAKER %C3%A9%09b.wav 1 0.000 1.250 <NA> <NA> eng 0.9000 <NA>",
        "SPEAKER %C3%A9%09b.wav 1 1.250 1.750 <NA> <NA> fra 0.7500 <NA>",
    ]


def test_tables_have_the_label_of_unknown_and_json_lines_have_none(tmp_path):
    doubtful = Prediction("unknown", None, None, 0.4, {"eng": 0.4}, 0.1, 2.5, reason="low")
    rows = [*ROWS, {"id": "doubtful.wav", **doubtful.as_dict()}]
    for suffix in (".csv", ".rttm", ".jsonl"):
        with open_journal(tmp_path / f"a{suffix}", {}, False, unknown="und") as journal:
            for row in rows:
                journal.add(row)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as stream:
        assert [row["language"] for row in csv.DictReader(stream)] == ["eng", "fra", "", "", "und"]
    last = (tmp_path / "a.rttm").read_text().splitlines()[-1]
    assert last == "SPEAKER doubtful.wav 1 0.000 2.500 <NA> <NA> und 0.4000 <NA>"
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[-1])["language"] is None


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_failure_leaves_no_file(tmp_path, suffix):
    def rows():
        yield ROWS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        WRITERS[suffix](rows(), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_and_upper_case_is_known():
    require_writer(Path("A.CSV"))
    with pytest.raises(
        LidError, match=r"unknown format '\.xml' \(use \.jsonl, \.csv, \.tsv, \.parquet, \.rttm\)"
    ):
        require_writer(Path("a.xml"))


def test_columns_for_people():
    lines = [columns_of(row) for row in ROWS]
    assert lines[0].split() == [
        "a,b",
        '"c".wav',
        "eng",
        "English",
        "2.5",
        "s",
        "eng",
        "0.800",
        "fra",
        "0.200",
    ]
    assert lines[2].split()[:2] == ["none.wav", "failed"]
    assert lines[2].endswith("does not exist (check the path)")
    long = columns_of({**ROWS[0], "id": "x" * 50 + "end.wav"})
    assert long.index("eng  ") == lines[0].index("eng  ")
    assert long.split()[0].endswith("end.wav")
