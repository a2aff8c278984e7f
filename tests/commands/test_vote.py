"""``lid vote``: one record for each input, whatever happens to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from data.corpus import write_set

from lid_toolkit.commands.main import dispatch
from lid_toolkit.errors import LidError

COMMON = ("--device", "cpu", "--vad", "none", "--min_seconds", "0", "--num_workers", "0")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return write_set(tmp_path / "some_set", 6, seed=4)


@pytest.fixture
def models(model_file: Path, tmp_path: Path) -> list[str]:
    """The same model under two names."""
    (tmp_path / "b").mkdir()
    os.link(model_file, tmp_path / "b" / model_file.name)
    return [str(model_file), str(tmp_path / "b")]


def test_one_record_for_each_input_also_for_broken_ones(models, speech, tmp_path, capsys):
    files = [str(path) for path in sorted((speech / "wav").iterdir())[:2]]
    files.insert(1, str(tmp_path / "none.wav"))
    with pytest.raises(SystemExit) as caught:
        dispatch(["vote", *files, *COMMON, "--top_k", "2", "--rule", "agree", "--models", *models])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [row["id"] for row in rows] == files
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert f"error: {files[1]}: does not exist" in printed.err
    for row in (rows[0], rows[2]):
        assert [ballot["model"] for ballot in row["models"]] == models
        assert {ballot["language"] for ballot in row["models"]} == {row["language"]}
        assert row["models"][0]["score"] == pytest.approx(row["score"])
        assert len(row["scores"]) == 2


def test_a_vote_equals_identification_if_the_models_are_the_same(models, speech, capsys):
    files = [str(path) for path in sorted((speech / "wav").iterdir())[:3]]
    dispatch(["identify", *files, *COMMON, "--model", models[0]])
    alone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    dispatch(["vote", *files, *COMMON, "--models", *models])
    for row, own in zip(capsys.readouterr().out.splitlines(), alone, strict=True):
        together = json.loads(row)
        assert together.pop("models")
        for name in ("scores", "score", "margin"):
            assert together.pop(name) == pytest.approx(own.pop(name))
        assert together == own


def test_output_and_resume(models, speech, tmp_path):
    output = tmp_path / "votes.jsonl"
    common = ["vote", str(speech), *COMMON, "--output", str(output)]
    dispatch([*common, "--models", *models])
    whole = output.read_text()
    output.write_text(whole[: len(whole) // 2])
    dispatch([*common, "--resume", "--models", *models])
    for row, before in zip(output.read_text().splitlines(), whole.splitlines(), strict=True):
        resumed, uninterrupted = json.loads(row), json.loads(before)
        assert (resumed["id"], resumed["language"]) == (uninterrupted["id"], uninterrupted["language"])
        assert resumed["score"] == pytest.approx(uninterrupted["score"], abs=1e-5)
    with pytest.raises(LidError, match="was written with another rule"):
        dispatch([*common, "--resume", "--rule", "agree", "--models", *models])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--output", "a.csv"), "the answers of the models need .jsonl"),
        (("--audio", "-"), "standard input can be read only once"),
        (("--languages", "low,tlh"), "the model does not know 'tlh'"),
    ],
)
def test_options_that_do_not_fit(models, speech, options, fault):
    with pytest.raises(LidError, match=fault):
        dispatch(["vote", str(speech), *COMMON, *options, "--models", *models])
    with pytest.raises(LidError, match="1 model: a vote needs two or more"):
        dispatch(["vote", str(speech), *COMMON, "--models", models[0]])
