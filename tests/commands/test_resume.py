"""``lid identify --resume``: a run that was ended at any moment gives the records of one that was not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from identify_faults import differences, faults, read, write_inputs

from lid_toolkit.commands.identify import main
from lid_toolkit.errors import LidError
from lid_toolkit.files import locked
from lid_toolkit.inference.outputs import journal
from lid_toolkit.inference.outputs.journal import Journal

INPUTS, ONE_IN = 84, 5


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in", INPUTS, ONE_IN)


def identify(model_file: Path, words: list[str], output: Path, *more: str) -> object:
    """Run the command in this process; return its exit code."""
    common = ["--model", str(model_file), "--device", "cpu", "--vad", "none", "--num_workers", "0"]
    try:
        main([*words, *common, "--output", str(output), *more])
    except SystemExit as end:
        return end.code
    return 0


def ended_after(monkeypatch, count: int) -> None:
    """Have the next run end with the record after ``count``, whose line is torn."""
    add = Journal.add
    added = []

    def add_or_end(self, row):
        if len(added) == count:
            self._stream.write(json.dumps(row)[:20].encode())
            self._stream.flush()
            raise KeyboardInterrupt
        added.append(row)
        add(self, row)

    monkeypatch.setattr(Journal, "add", add_or_end)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_ended_twice_and_continued(model_file, inputs, tmp_path, monkeypatch, capsys, suffix):
    words, broken = inputs
    straight, output = tmp_path / f"straight{suffix}", tmp_path / f"answers{suffix}"
    assert identify(model_file, words, straight) == 2
    named = sorted(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    for count, more in ((20, ()), (45, ("--resume",))):
        with monkeypatch.context() as patch:
            ended_after(patch, count)
            with pytest.raises(KeyboardInterrupt):
                identify(model_file, words, output, *more)
    capsys.readouterr()
    assert identify(model_file, words, output, "--resume") == 2
    errors = sorted(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert errors == named
    records = [path if suffix == ".jsonl" else records_of(path) for path in (straight, output)]
    assert faults(read(records[0]), INPUTS, broken) == []
    assert differences(read(records[1]), read(records[0])) == []
    assert len(named) == len(broken) + 1
    if suffix == ".csv":
        columns = [
            [line.split(",")[:4] for line in path.read_text().splitlines()] for path in (straight, output)
        ]
        assert columns[0] == columns[1]
        assert len(columns[0]) == INPUTS + 1


def records_of(output: Path) -> Path:
    return output.parent / ".done" / output.name / "records.jsonl"


def test_a_complete_run_is_not_done_again(model_file, inputs, tmp_path, monkeypatch):
    words, _ = inputs
    output = tmp_path / "answers.jsonl"
    identify(model_file, words, output)
    content = output.read_bytes()
    monkeypatch.setattr(Journal, "add", None)
    assert identify(model_file, words, output, "--resume") == 2
    assert output.read_bytes() == content


def test_other_inputs_settings_or_no_records_are_refused(model_file, inputs, tmp_path):
    words, _ = inputs
    output = tmp_path / "answers.jsonl"
    identify(model_file, words, output)
    with pytest.raises(
        LidError, match=r"answers\.jsonl: input 1 was 'u000000', and now it is '.*/000000\.wav'"
    ):
        identify(model_file, words[::-1], output, "--resume")
    with pytest.raises(LidError, match=f"input {INPUTS * 3 // 4 + 1} was .*, and now there is none"):
        identify(model_file, words[:1], output, "--resume")
    with pytest.raises(LidError, match=r"written with another policy and top_k"):
        identify(model_file, words, output, "--resume", "--top_k", "1", "--min_score", "0.1")
    with pytest.raises(LidError, match="exists"):
        identify(model_file, words, output)
    table = tmp_path / "answers.csv"
    table.write_text("id\n")
    with pytest.raises(LidError, match="records are lost"):
        identify(model_file, words, table, "--resume")
    (tmp_path / ".done/answers.jsonl/settings.json").unlink()
    with pytest.raises(LidError, match="settings are lost"):
        identify(model_file, words, output, "--resume")
    output.write_text('{"id": 3}\n')
    (tmp_path / ".done/answers.jsonl/settings.json").write_text("{}")
    assert output.read_text() == '{"id": 3}\n'


def test_more_inputs_at_the_end_are_identified(model_file, inputs, tmp_path):
    words, broken = inputs
    output = tmp_path / "answers.jsonl"
    identify(model_file, words[:1], output)
    identify(model_file, words, output, "--resume")
    assert faults(read(output), INPUTS, broken) == []


def test_a_second_run_is_refused(model_file, inputs, tmp_path):
    words, _ = inputs
    output = tmp_path / "answers.jsonl"
    with locked(tmp_path / ".done/answers.jsonl", "identification"):
        with pytest.raises(LidError, match=r"in use: identification .*choose another output"):
            identify(model_file, words, output)
        assert identify(model_file, words, tmp_path / "others.jsonl") == 2


def test_a_line_that_is_no_record_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    for line in (b"3\n", b'{"id": 3, "status": "ok"}\n', b'{"id": "a"}\n', b"\xff\n"):
        path.write_bytes(line)
        with open(path, "ab") as stream, pytest.raises(LidError, match=r"a\.jsonl:1: is not a record"):
            list(Journal(path, stream).rows())


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"", b""), (b"torn", b""), (b"a\n", b"a\n"), (b"a\nb\ntorn", b"a\nb\n"), (b"a\n" + 9 * b"x", b"a\n")],
)
def test_torn_lines_are_cut(tmp_path, monkeypatch, content, kept):
    monkeypatch.setattr(journal, "BLOCK", 4)
    path = tmp_path / "a"
    path.write_bytes(content)
    journal._drop_torn_line(path)
    assert path.read_bytes() == kept


def test_records_are_on_the_disk_after_seconds(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(journal.os, "fsync", synced.append)
    monkeypatch.setattr(journal, "SYNC_S", 0.0)
    with open(tmp_path / "a.jsonl", "ab") as stream:
        Journal(tmp_path / "a.jsonl", stream).add({"id": "a", "status": "ok"})
    assert len(synced) == 1
