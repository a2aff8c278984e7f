"""``lid identify``: a line for each recording, errors beside answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, beeps

from lid_toolkit.cli import run
from lid_toolkit.errors import LidError
from lid_toolkit.inference import command
from lid_toolkit.inference.command import identify


@pytest.fixture
def recordings(tmp_path):
    paths = []
    for language in LANGUAGES:
        paths.append(str(tmp_path / f"{language} é.wav"))
        soundfile.write(paths[-1], beeps(language, 8000, 1), RATE)
    return paths


def test_lines_for_people(model_file, recordings, capsys):
    identify(
        [
            "identify",
            "--model",
            str(model_file),
            "--device",
            "cpu",
            "--vad",
            "none",
            "--top_k",
            "2",
            *recordings,
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for path, line in zip(recordings, lines, strict=True):
        name, scores, duration = line.split("\t")
        assert name == path
        assert len(scores.split()) == 4
        assert duration == "0.50 s"


def test_pipes_of_a_shell_give_the_answers_of_their_files(model_file, recordings, tmp_path, capsys):
    """A pipe can be read only once, and ``<(…)`` and ``/dev/stdin`` have no suffix that names a format."""
    common = ["identify", "--model", str(model_file), "--device", "cpu", "--vad", "none", "--top_k", "3"]
    identify([*common, *recordings])
    expected = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()]
    os.mkfifo(tmp_path / "named")
    script = """
        cat "$2" >"$4" &
        "${@:5}" <(cat "$1") "$4" /dev/stdin <"$3"
    """
    words = [sys.executable, "-c", "from lid_toolkit.inference.command import main; main()", *common]
    done = subprocess.run(
        ["bash", "-c", script, "bash", *recordings, str(tmp_path / "named"), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[1:] for line in done.stdout.splitlines()] == expected


def test_lines_for_programs_and_a_broken_recording_among_good_ones(model_file, recordings, tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    mixed = [recordings[0], str(tmp_path / "broken.wav"), *recordings[1:], str(tmp_path / "none.wav")]
    with pytest.raises(SystemExit) as left:
        identify(
            [
                "identify",
                "--json",
                "--model",
                str(model_file.parent),
                "--device",
                "cpu",
                "--vad",
                "none",
                *mixed,
            ]
        )
    assert left.value.code == 2
    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert [answer["path"] for answer in answers] == recordings
    assert all(answer["language"] in LANGUAGES and answer["duration"] == 0.5 for answer in answers)
    errors = output.err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"error: {tmp_path / 'broken.wav'}: ")


def test_restricted_languages_and_an_unknown_one(model_file, recordings, capsys):
    common = ["identify", "--model", str(model_file), "--device", "cpu", "--vad", "none", *recordings]
    identify([*common, "--languages", "low,high"])
    assert "middle 0" not in capsys.readouterr().out
    with pytest.raises(LidError, match="does not know 'lo'"):
        identify([*common, "--languages", "lo"])
    with pytest.raises(LidError, match="unknown option --jason"):
        identify([*common, "--jason"])


def test_names_too_long_for_a_file(model_file, recordings, capsys):
    name = 300 * "x"
    for model, recording in ((name, recordings[0]), (str(model_file), name)):
        with pytest.raises(SystemExit) as left:
            run(identify, ["identify", "--model", model, "--device", "cpu", "--vad", "none", recording])
        assert left.value.code == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith(f"error: {name}: ")
        assert output.err.count("\n") == 1


def test_nothing_large_is_imported_that_identification_does_not_need(model_file, recordings):
    """Each of these packages takes a noticeable part of the time that one recording takes."""
    script = """
import sys
from lid_toolkit.inference.command import identify
identify(sys.argv[1:])
large = {"torch._dynamo", "sympy", "httpx2", "huggingface_hub", "transformers", "scipy"}
print(sorted(large & sys.modules.keys()))
"""
    words = ["identify", "--model", str(model_file), "--device", "cpu", "--vad", "none", recordings[0]]
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_threads_are_those_that_are_asked_for_or_the_cores_that_may_be_used(
    model_file, recordings, monkeypatch
):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(command, "count_cores", lambda: 5)
    common = ["identify", "--model", str(model_file), "--device", "cpu", "--vad", "none", recordings[0]]
    identify([*common, "--threads", "3"])
    identify(common)
    assert asked == [3, 5]
    with pytest.raises(LidError, match="threads"):
        identify([*common, "--threads", "0"])


@pytest.mark.parametrize(("set_by_user", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_told_otherwise(set_by_user, policy):
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    variables |= {} if set_by_user is None else {"OMP_WAIT_POLICY": set_by_user}
    script = "import lid_toolkit, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [policy, "False"]
