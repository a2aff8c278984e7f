"""An imported model goes through stages 6 to 9 and calibration like a trained one."""

from __future__ import annotations

import json
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from commands import call
from data.corpus import vowel, write_set
from fastapi.testclient import TestClient
from importers.onnx_files import moments_model, write
from importers.sources import KINDS, SPOKEN, write_source, write_spoken
from importers.test_transformers_models import write_classifier
from serve.conftest import encoded

from lid_toolkit import languages
from lid_toolkit.commands.calibrate import main as calibrate
from lid_toolkit.datadir.tables.table import read_table, write_table
from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.locate import policy_of
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.serve.app import make_app
from lid_toolkit.serve.limits import Limits

IMPORT = "lid_toolkit.commands.import_model"
LOUDNESS = {"low": 0.05, "middle": 0.4, "high": 1.5}
LABELS = ["low", "middle", "high"]
FEWEST = 102
"""Utterances that a calibration needs, and as many of each language."""


def staged(model: Path, data: Path, out: Path) -> None:
    """Identify a formatted set with embeddings, score the answers, and draw the map: stages 6 to 8."""
    words = ("--model", model, "--data_dir", data, "--output_dir", out, "--extract_embd", "true")
    scored = ("--data_dir", data, "--inference_dir", out)
    for command, *options in (
        *(("infer", action, *words) for action in ("plan", "job", "merge")),
        ("score", *scored),
        ("plot_tsne", *scored, "--perplexity", 2, "--max_iter", 250),
    ):
        done = call(command, *options)
        assert done.returncode == 0, done.stderr


def answers_are_mostly_right(data: Path, out: Path) -> None:
    """Relabel a set with its answers, but every fifth one: random models know no languages."""
    answers = dict(read_table(out / f"{data.name}_lids"))
    labels = sorted({*answers.values(), *SPOKEN.values()})
    rows = [
        (key, answer if number % 5 else next(label for label in labels if label != answer))
        for number, (key, answer) in enumerate(sorted(answers.items()))
    ]
    write_table(data / "utt2lang", rows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_done_with_a_trained_model(kind, tmp_path, capsys):
    """Stages 6 to 9, calibration, the page, and the answers, which are those of the source everywhere."""
    source = write_source(kind, tmp_path)
    done = call(IMPORT, source, tmp_path / "exp")
    assert done.returncode == 0, done.stderr
    model = tmp_path / "exp" / "valid.accuracy.best.pth"
    assert done.stdout == f"{model}\n"
    data = write_spoken(tmp_path / "test", FEWEST)
    out = tmp_path / "exp" / "inference" / "valid.accuracy.best" / "test"
    staged(model, data, out)
    wave = vowel(1.0)
    asked = LanguageIdentifier.from_pretrained(source, "cpu")
    utterance, file = next(iter(read_table(data / "wav.scp")))
    first = asked.identify(file, policy=DecisionPolicy(min_seconds=0.0), vad="none")
    assert dict(read_table(out / "test_lids"))[utterance] == first.language
    results = json.loads((out / "results.json").read_text())
    assert (results["utterances"], results["failed"]) == (FEWEST, 0)
    assert (out / "tsne_plots" / "tsne.png").stat().st_size > 10_000
    embeddings = dict(kaldiio.load_scp(str(out / "embeddings.scp")))
    assert np.allclose(embeddings[utterance], asked.embed(file)[0], atol=1e-5)

    answers_are_mostly_right(data, out)
    calibrate(["--model", str(model.parent), "--data_dir", str(data), "--scores", str(out)])
    assert "temperature: scale" in capsys.readouterr().out
    package = tmp_path / "x.zip"
    words = ("--model", model, "--output", package, "--command", "lid import", "--inference_dirs", out)
    done = call("pack", *words)
    assert done.returncode == 2
    assert "the licence of " in done.stderr
    assert "is unknown: see its page (give --licence" in done.stderr
    done = call("pack", *words, "--licence", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    answers = [
        LanguageIdentifier.from_pretrained(each, "cpu", policy=DecisionPolicy())
        .identify(wave, vad="none")
        .scores
        for each in (source, tmp_path / "exp", package)
    ]
    assert answers[0] == answers[1] == answers[2]

    lid = LanguageIdentifier.from_pretrained(package, "cpu")
    page = TestClient(
        make_app(lid, lid.policy, kind, Limits(), ("localhost",)), base_url="http://localhost:8000"
    )
    assert all(languages.name(label) in page.get("/").text for label in asked.languages)
    answer = page.post("/identify?vad=none", content=encoded(wave)).json()
    assert answer["scores"] == pytest.approx(lid.identify(encoded(wave), vad="none").scores)


def test_calibration_and_policy(tmp_path, capsys):
    """A model that hears loudness, and languages that are spoken more or less loudly."""
    call(IMPORT, write(tmp_path, moments_model(3), LABELS), tmp_path / "exp")
    data = write_set(tmp_path / "held_out", 120)
    for name, label in dict(read_table(data / "utt2lang")).items():
        path = data / "wav" / f"{name}.wav"
        wave, rate = soundfile.read(path)
        soundfile.write(path, LOUDNESS[label] * wave, rate)
    calibrate(["--model", str(tmp_path / "exp"), "--data_dir", str(data)])
    assert f"stored in {tmp_path / 'exp' / 'policy.yaml'}" in capsys.readouterr().out
    assert policy_of(tmp_path / "exp").calibration.scale != 1
    lid = LanguageIdentifier.from_pretrained(tmp_path / "exp", "cpu")
    noise = np.random.default_rng(0).normal(size=16000).astype(np.float32) / 5
    record = lid.identify(noise, languages=["low", "middle"], vad="none")
    assert record.language == "middle"  # the loudest of these two


def test_a_training_is_not_replaced(tmp_path):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "checkpoint.pth").write_bytes(b"x")
    with pytest.raises(LidError, match="holds a training"):
        import_model(write(tmp_path, moments_model(3), LABELS), tmp_path / "exp")


def test_options_of_other_kinds_are_refused(tmp_path):
    source = write(tmp_path, moments_model(3), LABELS)
    with pytest.raises(LidError, match="lang2utt and model_file are for ESPnet's models"):
        import_model(source, tmp_path / "exp", model_file="x.pth")
    write_classifier(tmp_path / "theirs", "hubert")
    with pytest.raises(LidError, match="labels and rate are for ONNX models"):
        import_model(tmp_path / "theirs", tmp_path / "exp", rate=8000)


def test_the_options_of_earlier_versions_are_the_same_command(tmp_path):
    for words in (("--output_dir", tmp_path / "exp", "--source", tmp_path / "no"), (tmp_path / "no", "exp")):
        done = call("import_model", *words)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'no'}: does not exist")
