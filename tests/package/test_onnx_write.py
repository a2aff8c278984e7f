"""Exported models of every kind: in padded batches of any size, they are the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models.combinations import CLASSES, ENCODERS
from models.pretrained_encoders import save_tiny

from lid_toolkit.errors import LidError
from lid_toolkit.inference.onnx_backend import open_session
from lid_toolkit.models.build import build_model, with_architecture
from lid_toolkit.package.onnx_check import compare
from lid_toolkit.package.onnx_format import read_record
from lid_toolkit.package.onnx_write import UNWANTED, cosines_of, graph_of, write_onnx
from lid_toolkit.training.checkpoint import SavedModel

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

LABELS = ("eng", "fra", "fin")
# Seconds at 16 kHz: shorter than a window of the spectrum, and so that batches of four are padded a lot.
LENGTHS = (0.01, 3.1, 0.4, 1.7, 0.9, 2.2)
PARTS = {
    "frontend": "default",
    "frontend_conf": {"n_fft": 400, "hop_length": 160, "n_mels": 24},
    "normalize": "utterance_mvn",
    "normalize_conf": {"norm_vars": True},
    "projector": "rawnet3",
    "projector_conf": {"output_size": 8},
    "loss": "aamsoftmax_sc_topk",
    "loss_conf": {"K": 2},
}


def waves() -> list[np.ndarray]:
    """Return noise whose loudness changes, of several lengths."""
    draw = np.random.default_rng(0)
    sizes = [round(16000 * seconds) for seconds in LENGTHS]
    return [(np.linspace(0.02, 0.3, size) * draw.standard_normal(size)).astype(np.float32) for size in sizes]


def made(description) -> SavedModel:
    """Return a model in evaluation mode whose statistics are those of noise."""
    torch.manual_seed(3)
    model = build_model(description, CLASSES).train()
    for _ in range(3):
        model.embed(0.1 * torch.randn(8, 16000), torch.full((8,), 16000))
    return SavedModel(model.eval(), LABELS, 16000, with_architecture(description, model.frontend))


def check(saved, path) -> None:
    record = write_onnx(saved, {}, "digest", path)
    found = compare(saved.model, open_session(path, 1), waves())
    # float32's rounding: probabilities agree to 1e-5, and the gate is 1e-3
    assert found.is_exact, found
    assert found.difference < 1e-4
    assert (read_record(path).languages, record.rate) == (LABELS, 16000)
    graph = onnx.load(path)
    assert not {node.op_type for node in graph.graph.node} & set(UNWANTED)
    assert str(path.parent).encode() not in path.read_bytes()
    assert b"lid_toolkit/models" not in path.read_bytes(), "no names of source files"


def test_ecapa_is_the_model_in_every_batch(tmp_path):
    check(
        made({**PARTS, "encoder": "ecapa_tdnn", "encoder_conf": ENCODERS["ecapa_tdnn"]} | POOLED),
        tmp_path / "m.onnx",
    )


POOLED = {"pooling": "chn_attn_stat"}
OTHERS = ("xvector", "rawnet3", "ska_tdnn", "mfaconformer")


@pytest.mark.slow
@pytest.mark.parametrize("encoder", OTHERS)
def test_other_encoders_are_the_model_in_every_batch(encoder, tmp_path):
    """Their poolings count the frames of the features, as those of imported models of ESPnet do."""
    pooled = {**POOLED, "pooling_conf": {"mean_over": "features"}}
    check(
        made({**PARTS, "encoder": encoder, "encoder_conf": ENCODERS[encoder]} | pooled), tmp_path / "m.onnx"
    )


@pytest.mark.slow
def test_a_pretrained_encoder_is_the_model_in_every_batch(tmp_path):
    conf = {"path_or_url": str(save_tiny(tmp_path, "xlsr"))}
    parts = {
        **PARTS,
        "frontend": "transformers",
        "frontend_conf": conf,
        "normalize": None,
        "encoder": "identity",
    }
    check(made({**parts, "normalize_conf": {}, "pooling": "stats"}), tmp_path / "m.onnx")


@pytest.mark.slow
def test_whisper_is_refused(tmp_path):
    conf = {"path_or_url": str(save_tiny(tmp_path, "whisper"))}
    parts = {
        **PARTS,
        "frontend": "transformers",
        "frontend_conf": conf,
        "normalize": None,
        "encoder": "identity",
    }
    with pytest.raises(LidError, match="a model of transformers, identity, stats cannot be exported"):
        graph_of(made({**parts, "normalize_conf": {}, "pooling": "stats"}), tmp_path / "m.onnx")


def test_a_model_of_features_is_refused(tmp_path):
    description = {"frontend": None, "input_size": 24, "encoder": "identity", "pooling": "stats"}
    saved = SavedModel(
        build_model({**PARTS, **description, "frontend_conf": {}}, 3).eval(), LABELS, 16000, description
    )
    with pytest.raises(LidError, match="takes features"):
        graph_of(saved, tmp_path / "m.onnx")


@pytest.mark.parametrize("loss", ["aamsoftmax_sc_topk", "softmax"])
def test_the_classifier_of_cosines_is_the_models(loss):
    parts = {**PARTS, "encoder": "identity", "pooling": "stats", "loss": loss, "loss_conf": {}}
    model = build_model(parts, 3).eval()
    cosines = cosines_of(model, 3)
    assert cosines is not None
    embedding_bd = torch.randn(5, 8)
    expected = model.loss.logits(embedding_bd).log_softmax(dim=1).detach().numpy()
    assert np.allclose(cosines.log_posteriors(embedding_bd.numpy()), expected, atol=1e-5)
    linear = build_model({**parts, "loss": "linear_softmax", "loss_conf": {}}, 3)
    assert cosines_of(linear, 3) is None
