"""ONNX models from waveforms to scores: their answers here, and those that mean harm."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from importers.onnx_files import (
    FLOAT,
    bomb,
    external_tensor,
    field,
    model,
    moments_model,
    moments_scores,
    node,
    tensor,
    value_info,
    write,
)

from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.locate import open_model
from lid_toolkit.training.checkpoint import load_model


def waves() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [(generator.normal(size=n) * n / 60_000).astype(np.float32) for n in (16000, 9000, 4001)]


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("imported", [False, True])
def test_scores_are_those_of_the_graph_alone_and_in_a_batch(with_lengths, imported, tmp_path):
    source = write(tmp_path, moments_model(3, with_lengths))
    saved = load_model(import_model(source, tmp_path / "exp")) if imported else open_model(source)
    assert saved.languages == ("eng", "fra", "jav")
    batch = waves()
    padded = torch.nn.utils.rnn.pad_sequence([*map(torch.from_numpy, batch)], True, padding_value=5.0)
    scores, _ = saved.model.identify(padded, torch.tensor([*map(len, batch)]))
    expected = np.stack([moments_scores(wave, 3) for wave in batch])
    assert np.allclose(scores, expected, atol=1e-5)
    assert np.ptp(expected[:, 0]) > 0.5  # or nothing was compared


def test_the_identifier_takes_it(tmp_path):
    lid = LanguageIdentifier.from_pretrained(write(tmp_path, moments_model(3)), "cpu")
    wave = waves()[0]
    record = lid.identify(wave, vad="none")
    assert record.scores["jav"] == pytest.approx(np.exp(moments_scores(wave, 3)[2]), abs=1e-5)


def test_labels_and_rate_can_be_given(tmp_path):
    source = write(tmp_path, moments_model(2))
    other = tmp_path / "other.txt"
    other.write_text("German\nCzech\n\n")
    saved = load_model(import_model(source, tmp_path / "exp", labels=other, rate=8000))
    assert (saved.languages, saved.rate) == (("deu", "ces"), 8000)


@pytest.mark.parametrize("labels", [[], ["en"], ["en", "fr", "de", "cs"]])
def test_labels_that_do_not_fit(labels, tmp_path):
    source = write(tmp_path, moments_model(3), labels)
    with pytest.raises(LidError, match=r"fewer than two labels|gives \[1, 3\] scores, not \(B, 4\)"):
        open_model(source)


def test_labels_that_are_missing(tmp_path):
    source = write(tmp_path, moments_model(3))
    (tmp_path / "labels.txt").unlink()
    with pytest.raises(LidError, match="its labels are missing"):
        open_model(source)


def hostile() -> dict[str, tuple[bytes, str]]:
    """Return models that mean harm or are damaged, and what is said of them."""
    x, y = value_info("x", FLOAT, ["B", "T"]), value_info("y", FLOAT, ["B", 3])
    good = moments_model(3)

    def reading(place: str) -> bytes:
        return model([node("Add", ["x", "w"], ["y"])], [external_tensor("w", place)], [x], [y])

    bare = field(1, 2) + field(2, FLOAT) + field(8, "w") + field(14, 1)
    inner = field(5, external_tensor("w", "../../etc/passwd"))
    graph = field(1, node("If", ["x"], ["y"], field(1, "then_branch") + field(6, inner)))
    deep = b""
    for _ in range(60):
        deep = field(1, node("If", ["x"], ["y"], field(1, "then_branch") + field(6, deep)))
    return {
        "another file": (reading("../../../etc/passwd"), "its weights are in another file"),
        "a file beside it": (reading("labels.txt"), "its weights are in another file"),
        "another file without its name": (
            model([node("Add", ["x", "w"], ["y"])], [bare], [x], [y]),
            "its weights are in another file",
        ),
        "another file in a branch": (field(1, 8) + field(7, graph), "its weights are in another file"),
        "deep": (field(1, 8) + field(7, deep), "more than 30 levels"),
        "cut off": (good[: len(good) // 2], "not an ONNX model: a field is cut off"),
        "empty": (b"", "not an ONNX model: it has no graph"),
        "text": (b"hello", "not an ONNX model"),
        "an unknown operator": (
            model([node("Evil", ["x"], ["y"])], [], [x], [y]),
            "onnxruntime cannot load the model",
        ),
        "no waveform": (
            model(
                [node("Add", ["i", "i"], ["y"])], [], [value_info("i", 7, ["B"])], [value_info("y", 7, ["B"])]
            ),
            "has inputs tensor(int64), not a waveform",
        ),
        "a bomb": (bomb(), "is smaller than requested bytes of 17179869184"),
        "a tensor that lies about its size": (
            model([node("Add", ["x", "w"], ["y"])], [_lying()], [x], [y]),
            "onnxruntime cannot load the model",
        ),
    }


def _lying() -> bytes:
    honest = tensor("w", np.zeros(3, dtype=np.float32))
    return field(1, 2**40) + honest[len(field(1, 3)) :]


@pytest.fixture
def little_memory():
    """If the limit of memory failed, a bomb would fill the machine: 12 GiB more are all it could have."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 12 * 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", hostile())
def test_models_that_mean_harm_or_are_damaged(kind, tmp_path):
    content, message = hostile()[kind]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LidError) as caught:
        open_model(write(tmp_path, content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_file_that_is_too_large_or_a_link_out_is_not_read(tmp_path):
    source = write(tmp_path, b"")
    os.truncate(source, 2**31 + 1)
    with pytest.raises(LidError, match=r"x\.onnx is larger than 2,147,483,648 bytes"):
        open_model(source)


def test_an_experiment_of_it_is_whole(tmp_path):
    """The model file has the graph: the ONNX file may go."""
    source = write(tmp_path, moments_model(3))
    path = import_model(source, tmp_path / "exp")
    source.unlink()
    wave = torch.from_numpy(waves()[0])[None]
    scores, _ = load_model(path).model.identify(wave, torch.tensor([wave.shape[1]]))
    assert np.allclose(scores[0], moments_scores(waves()[0], 3), atol=1e-5)
    assert Path(path.parent / "config.yaml").exists()
