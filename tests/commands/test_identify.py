"""``lid identify``: a record for each recording, errors beside answers."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from data.corpus import LANGUAGES

from lid_toolkit.cli import run
from lid_toolkit.commands import identify as command
from lid_toolkit.commands import model as model_options
from lid_toolkit.commands.identify import main as identify
from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier

PLAIN = ("--device", "cpu", "--vad", "none")


class Terminal(io.StringIO):
    """A terminal, as a stream."""

    def isatty(self) -> bool:
        return True


def answers(model_file, words, capsys, code=0):
    """Run the command; return the records that it prints and the lines of its errors."""
    with pytest.raises(SystemExit) as left:
        run(identify, ["--model", str(model_file), *PLAIN, *words])
    assert left.value.code == code
    output = capsys.readouterr()
    return [json.loads(line) for line in output.out.splitlines()], output.err.splitlines()


def test_records_in_a_pipe_are_those_of_the_interface(model_file, recordings, capsys):
    rows, errors = answers(model_file, recordings, capsys)
    assert errors == []
    lid = LanguageIdentifier.from_pretrained(model_file, "cpu")
    expected = lid.identify(recordings, vad="none", top_k=3)
    assert rows == [
        {"id": path, **record.as_dict()} for path, record in zip(recordings, expected, strict=True)
    ]


def test_segments_are_in_the_records_if_asked_for(model_file, recordings, capsys):
    rows, _ = answers(model_file, recordings, capsys)
    assert [row["segments"] for row in rows] == [[]] * len(recordings)
    rows, _ = answers(model_file, [*recordings, "--segments"], capsys)
    assert [(part["start"], part["end"]) for row in rows for part in row["segments"]] == [(0, 0.5)] * 3


def test_columns_on_a_terminal(model_file, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    broken = str(tmp_path / "none.wav")
    with pytest.raises(SystemExit):
        identify(["--model", str(model_file), *PLAIN, "--top_k", "2", recordings[0], broken])
    first, second = sys.stdout.getvalue().splitlines()
    assert first.split()[-5] == "s"
    assert first.split()[-6] == "0.5"
    assert len(first.split()[-4:]) == 4
    assert " failed " in second
    assert second.endswith("does not exist (check the path)")


def test_json_lines_on_a_terminal_if_asked_for(model_file, recordings, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    identify(["--model", str(model_file), *PLAIN, "--json", recordings[0]])
    assert json.loads(sys.stdout.getvalue())["duration"] == 0.5


def test_pipes_of_a_shell_give_the_answers_of_their_files(model_file, recordings, tmp_path, capsys):
    """A pipe can be read only once, and ``<(…)`` and ``/dev/stdin`` have no suffix that names a format."""
    expected, _ = answers(model_file, recordings, capsys)
    os.mkfifo(tmp_path / "named")
    script = """
        cat "$2" >"$4" &
        "${@:5}" <(cat "$1") "$4" --audio - <"$3"
    """
    words = [sys.executable, "-m", "lid_toolkit.commands", "identify", "--model", str(model_file), *PLAIN]
    done = subprocess.run(
        ["bash", "-c", script, "bash", *recordings, str(tmp_path / "named"), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["id"] == "-"
    ordered = [expected[2], *expected[:2]]
    for row, other in zip(rows, ordered, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_paths_on_standard_input(model_file, recordings, capsys, monkeypatch):
    text = "".join(f"{path}\n" for path in recordings)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    rows, _ = answers(model_file, ["-"], capsys)
    assert [row["id"] for row in rows] == recordings


def test_every_failure_is_named_and_counted(model_file, recordings, tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    mixed = [recordings[0], str(tmp_path / "broken.wav"), *recordings[1:], str(tmp_path / "none.wav")]
    rows, errors = answers(model_file, mixed, capsys, code=2)
    assert [row["id"] for row in rows] == mixed
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok", "failed"]
    assert errors[0] == f"error: {tmp_path / 'broken.wav'}: {rows[1]['reason']}"
    assert errors[2] == "error: 2 of 5 recordings failed"


def test_options_of_the_policy_replace_those_of_the_file(model_file, recordings, tmp_path, capsys):
    policy = tmp_path / "policy.yaml"
    policy.write_text("candidates: [low, high]\nmin_score: 1.0\n")
    rows, _ = answers(model_file, ["--policy", str(policy), *recordings], capsys)
    assert all(set(row["scores"]) == {"low", "high"} for row in rows)
    assert [row["status"] for row in rows] == 3 * ["unknown"]
    words = ["--policy", str(policy), "--min_score", "0", "--languages", "low,middle"]
    rows, _ = answers(model_file, [*words, *recordings], capsys)
    assert all(row["status"] == "ok" and set(row["scores"]) == {"low", "middle"} for row in rows)


def test_priors_change_scores_by_their_ratio(model_file, recordings, capsys):
    (equal,), _ = answers(model_file, ["--languages", "low,high", recordings[0]], capsys)
    words = ["--languages", "low,high", "--prior", "low=0.8,high=0.2", recordings[0]]
    (row,), _ = answers(model_file, words, capsys)
    odds = [scores["low"] / scores["high"] for scores in (equal["scores"], row["scores"])]
    assert odds[1] == pytest.approx(4 * odds[0])


def test_windows_are_counted(model_file, recordings, capsys):
    rows, _ = answers(model_file, ["--window", "0.25", "--hop", "0.125", *recordings], capsys)
    assert [row["windows"] for row in rows] == 3 * [3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.wav", "--languages", "lo"], "lo"),
        (["a.wav", "--jason"], "unknown option --jason (did you mean '--json'?)"),
        (["a.wav", "--prior", "low"], "'low' is not LANGUAGE=PROBABILITY"),
        (["a.wav", "--prior", "low=2"], "'2' is not a number from 0 to 1"),
        (["a.wav", "--languages", ","], "the list is empty"),
        (["a.wav", "--resume"], "--resume needs --output"),
        (["a.wav", "--output", "answers.xlsx"], "unknown format '.xlsx'"),
        (["a.wav", "--threads", "0"], "threads"),
        (["a.wav", "--hop", "1"], "has no effect without window"),
        (["-", "--audio", "-"], "standard input is either a list or a recording"),
        ([], "INPUT"),
    ],
)
def test_wrong_options_are_one_line(model_file, words, message):
    with pytest.raises(LidError) as raised:
        identify(["--model", str(model_file), *PLAIN, *words])
    assert message in str(raised.value)


def test_a_name_too_long_for_a_file(model_file, capsys):
    name = 300 * "x"
    with pytest.raises(SystemExit):
        run(identify, ["--model", name, *PLAIN, "a.wav"])
    assert capsys.readouterr().err.startswith(f"error: {name}: ")
    rows, _ = answers(model_file, [name], capsys, code=2)
    assert rows[0]["reason"].startswith("File name too long")


def test_output_of_a_table(model_file, recordings, tmp_path, capsys):
    output = tmp_path / "answers.csv"
    rows, errors = answers(model_file, [*recordings, "--output", str(output)], capsys)
    assert rows == []
    assert re_rate(errors[-1]) == "identify: 3"
    with open(output, newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["id"] for row in table] == recordings
    assert all(json.loads(row["scores"])[row["language"]] == float(row["score"]) for row in table)
    with pytest.raises(LidError, match="exists"):
        identify(["--model", str(model_file), *PLAIN, *recordings, "--output", str(output)])


def re_rate(line: str) -> str:
    """Return what a line of progress says about the number of recordings, without their total."""
    return line.split(" recordings")[0].split("/")[0]


def test_the_model_is_named_by_the_environment_or_the_newest_experiment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LID_MODEL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(LidError, match="no model is named, and exp/ has no experiment"):
        model_options.default_model()
    for age, name in ((200, "exp/lid_a"), (100, "exp/corpus/lid_b"), (300, "exp/corpus/lid_c")):
        path = tmp_path / name / "valid.accuracy.best.pth"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (10_000 - age, 10_000 - age))
    assert model_options.default_model() == "exp/corpus/lid_b"
    assert capsys.readouterr().err == "model: exp/corpus/lid_b\n"
    monkeypatch.setenv("LID_MODEL", "other.zip")
    assert model_options.default_model() == "other.zip"


def test_nothing_large_is_imported_that_identification_does_not_need(model_file, recordings):
    """Each of these packages takes a noticeable part of the time that one recording takes."""
    script = """
