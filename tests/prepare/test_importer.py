"""People's own recordings become data directories, and what is wrong with them is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from audio.encode import encoded

from lid_toolkit.datadir.datadir import read_data_dir
from lid_toolkit.errors import LidError
from lid_toolkit.prepare.importer import import_data
from lid_toolkit.prepare.manifest import read_folder, read_manifest

RATE = 8000


def record(path, seconds=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)), RATE)
    return path


def manifest(tmp_path, *rows, name="list.jsonl"):
    path = tmp_path / name
    if name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def imported(tmp_path, items, **options):
    settings = {"iso639": True, "max_failed": 0.0, "source": tmp_path} | options
    return import_data(items, tmp_path / "data" / "set", **settings)


def tables(tmp_path):
    data = read_data_dir(tmp_path / "data" / "set")
    return {name: dict(table) for name, table in data.tables.items()}


def test_a_folder_for_each_language(tmp_path, caplog):
    folder = tmp_path / "möi n"
    first, second = record(folder / "en/Ann's tape/1 a.wav"), record(folder / "iw/b.flac")
    (folder / "iw/notes.txt").write_text("x")
    (folder / "iw/.hidden.wav").write_text("x")
    done = imported(tmp_path, read_folder(folder))
    made = tables(tmp_path)
    assert made["wav.scp"] == {"eng_Ann-s-tape-1-a": str(first), "heb_b": str(second)}
    assert made["utt2lang"] == {"eng_Ann-s-tape-1-a": "eng", "heb_b": "heb"}
    assert made["utt2spk"] == {"eng_Ann-s-tape-1-a": "en-Ann's_tape", "heb_b": "heb_b"}
    assert set(made) == {"wav.scp", "utt2lang", "utt2spk"}
    assert "the speaker of 1 utterances is not known" in caplog.text
    assert "skipped 1 files that are not audio, e.g." in caplog.text
    assert dict(done.utt2lang) == made["utt2lang"]
    assert done.seconds_u.tolist() == [2.0, 2.0]


def test_folders_below_a_language_need_not_be_speakers(tmp_path):
    record(tmp_path / "c/de/part1/a.wav")
    imported(tmp_path, read_folder(tmp_path / "c", speakers=False))
    assert set(tables(tmp_path)) == {"wav.scp", "utt2lang"}


def test_a_folder_with_a_format_that_libsndfile_cannot_read(tmp_path):
    path = tmp_path / "folder/fra/a.M4A"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded("ipod", "aac", np.full((1, 2 * RATE), 0.1, np.float32), RATE))
    done = imported(tmp_path, read_folder(tmp_path / "folder"))
    assert list(tables(tmp_path)["wav.scp"].values()) == [str(path)]
    assert done.seconds_u.tolist() == [2.0]


def test_a_manifest_with_parts_ids_and_whole_recordings(tmp_path):
    long, whole = record(tmp_path / "x/long.wav", 5.0), record(tmp_path / "whole.wav")
    path = manifest(
        tmp_path,
        {"path": "x/long.wav", "language": "fra", "start": 1, "end": 2.5},
        {"path": "x/long.wav", "language": "en", "start": 2.5, "end": 5.02, "id": "mine"},
        {"path": str(whole), "language": "Turkish", "end": None},
    )
    done = imported(tmp_path, read_manifest(path))
    made = tables(tmp_path)
    whole_key = next(key for key in made["utt2lang"] if key.startswith("tur_"))
    assert made["utt2lang"] == {"fra_x-long-1000-2500": "fra", "mine": "eng", whole_key: "tur"}
    recording = whole_key.removeprefix("tur_")
    assert made["wav.scp"] == {"x-long": str(long), recording: str(whole)}
    assert made["segments"] == {
        "fra_x-long-1000-2500": "x-long 1.000000 2.500000",
        "mine": "x-long 2.500000 -1",
        whole_key: f"{recording} 0.000000 -1",
    }
    assert list(done.utt2lang.keys()) == ["fra_x-long-1000-2500", "mine", whole_key]
    assert done.seconds_u.tolist() == pytest.approx([1.5, 2.5, 2.0])


@pytest.mark.parametrize(("name", "mark"), [("list.csv", ","), ("list.TSV", "\t")])
def test_csv_and_tsv_from_a_spreadsheet(tmp_path, name, mark, caplog):
    record(tmp_path / "a,b.wav")
    rows = ("language,path,speaker,start,end,id", 'deu,"a,b.wav",ann,,,u1', 'deu,"a,b.wav",ann,0.5,1,u2')
    path = tmp_path / name
    text = "\r\n".join(row.replace(",", mark).replace(f"a{mark}b", "a,b") for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    imported(tmp_path, read_manifest(path))
    assert tables(tmp_path)["segments"] == {"u1": "a-b 0.000000 -1", "u2": "a-b 0.500000 1.000000"}
    assert tables(tmp_path)["utt2spk"] == {"u1": "ann", "u2": "ann"}
    assert "ignored unknown fields" not in caplog.text


def test_labels_of_one_s_own_stay_when_asked(tmp_path):
    record(tmp_path / "c/Zürich German/a.wav")
    with pytest.raises(LidError, match=r"unknown language .Zürich German..*set iso639 to false"):
        imported(tmp_path, read_folder(tmp_path / "c"))
    imported(tmp_path, read_folder(tmp_path / "c"), iso639=False)
    assert set(tables(tmp_path)["utt2lang"].values()) == {"Zürich_German"}


FAULTS = [
    ({"path": "no.wav", "language": "deu"}, "does not exist"),
    ({"path": "empty.wav", "language": "deu"}, "empty file"),
    ({"path": "cut.wav", "language": "deu"}, "truncated"),
    ({"path": "ok.wav", "language": "deu", "end": 3}, "ends at 3 s, but the recording ends at 2.000 s"),
    ({"path": "ok.wav", "language": "deu", "start": 2}, "starts at 2 s, but the recording ends at 2.000 s"),
    ({"path": "echo x |", "language": "deu"}, "is a command"),
]


@pytest.mark.parametrize(("row", "fault"), FAULTS)
def test_what_cannot_be_used_is_left_out_within_the_limit(tmp_path, row, fault):
    whole = record(tmp_path / "ok.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:-1000])
    (tmp_path / "empty.wav").touch()
    good = [{"path": "ok.wav", "language": "deu", "id": f"u{number}"} for number in range(9)]
    path = manifest(tmp_path, *good, {**row, "id": "bad"})
    with pytest.raises(LidError, match=r"1 of 10 utterances cannot be used.*raise max_failed"):
        imported(tmp_path, read_manifest(path))
    assert not (tmp_path / "data").exists()
    imported(tmp_path, read_manifest(path), max_failed=0.1)
    assert "bad" not in tables(tmp_path)["utt2lang"]
    failed = (tmp_path / "data/set/failed").read_text()
    assert failed.startswith(f"bad {path}:10: ")
    assert fault in failed
    imported(tmp_path, read_manifest(manifest(tmp_path, *good)))
    assert not (tmp_path / "data/set/failed").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"path": "a.wav"}', r":1: has no language"),
        ('\n{"path": "a.wav", "language": "deu", "start": "x"}', r":2: start 'x' is not a number of seconds"),
        ('{"path": "a.wav", "language": "deu", "start": -1}', "start '-1' is not"),
        ('{"path": "a.wav", "language": "deu", "end": NaN}', "end 'nan' is not"),
        ('{"path": "a.wav", "language": "deu", "start": 2, "end": 1}', "ends at 1 s, but starts at 2 s"),
        ('{"path": "a.wav", "language": "deu", "id": "a b"}', "id 'a b' contains a space"),
        ('{"path": "a.wav", "language": "klingonese"}', r":1: unknown language 'klingonese'"),
        ('["a.wav", "deu"]', "not a JSON object"),
        ("a.wav deu", "not JSON"),
        ("", "contains no recordings"),
    ],
)
def test_a_faulty_row_is_named(tmp_path, text, fault):
    record(tmp_path / "a.wav")
    path = tmp_path / "list.jsonl"
    path.write_text(text)
    with pytest.raises(LidError, match=fault):
        imported(tmp_path, read_manifest(path))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("list.csv", b"paht,language\n", r"csv:1: has no column 'path' \(did you mean 'paht'\?\)"),
        ("list.csv", b"path,language\na.wav\n", r"csv:2: has \d columns, but the first line has 2"),
        ("list.csv", b"path,language\na.wav,deu,x\n", r"csv:2: has \d columns, but the first line has 2"),
        ("list.csv", b'path,language\n"a.wav,deu\n', "not CSV"),
        ("list.csv", b"", "has no column 'path'"),
        ("list.csv", b"path,language\n\xff,deu\n", "not UTF-8"),
        ("list.xlsx", b"", r"'\.xlsx' is not supported \(use \.csv, \.tsv or \.jsonl\)"),
    ],
)
def test_a_faulty_manifest_is_named(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LidError, match=fault):
        list(read_manifest(tmp_path / name))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(LidError, match="does not exist"):
        list(read_manifest(tmp_path / "no.csv"))
    with pytest.raises(LidError, match="does not exist"):
        list(read_folder(tmp_path / "no"))
    record(tmp_path / "c/a.wav")
    with pytest.raises(LidError, match=r"c/a\.wav: is not in a folder of a language"):
        list(read_folder(tmp_path / "c"))


def test_two_utterances_with_one_id_are_refused(tmp_path):
    record(tmp_path / "a.wav")
    row = {"path": "a.wav", "language": "deu", "id": "same"}
    with pytest.raises(LidError, match="duplicate key 'same'"):
        imported(tmp_path, read_manifest(manifest(tmp_path, row, row)))


def test_recordings_of_similar_names_stay_apart(tmp_path):
    names = ("x-1-2.wav", "x-1.wav", "x/1.wav", "a.flac", "a.wav", "###.wav", "***.wav")
    rows = [{"path": name, "language": "deu", "id": f"u{n}", "end": 1} for n, name in enumerate(names)]
    for row in rows:
        record(tmp_path / row["path"])
    made = []
    for order in (rows, rows[::-1]):
        imported(tmp_path, read_manifest(manifest(tmp_path, *order)))
        made.append(tables(tmp_path))
    assert made[0] == made[1]
    recordings = {key: segment.split()[0] for key, segment in made[0]["segments"].items()}
    paths = {key: made[0]["wav.scp"][recording] for key, recording in recordings.items()}
    assert paths == {row["id"]: str(tmp_path / row["path"]) for row in rows}
    assert {recordings["u1"], recordings["u2"]} == {"x-1", "x-1-3"}


@pytest.mark.parametrize("path", [".", "/", ".."])
def test_a_path_without_a_name_is_a_fault(tmp_path, path):
    record(tmp_path / "a.wav")
    rows = [{"path": name, "language": "deu"} for name in ("a.wav", path)]
    with pytest.raises(LidError, match=r"1 of 2 utterances cannot be used, e.g. .*: is a directory"):
        imported(tmp_path, read_manifest(manifest(tmp_path, *rows)))


def rows_of(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return [(item.name, item.language, item.where.rpartition(":")[2]) for item in read_manifest(path)]


def test_quotes_in_a_tsv_are_text(tmp_path):
    """Common Voice does not quote: a sentence may open a quote that it never closes."""
    text = (
        'path\tlanguage\tsentence\na.wav\ten\t"never closed here\nb.wav\tde\tfine\n\nc.wav\tfr\tends with"\n'
    )
    rows = [("a.wav", "en", "2"), ("b.wav", "de", "3"), ("c.wav", "fr", "5")]
    assert rows_of(tmp_path, "m.tsv", text) == rows


def test_a_csv_swallows_no_row_and_names_the_right_line(tmp_path):
    head = "path,language,sentence\n"
    said = head + 'a.wav,en,"two\nlines, he said ""no"""\n\nb.wav,de,x\n'
    assert rows_of(tmp_path, "m.csv", said) == [("a.wav", "en", "2"), ("b.wav", "de", "5")]
    said = head + 'a.wav,en,"one, two,\nthree, four, five.\nsix, seven, eight, nine"\nb.wav,de,x\n'
    assert rows_of(tmp_path, "m.csv", said) == [("a.wav", "en", "2"), ("b.wav", "de", "5")]
    for text, line in (
        (head + 'a.wav,en,"not closed\nb.wav,de,fine\nc.wav,fr,ends"\n', 2),
        (head + 'a.wav,en,"not closed\nb.MP3,de,ends"\n', 2),
        (head + 'a.raw16,en,"not closed\nb.raw16,de,ends"\n', 2),
        (head + 'a,en,"not closed\nb,de,ends"\n', 2),
        (head + '"a.wav,en,x\nb.wav",de,ends\n', 2),
        ('language,sentence,path\nen,"not closed,a.wav\nde,ends",b.wav\n', 2),
        ('language,path,sentence\nen,a.wav,"not closed\nde,b.wav,ends"\n', 2),
        (head + 'a.wav,en,x\nb.wav,de,"not closed\nc.wav,fr,fine\n', 3),
        (head + 'a.wav,en,"two\nlines"\nb.wav,de\n', 4),
        (head + 'a.wav,en,"two\nlines",x\n', 2),
        ("path,language,path\na.wav,en,b.wav\n", 1),
    ):
        with pytest.raises(LidError, match=rf"m\.csv:{line}: "):
            rows_of(tmp_path, "m.csv", text)
