"""An imported model goes through stages 6 to 9 and calibration like a trained one."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import soundfile
from commands import call
from data.corpus import write_set
from importers.onnx_files import moments_model, write
from importers.test_transformers_models import write_classifier

from lid_toolkit.commands.calibrate import main as calibrate
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.locate import policy_of

IMPORT = "lid_toolkit.commands.import_model"
LOUDNESS = {"low": 0.05, "middle": 0.4, "high": 1.5}
LABELS = ["low", "middle", "high"]


def staged(model, data, out) -> None:
    """Identify a formatted set, score the answers, and draw the map: stages 6 to 8."""
    words = ("--model", model, "--data_dir", data, "--output_dir", out)
    for action in ("plan", "job", "merge"):
        done = call("infer", action, *words)
        assert done.returncode == 0, done.stderr
    done = call("score", "--data_dir", data, "--inference_dir", out)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["transformers", "onnx"])
def test_stages_and_packing(kind, tmp_path):
    if kind == "onnx":
        source = write(tmp_path, moments_model(3), LABELS)
    else:
        source = tmp_path / "theirs"
        write_classifier(source, "xlsr", id2label=dict(enumerate(LABELS)), label2id={})
    done = call(IMPORT, source, tmp_path / "exp")
    assert done.returncode == 0, done.stderr
    model = tmp_path / "exp" / "valid.accuracy.best.pth"
    assert done.stdout == f"{model}\n"
    data = write_set(tmp_path / "test", 6)
    out = tmp_path / "exp" / "inference" / "valid.accuracy.best" / "test"
    staged(model, data, out)
    assert len(read_table(out / "test_lids")) == 6
    assert json.loads((out / "results.json").read_text())["utterances"] == 6

    package = tmp_path / "x.zip"
    done = call("pack", "--model", model, "--output", package, "--command", "lid import")
    assert done.returncode == 0, done.stderr
    wave = np.random.default_rng(0).normal(size=16000).astype(np.float32) / 10
    answers = [
        LanguageIdentifier.from_pretrained(each, "cpu").identify(wave, vad="none").scores
        for each in (source, tmp_path / "exp", package)
    ]
    assert answers[0] == answers[1] == answers[2]
    with zipfile.ZipFile(package) as archive:
        assert "licence: other" in archive.read("meta.yaml").decode()


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
