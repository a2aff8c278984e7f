"""Exported models in onnxruntime: the answers of PyTorch, without PyTorch."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data.corpus import RATE
from without_torch import BLOCK_TORCH

from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.steps import digest
from lid_toolkit.training.checkpoint import load_model

pytest.importorskip("onnxscript", reason="onnxscript is not installed")

ROOT = Path(__file__).resolve().parents[2]
LARGEST_INSTALLATION = 150 * 10**6
POLICY = DecisionPolicy(calibration=Calibration(scale=0.5), min_score=0.4, fallback="low")
ANSWERS = (
    BLOCK_TORCH
    + """import json
from lid_toolkit import LanguageIdentifier
lid = LanguageIdentifier.from_pretrained(sys.argv[1], "cpu")
print(json.dumps([record.as_dict() for record in lid.identify(sys.argv[2:], vad="energy")]))
"""
)


@pytest.fixture(scope="module")
def experiment(model_file, tmp_path_factory) -> Path:
    """An experiment directory with a model, its policy, and the exported model."""
    from lid_toolkit.package.onnx_write import write_onnx

    directory = tmp_path_factory.mktemp("exported")
    best = directory / "valid.accuracy.best.pth"
    best.write_bytes(model_file.read_bytes())
    POLICY.to_yaml(directory / "policy.yaml")
    write_onnx(load_model(best), POLICY.to_mapping(), digest(best), directory / "model.onnx")
    return directory


@pytest.fixture(scope="module")
def both(experiment) -> tuple[LanguageIdentifier, LanguageIdentifier]:
    ours = LanguageIdentifier.from_pretrained(experiment, "cpu", threads=1)
    return ours, LanguageIdentifier.from_pretrained(experiment, "cpu", threads=1, backend="onnx")


def vowel(pitch: float, samples: int) -> np.ndarray:
    """Return a tone with overtones that comes and goes four times a second, in some noise.

    Without noise, the spectrum between the overtones would be rounding errors, whose logarithms differ.
    """
    times_t = np.arange(samples) / RATE
    overtones = sum(np.sin(2 * np.pi * pitch * n * times_t) / n for n in (1, 2, 3))
    noise = 0.003 * np.random.default_rng(samples).standard_normal(samples)
    return (0.2 * overtones * (0.6 + 0.4 * np.sin(8 * np.pi * times_t)) + noise).astype(np.float32)


def recordings() -> list[np.ndarray]:
    """Return vowels from a tenth of a second to 12 s, and noise."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    seconds = (0.35, 12.0, 1.0, 0.1, 4.2, 2.0)
    return [*(vowel(300 + 200 * n, int(RATE * s)) for n, s in enumerate(seconds)), noise]


def test_answers_are_those_of_torch(both):
    ours, theirs = both
    assert (theirs.languages, theirs.rate, theirs.policy) == (ours.languages, ours.rate, ours.policy)
    assert theirs.policy == POLICY
    for batch_size in (1, 4):
        for one, other in zip(
            ours.identify(recordings(), batch_size, vad="none"),
            theirs.identify(recordings(), batch_size, vad="none"),
            strict=True,
        ):
            assert (other.status, other.language, other.reason) == (one.status, one.language, one.reason)
            assert list(other.scores) == list(one.scores)
            # float32's rounding in two orders of summation
            assert other.scores == pytest.approx(one.scores, abs=1e-5)
    assert {record.status for record in theirs.identify(recordings(), vad="none")} >= {"ok", "too_short"}


def test_windows_segments_and_streams_work(both):
    wave = np.concatenate([vowel(300, 6 * RATE), vowel(1400, 6 * RATE)])
    one, other = (lid.identify(wave, vad="none", segments=True) for lid in both)
    assert len(other.segments) == len(one.segments) > 0
    assert [part.language for part in other.segments] == [part.language for part in one.segments]
    found = [[update.language for update in lid.stream(vad="none").follow([wave])] for lid in both]
    assert found[0] == found[1]
    assert found[0]


def test_embeddings_are_those_of_torch_and_can_be_classified(both):
    ours, theirs = both
    embeddings = theirs.embed(recordings())
    assert np.allclose(embeddings, ours.embed(recordings()), atol=1e-5)
    for one, other in zip(
        ours.classify_embedding(embeddings), theirs.classify_embedding(embeddings), strict=True
    ):
        assert other.scores == pytest.approx(one.scores, abs=1e-5)
    assert theirs.classify_embedding(embeddings[0]).scores == pytest.approx(
        theirs.classify_embedding(embeddings)[0].scores, abs=1e-6
    )
    for lid in both:
        with pytest.raises(LidError, match=r"shape \(3,\) is not supported"):
            lid.classify_embedding([1.0, 2.0, 3.0])
    assert theirs.embed([]).shape == (0, embeddings.shape[1])


