"""What words name: files, folders, lists and standard input."""

from __future__ import annotations

import io
import json
import os

import pytest
import soundfile
from data.corpus import RATE, beeps

from lid_toolkit.audio.references import AudioError
from lid_toolkit.inference.inputs import lists
from lid_toolkit.inference.inputs.count import count_inputs
from lid_toolkit.inference.inputs.read import read_inputs


def found(*words, standard_input=b""):
    """Return the id and the speech of each input, or what is wrong with it."""
    items = read_inputs([str(word) for word in words], io.BytesIO(standard_input))
    return [
        (item.id, item.speech.what if isinstance(item.speech, AudioError) else item.speech) for item in items
    ]


def test_a_file_is_one_input_whether_it_exists_or_not():
    assert found("a.wav", "folder/b", 300 * "x") == [
        ("a.wav", "a.wav"),
        ("folder/b", "folder/b"),
        (300 * "x", 300 * "x"),
    ]


def test_a_folder_gives_its_recordings_in_order_of_names(tmp_path):
    for name in (
        "b/2.FLAC",
        "b/1.wav",
        "a.mp3",
        "b/notes.md",
        ".hidden.wav",
        ".hidden/c.wav",
        "c.m4a",
        "d/.wav",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    names = [f"{tmp_path}/{name}" for name in ("a.mp3", "c.m4a", "b/1.wav", "b/2.FLAC")]
    assert found(tmp_path) == [(name, name) for name in names]
    assert count_inputs([str(tmp_path)]) == 4


def test_a_folder_without_recordings_is_an_error(tmp_path):
    assert found(tmp_path) == [(str(tmp_path), "the folder has no recordings")]


def test_a_name_that_is_not_utf_8_is_found_and_has_a_valid_id(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.wav"
    with open(path, "wb"):
        pass
    ((key, speech),) = found(tmp_path)
    assert key == f"{tmp_path}/\\xff.wav"
    assert os.fsencode(speech) == path
    listed = tmp_path / "list.txt"
    listed.write_bytes(path + b"\n")
    assert found(listed) == [(key, speech)]


def test_paths_on_standard_input_and_in_a_text_file(tmp_path):
    text = "a b.wav\n\n  \nc.wav\r\nd.wav".encode("utf-8-sig")
    expected = [(name, name) for name in ("a b.wav", "c.wav", "d.wav")]
    assert found("-", standard_input=text) == expected
    (tmp_path / "list.txt").write_bytes(text)
    assert found(tmp_path / "list.txt") == expected
    assert count_inputs([str(tmp_path / "list.txt"), "x.wav"]) == 4
    assert count_inputs(["-"]) is None


def test_a_table_of_recordings(tmp_path):
    scp = tmp_path / "wav.scp"
    scp.write_text("u1 a b.wav\nu2\t c.ark:17\nu3\nu4 rm -rf x |\n")
    assert found(scp) == [
        ("u1", "a b.wav"),
        ("u2", "c.ark:17"),
        (f"{scp}:3", "the line has no path"),
        ("u4", "is a command, which is not run"),
    ]
    assert found(tmp_path) == found(scp)


def test_segments_of_a_data_directory(tmp_path):
    (tmp_path / "wav.scp").write_text("r1 a.wav\nr2 b.ark:5\n")
    (tmp_path / "segments").write_text("u1 r1 0 1.5\nu2 r2 2 3\nu3 none 0 1\nu4 r1\nu5 r1 3 2\n")
    segments = tmp_path / "segments"
    what = "the line is not an id, a recording in wav.scp, a start and an end"
    assert found(tmp_path) == [
        ("u1", ("a.wav", 0.0, 1.5)),
        ("u2", ("b.ark:5", 2.0, 3.0)),
        (f"{segments}:3", what),
        (f"{segments}:4", what),
        ("u5", "ends at 2 s, but starts at 3 s"),
    ]
    assert count_inputs([str(tmp_path)]) == 5


ROWS = [
    {"path": "a.wav"},
    {"path": "b é.wav", "start": 1, "end": 2.5},
    {"path": "c.wav", "id": "key"},
    {"path": "d.wav", "start": "soon"},
    {"path": "e.wav", "start": 2, "end": 1},
    {"path": ""},
    {"path": "f.wav", "start": -1, "end": 2},
    {"path": "g |"},
]


def expected_rows(table):
    folder = table.parent
    return [
        ("a.wav", f"{folder}/a.wav"),
        ("b é.wav:1-2.5", (f"{folder}/b é.wav", 1.0, 2.5)),
        ("key", f"{folder}/c.wav"),
        ("d.wav:soon-end", "start 'soon' is not a number of seconds"),
        ("e.wav:2-1", "ends at 1 s, but starts at 2 s"),
        (f"{table}:{6 if table.suffix == '.jsonl' else 7}", "has no path"),
        ("f.wav:-1-2", "start '-1' is not a number of seconds"),
        ("g |", "is a command, which is not run"),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_rows_of_tables(tmp_path, suffix):
    table = tmp_path / f"list{suffix}"
    if suffix == ".jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        mark = "," if suffix == ".csv" else "\t"
        names = ["end", "text", "path", "start", "id"]
        rows = [mark.join(str({"text": "t", **row}.get(name, "")) for name in names) for row in ROWS]
        table.write_text("\n".join([mark.join(names), *rows]) + "\n")
    assert found(table) == expected_rows(table)
    assert count_inputs([str(table)]) == len(ROWS)


def test_a_quote_in_csv_affects_only_its_line(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text('path,text\n"a, b.wav","say ""x"""\n"c.wav,open\nd.wav,"x" y\ne.wav,x\nf.wav\n')
    what = "not CSV: a quote is not closed, or text follows it"
    assert found(table) == [
        ("a, b.wav", f"{tmp_path}/a, b.wav"),
        (f"{table}:3", what),
        (f"{table}:4", what),
        ("e.wav", f"{tmp_path}/e.wav"),
        (f"{table}:6", "has 1 columns, but the first line has 2"),
    ]


def test_quotes_in_tsv_are_text(tmp_path):
    table = tmp_path / "list.tsv"
    table.write_text('path\ttext\na.wav\t"not closed\n"b ""1"".wav"\tx\n')
    assert found(table) == [("a.wav", f"{tmp_path}/a.wav"), ('b "1".wav', f'{tmp_path}/b "1".wav')]


def test_lines_that_are_no_objects(tmp_path):
    table = tmp_path / "list.jsonl"
    table.write_text('{"path": "a.wav"\n[1]\n' + 100_000 * "[" + '\n{"path": "b.wav"}\n')
    assert found(table) == [
        (f"{table}:1", "not JSON"),
        (f"{table}:2", "not a JSON object"),
        (f"{table}:3", "not JSON"),
        ("b.wav", f"{tmp_path}/b.wav"),
    ]


def test_a_row_with_a_start_alone_goes_to_the_end_of_the_recording(tmp_path):
    soundfile.write(tmp_path / "a.wav", beeps("low", 3 * RATE, 1), RATE)
    table = tmp_path / "list.csv"
    table.write_text("path,start\na.wav,1.5\na.wav,4\nnone.wav,1\n")
    assert found(table) == [
        ("a.wav:1.5-end", (f"{tmp_path}/a.wav", 1.5, 3.0)),
        ("a.wav:4-end", "ends at 3 s, but starts at 4 s"),
        ("none.wav:1-end", "does not exist"),
    ]


def test_a_list_that_is_missing_or_has_no_paths_is_one_error(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("file,text\na.wav,b\n")
    (tmp_path / "empty.csv").touch()
    assert found(table, tmp_path / "none.txt", tmp_path / "empty.csv", "a.wav") == [
        (f"{table}:1", "the first line has no column 'path'"),
        (f"{tmp_path}/none.txt", "does not exist"),
        ("a.wav", "a.wav"),
    ]


def test_a_line_without_end_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "LONGEST_LINE", 8)
    listed = tmp_path / "list.txt"
    listed.write_text("a.wav\n" + 100 * "x" + "\nb.wav\nseven77\n12345678\n" + 9 * "y")
    assert [key for key, _ in found(listed)] == [
        "a.wav",
        f"{listed}:2",
        "b.wav",
        "seven77",
        f"{listed}:5",
        f"{listed}:6",
    ]


def test_inputs_are_read_when_they_are_asked_for():
    """Nothing after the first input of a pipe is read before it is asked for."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", 0) as lines:
        inputs = read_inputs(["a.wav", "-"], stream)
        assert next(inputs).id == "a.wav"
        lines.write(b"b.wav\n")
        assert next(inputs).id == "b.wav"
