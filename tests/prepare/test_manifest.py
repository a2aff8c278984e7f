"""Columns under other names, other separators, and the layouts of public collections."""

from __future__ import annotations

import json

import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.prepare.columns import parse_columns
from lid_toolkit.prepare.manifest import manifests_of, read_folder, read_manifest


def items_of(tmp_path, name, text, columns=""):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8-sig")
    found = list(read_manifest(path, parse_columns(columns)))
    return [(item.path.removeprefix(f"{tmp_path}/"), item.language, item.speaker) for item in found]


@pytest.mark.parametrize(
    "head",
    ["file,lang,spk", "audio,locale,client_id", "FileName,Label,Speaker_ID", "file_name,language,speaker"],
)
@pytest.mark.parametrize(("name", "mark"), [("m.csv", ","), ("m.csv", ";"), ("m.csv", "\t"), ("m.tsv", "\t")])
def test_usual_names_and_separators(tmp_path, head, name, mark):
    text = f"{head}\na.wav,de,ann b\n\nb.wav,fr,\n".replace(",", mark)
    assert items_of(tmp_path, name, text) == [("a.wav", "de", "ann_b"), ("b.wav", "fr", "")]


def test_quoted_semicolons_and_commas_inside(tmp_path):
    text = 'path;text;language\n"a;b,c.wav";"one, two; three";de\n'
    assert items_of(tmp_path, "m.csv", text) == [("a;b,c.wav", "de", "")]


def test_columns_of_any_name(tmp_path, caplog):
    text = "take;tongue;who;path\na.wav;de;ann;x\n"
    columns = "path=take, language=tongue,speaker=who"
    assert items_of(tmp_path, "m.csv", text, columns) == [("a.wav", "de", "ann")]
    assert "ignored unknown fields: path" in caplog.text
    row = json.dumps({"take": "a.wav", "language": "de", "who": 7})
    assert items_of(tmp_path, "m.jsonl", row, "path=take,speaker=who") == [("a.wav", "de", "7")]


def test_the_name_of_the_field_has_priority(tmp_path):
    text = "path,file,language,label\na.wav,b.wav,de,fr\n"
    assert items_of(tmp_path, "m.csv", text) == [("a.wav", "de", "")]


@pytest.mark.parametrize(
    ("name", "text", "columns", "fault"),
    [
        (
            "m.csv",
            "file,audio,lang\na,b,de\n",
            "",
            r"m\.csv:1: both 'file' and 'audio' may be the path \(say which",
        ),
        ("m.csv", "file,lang\na,de\n", "speaker=who", r"m\.csv:1: has no column 'who'"),
        (
            "m.csv",
            "recording,lang\na,de\n",
            "",
            r"has no column 'path' \(name the column of the path: columns path",
        ),
        ("m.csv", "file,tongue\na,de\n", "", "has no column 'language'"),
        ("m.jsonl", '{"file": "a", "lang": "de"}', "speaker=who", r"m\.jsonl: no row has 'who'"),
        ("m.jsonl", '{"audio": {"path": "a"}, "lang": "de"}', "", r"m\.jsonl:1: the path is not a text"),
        ("m.jsonl", '{"file": "a"}', "", r"m\.jsonl:1: has no language"),
        ("m.csv", "", "speakr=who", r"unknown field 'speakr' \(did you mean 'speaker'\?\)"),
        ("m.csv", "", "speaker", "'speaker' is not FIELD=COLUMN"),
        ("m.csv", "", "id=a,id=b", "field 'id' is given twice"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, name, text, columns, fault):
    with pytest.raises(LidError, match=fault):
        items_of(tmp_path, name, text, columns)


def test_audiofolder_of_hugging_face(tmp_path):
    for name, text in (
        ("metadata.csv", "file_name,language,speaker_id\nde/a.wav,de,7\n"),
        ("metadata.jsonl", json.dumps({"file_name": "de/a.wav", "language": "de", "speaker_id": 7})),
    ):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(text)
        assert [(i.path, i.language, i.speaker) for i in read_folder(folder)] == [
            (f"{folder}/de/a.wav", "de", "7")
        ]
    (folder / "metadata.csv").write_text("file_name,language\n")
    with pytest.raises(LidError, match=r"has both metadata\.csv and metadata\.jsonl"):
        list(read_folder(folder))


def test_other_files_of_that_name_are_no_layout(tmp_path):
    (tmp_path / "metadata.csv").write_text("title,year\n")
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff")
    (tmp_path / "validated.tsv").write_text("client_id\tpath\tlocale\n")
    assert manifests_of(tmp_path) == []


def test_common_voice(tmp_path):
    """Its tables name files of ``clips/``; a folder may have several languages."""
    head = "client_id\tpath\tsentence\tup_votes\tlocale\n"
    for language in ("de", "fr"):
        (tmp_path / language / "clips").mkdir(parents=True)
        row = f'x{language}\tcv_{language}_1.mp3\t"Ach\t2\t{language}\n'
        (tmp_path / language / "validated.tsv").write_text(head + row)
    expected = [(f"{tmp_path}/{code}/clips/cv_{code}_1.mp3", code, f"x{code}") for code in ("de", "fr")]
    assert [(i.path, i.language, i.speaker) for i in read_folder(tmp_path)] == expected
    one = list(read_folder(tmp_path / "fr"))
    assert [(i.path, i.language, i.speaker) for i in one] == expected[1:]
