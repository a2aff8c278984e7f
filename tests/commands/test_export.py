"""``lid export``: what it prints, writes and refuses."""

from __future__ import annotations

import shutil

import pytest
import soundfile
from data.corpus import RATE, vowel

from lid_toolkit import LanguageIdentifier
from lid_toolkit.commands import export
from lid_toolkit.errors import LidError
from lid_toolkit.inference.policy import DecisionPolicy

pytest.importorskip("onnxscript", reason="onnxscript is not installed")


def test_a_model_in_int8_is_written_and_compared(model_file, tmp_path, capsys):
    (tmp_path / "speech").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / f"speech/{number}.wav", vowel(1.0 + number), RATE)
    out, speech = tmp_path / "out.onnx", str(tmp_path / "speech")
    export.main([str(model_file), str(out), "--format", "onnx", "--int8", "static", "--speech", speech])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("float32: ")
    assert "3 of 3 answers are equal" in lines[0]
    assert lines[1].startswith("int8 static: ")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.onnx"]
    lid = LanguageIdentifier.from_pretrained(out, "cpu")
    assert lid.identify(vowel(2.0), vad="none").language in lid.languages


def test_a_model_that_differs_is_not_written(model_file, tmp_path, monkeypatch):
    """The comparison stands between the temporary file and the output."""
    from lid_toolkit.package import onnx_check

    def write(_saved, _policy, _model, output):
        output.write_bytes(b"")
        return onnx_check

    found = onnx_check.Agreement(6, 5, 4, 4, 0.01, 0.99)
    monkeypatch.setattr(onnx_check, "compare", lambda *_: found)
    monkeypatch.setattr(onnx_check, "numbers", "float32", raising=False)
    monkeypatch.setattr("lid_toolkit.package.onnx_write.write_onnx", write)
    monkeypatch.setattr("lid_toolkit.inference.onnx_backend.open_session", lambda _path: None)
    with pytest.raises(LidError, match="the exported model differs: 5 of 6"):
        export.main([str(model_file), str(tmp_path / "out.onnx"), "--format", "onnx"])
    assert not list(tmp_path.iterdir())


def test_espnet_is_written(model_file, tmp_path, capsys):
    export.main([str(model_file), str(tmp_path / "theirs"), "--format", "espnet"])
    assert "an experiment of ESPnet" in capsys.readouterr().out
    ours, theirs = (
        LanguageIdentifier.from_pretrained(path, "cpu") for path in (model_file, tmp_path / "theirs")
    )
    wave = vowel(2.0)
    assert theirs.identify(wave, vad="none").scores == pytest.approx(ours.identify(wave, vad="none").scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["out.txt", "--format", "onnx"], r"must end in \.onnx"),
        (["out.onnx", "--format", "onnx", "--int8", "static"], "--int8 static needs --speech"),
        (["out", "--format", "espnet", "--int8", "dynamic"], "are for --format onnx"),
        (["out.onnx", "--format", "onnx", "--speech", "nothing"], "nothing"),
        (["out.onnx", "--format", "torchscript"], "invalid choice"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(
    model_file, tmp_path, monkeypatch, options, message, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((LidError, SystemExit), match=None) as raised:
        export.main([str(model_file), *options])
    said = f"{raised.value} {capsys.readouterr().err}"
    import re

    assert re.search(message, said)
    assert not list(tmp_path.iterdir())


def test_a_policy_with_a_language_that_the_model_lacks_is_refused(model_file, tmp_path):
    model = tmp_path / "exp" / model_file.name
    model.parent.mkdir()
    shutil.copy(model_file, model)
    DecisionPolicy(candidates=("zul", "xho")).to_yaml(model.parent / "policy.yaml")
    with pytest.raises(LidError, match=r"policy: .*zul"):
        export.main([str(model), str(tmp_path / "out.onnx"), "--format", "onnx"])
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]