def test_no_torch_is_imported(both, tmp_path):
    """The answers are those of a process with torch, in one where it cannot be imported."""
    import soundfile

    files = []
    for number, wave in enumerate(recordings()):
        files.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(files[-1], wave, RATE)
    model = f"{both[1].origin.source}/model.onnx"
    command = [sys.executable, "-c", ANSWERS, model, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    here = [record.as_dict() for record in both[1].identify(files, vad="energy")]
    for one, other in zip(here, json.loads(done.stdout), strict=True):
        assert (other["status"], other["language"]) == (one["status"], one["language"])
        assert other["scores"] == pytest.approx(one["scores"], abs=1e-6)


@pytest.mark.slow
def test_an_environment_without_torch_identifies(both, tmp_path):
    """``pip install lid_toolkit[onnx]`` is all that is needed: small, and without torch."""
    import soundfile

    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "lid_toolkit", tmp_path / "lid_toolkit", ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    install = [python, "-m", "pip", "install", "-q", f"{tmp_path}[onnx]"]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"pip cannot install: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (packages,) = tmp_path.glob("venv/lib/python*/site-packages")
    assert not (packages / "torch").exists()
    others = ("numpy", "onnxruntime", "pip", "setuptools", "pkg_resources")
    parts = [path for path in packages.iterdir() if not path.name.startswith(others)]
    files = [file for part in parts for file in (part, *part.rglob("*")) if file.is_file()]
    assert sum(file.stat().st_size for file in files) < LARGEST_INSTALLATION
    soundfile.write(tmp_path / "a.wav", recordings()[2], RATE)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", ANSWERS, f"{both[1].origin.source}/model.onnx", str(tmp_path / "a.wav")]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (answers,) = done.stdout.splitlines()
    expected = both[1].identify(recordings()[2], vad="energy")
    assert json.loads(answers)[0]["scores"] == pytest.approx(expected.scores, abs=1e-3)  # 16 bits in the file
    command = [str(tmp_path / "venv/bin/lid"), "identify", "--model", "exp/x.pth", str(tmp_path / "a.wav")]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "torch is not installed" in done.stderr


def test_a_pickled_copy_loads_the_same_model(both):
    copy = pickle.loads(pickle.dumps(both[1]))
    wave = vowel(700, RATE)
    assert copy.identify(wave).scores == both[1].identify(wave).scores


def test_an_exported_model_of_another_model_is_refused(experiment, tmp_path):
    for file in experiment.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "valid.accuracy.best.pth").read_bytes())
    content[-1] ^= 1
    (tmp_path / "valid.accuracy.best.pth").write_bytes(content)
    with pytest.raises(LidError, match="was exported from another model than valid"):
        LanguageIdentifier.from_pretrained(tmp_path, "cpu", backend="onnx")
    LanguageIdentifier.from_pretrained(tmp_path / "model.onnx", "cpu")  # the file alone is what was asked for


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat16"}, "dtype: is not possible with backend onnx"),
        ({"torch_compile": True}, "torch_compile: is not possible"),
        ({"external": ("numpy",)}, "external: is not possible"),
        ({"revision": "main"}, "only repositories on the Hub have revisions"),
        ({"device": "tpu"}, "'tpu' is not supported"),
        ({"device": "cuda:7"}, "has no CUDA"),
        ({"threads": 0}, "must be at least 1"),
        ({"backend": "tensorflow"}, "'tensorflow' is not supported"),
        ({"backend": "torch"}, "PyTorch does not compute ONNX files"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(experiment, options, message):
    with pytest.raises(LidError, match=message):
        LanguageIdentifier.from_pretrained(experiment / "model.onnx", **{"device": "cpu", **options})


def test_what_is_no_exported_model_is_refused(experiment, model_file, tmp_path):
    def load(path: Path) -> None:
        LanguageIdentifier.from_pretrained(path, "cpu", backend="onnx")

    with pytest.raises(LidError, match="does not exist"):
        load(tmp_path / "no.onnx")
    with pytest.raises(LidError, match="is not an ONNX file"):
        load(model_file)
    with pytest.raises(LidError, match="does not exist"):
        load(tmp_path)  # a directory without model.onnx
    content = (experiment / "model.onnx").read_bytes()
    for name, damaged in {"empty": b"", "text": b"hello" * 99, "half": content[: len(content) // 2]}.items():
        (tmp_path / f"{name}.onnx").write_bytes(damaged)
        with pytest.raises(LidError, match="not an ONNX model"):
            load(tmp_path / f"{name}.onnx")