import sys
from lid_toolkit.commands.identify import main
main(sys.argv[1:])
large = {"torch._dynamo", "sympy", "httpx2", "huggingface_hub", "transformers", "scipy", "pyarrow"}
print(sorted(large & sys.modules.keys()))
"""
    words = ["--model", str(model_file), *PLAIN, recordings[0]]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_threads_are_those_that_are_asked_for_or_the_cores_that_may_be_used(
    model_file, recordings, monkeypatch
):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(model_options, "count_cores", lambda: 5)
    common = ["--model", str(model_file), *PLAIN, recordings[0]]
    identify([*common, "--threads", "3"])
    identify(common)
    assert asked == [3, 5]


def test_processes_read_ahead_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(command, "count_cores", lambda: 3)
    assert command.workers_of(command.parsed(["a.wav"])) == 2
    assert command.workers_of(command.parsed(["a.wav", "--num_workers", "0"])) == 0


@pytest.mark.parametrize(("set_by_user", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_told_otherwise(set_by_user, policy):
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    variables |= {} if set_by_user is None else {"OMP_WAIT_POLICY": set_by_user}
    script = "import lid_toolkit, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [policy, "False"]


def test_all_languages_have_a_record(model_file, recordings, capsys):
    rows, _ = answers(model_file, [*recordings, "--top_k", "1"], capsys)
    assert all(list(row["scores"]) == [row["language"]] and row["language"] in LANGUAGES for row in rows)
