"""What docs/identify.md and the README show runs as written, on recordings and models of these names."""

from __future__ import annotations

import importlib
import io
import json
import shlex
import shutil
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import RATE, vowel
from inference.conftest import DESCRIPTION

from lid_toolkit import LanguageIdentifier
from lid_toolkit.commands.main import dispatch, find
from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("deu", "eng", "fin", "fra", "tur")
TEXT = (ROOT / "docs" / "identify.md").read_text()
LINES = [
    line.strip()
    for line in (TEXT + (ROOT / "README.md").read_text()).replace("\\\n", "").splitlines()
    if line.startswith(("    lid ", "    ffmpeg "))
]
PYTHON = [block.partition("```")[0] for block in TEXT.split("```python\n")[1:]]
MODELS = ("exp/a/lid_one", "exp/b/lid_other", "exp/mini/lid_mini_ecapa_raw")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the documentation names."""
    root = tmp_path_factory.mktemp("documented")
    (root / "recordings").mkdir()
    for name in ("a.wav", "b.flac", "recordings/c.wav"):
        soundfile.write(root / name, vowel(4.5), RATE)
    soundfile.write(root / "meeting.wav", vowel(12.0), RATE)
    (root / "list.csv").write_text("path,start,end\na.wav,0.5,2\n")
    with tarfile.open(root / "shard.tar", "w") as shard:
        shard.add(root / "a.wav", "d.wav")
    torch.manual_seed(5)
    model = build_model(DESCRIPTION, len(LABELS))
    for name in MODELS:
        (root / name).mkdir(parents=True)
        best = root / name / "valid.accuracy.best.pth"
        save_model(best, model.state_dict(), DESCRIPTION, LABELS, RATE)
    shutil.copy(best, root / "model.pth")
    return root


def test_something_is_documented():
    assert len(LINES) >= 13
    assert len(PYTHON) == 3


@pytest.mark.parametrize("line", LINES)
def test_a_command_runs(line, folder, monkeypatch, capsys, tmp_path):
    """A pipe gets the samples that its first program would write; a zip stands for any model."""
    words = shlex.split(line.rpartition("| ")[2].replace("model.zip", "model.pth"))
    if "--data_dir" in words:  # needs a hundred utterances; tests/commands/test_calibrate.py runs it
        module = importlib.import_module(f"lid_toolkit.commands.{find('calibrate').module}")
        assert module.make_parser().parse_args(words[2:]).data_dir
        return
    shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    samples = np.round(vowel(6.0) * 32767).astype("<i2").tobytes()
    stream = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(samples)), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stream)
    dispatch(words[1:])
    printed = capsys.readouterr().out
    for option in ("--output", "--picture"):
        if option in words:
            assert Path(words[words.index(option) + 1]).stat().st_size > 0
    if "--output" not in words and words[1] in ("identify", "vote", "segment"):
        texts = [printed] if words[1] == "segment" else printed.splitlines()
        records = [json.loads(text) for text in texts]
        inputs = {
            "lid identify a.wav b.flac": ["a.wav", "b.flac"],
            "lid vote recordings/": ["recordings/c.wav"],
        }
        expected = next((ids for start, ids in inputs.items() if line.startswith(start)), None)
        assert expected is None or [record["id"] for record in records] == expected
        assert {record["status"] for record in records} == {"ok"}


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_runs(number, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {"lid": LanguageIdentifier.from_pretrained(MODELS[-1], "cpu")}
    names["chunks"] = np.array_split(vowel(6.0)[::2], 7)
    exec(compile(PYTHON[number], "docs/identify.md", "exec"), names)
    assert capsys.readouterr().out
