"""Export a model as one ONNX file, from waveforms to log posteriors and embeddings.

While a model is exported (:mod:`lid_toolkit.models.exporting`), its parts use operations that every runtime
has: spectra are matrix products, and every batch has masks. :mod:`lid_toolkit.package.onnx_format` describes
the file.

Shapes: b utterances, t samples, c languages, d embedding.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lid_toolkit
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.models.exporting import exporting
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.losses import CosineLoss
from lid_toolkit.package.licences import encoders, model_licence
from lid_toolkit.package.onnx_format import INPUTS, OUTPUTS, Cosines, OnnxRecord
from lid_toolkit.training.checkpoint import SavedModel

OPSET = 18
LARGEST = 2 * 10**9
"""Bytes of a protobuf message, and so of a file without a second one for its weights."""
UNWANTED = ("STFT", "DFT", "Loop", "If", "Scan")
"""Operations that mobile and embedded runtimes lack."""
EXAMPLE = (2, 1.5)
"""Number and seconds of the waveforms that are followed through the model. The graph takes any others."""
INSTALL = "pip install 'lid_toolkit[export]'"


class Exported(nn.Module):
    """A model as the graph computes it."""

    def __init__(self, model: LidModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return log posteriors (B, C) and L2-normalised embeddings (B, D) of waveforms (B, T)."""
        embedding_bd = self.model.embed(waveforms, lengths)
        return self.model.loss.logits(embedding_bd).log_softmax(dim=1), F.normalize(embedding_bd)


def write_onnx(saved: SavedModel, policy: Mapping[str, Any], model: str | None, output: Path) -> OnnxRecord:
    """Write a model as an ONNX file; return what the file says about it.

    Args:
        saved: the model, on the CPU.
        policy: content of its policy.
        model: digest of the model file; None if there is none.
        output: the file.

    Raises:
        LidError: what exports is not installed, or the model cannot be exported.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise LidError(f"{package} is not installed", where="lid export", mend=INSTALL)
    origin = encoders(saved.description)
    record = OnnxRecord(
        toolkit=lid_toolkit.__version__,
        languages=saved.languages,
        rate=saved.rate,
        embedding_size=saved.embedding_size,
        numbers="float32",
        policy=policy,
        licence=model_licence(saved.description),
        pretrained=tuple(encoder.name for encoder in origin),
        model=model,
        cosines=cosines_of(saved.model, len(saved.languages)),
    )
    write_graph(graph_of(saved, output), record, output)
    return record


def graph_of(saved: SavedModel, output: Path) -> Any:
    """Return the graph of a model, an ``onnx.ModelProto``.

    Raises:
        LidError: the model takes no waveforms, is too large, or has an operation that cannot be exported.
    """
    if saved.description.get("frontend") is None:
        what = "the model takes features, and an exported model takes waveforms"
        raise LidError(what, where=output, mend="train it with a frontend")
    if 4 * sum(weight.numel() for weight in saved.model.state_dict().values()) > LARGEST:
        raise LidError(f"more than {LARGEST:,} bytes", where=output, mend="use a smaller model")
    count, seconds = EXAMPLE
    lengths_b = torch.tensor([round(seconds * saved.rate), round(seconds * saved.rate / 2)])
    wave_bt = 0.1 * torch.randn(count, int(lengths_b[0]), generator=torch.Generator().manual_seed(0))
    any_size = torch.export.Dim.DYNAMIC
    shapes = {INPUTS[0]: {0: any_size, 1: any_size}, INPUTS[1]: {0: any_size}}
    try:
        with quiet(), exporting(), torch.no_grad():
            # In two steps, since torch.onnx alone would go on with fixed sizes where these are not possible.
            traced = torch.export.export(
                Exported(saved.model).eval(), (wave_bt, lengths_b), dynamic_shapes=shapes, strict=False
            )
            program = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=INPUTS,
                output_names=OUTPUTS,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # torch.onnx raises anything
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        parts = ", ".join(str(saved.description.get(kind)) for kind in ("frontend", "encoder", "pooling"))
        what = f"a model of {parts} cannot be exported: {reason[:200]}"
        raise LidError(what, where=output) from error
    assert program is not None
    graph = program.model_proto
    found = sorted({node.op_type for node in graph.graph.node} & set(UNWANTED))
    if found:
        what = f"{saved.description.get('frontend')} needs {', '.join(found)}, which other runtimes lack"
        raise LidError(what, where=output)
    return graph


def write_graph(graph: Any, record: OnnxRecord, output: Path) -> None:
    """Write a graph with its metadata, without names of files and lines of the machine that made it.

    Args:
        graph: an ``onnx.ModelProto``; it is changed.
        record: what the file says about the model.
        output: the file.
    """
    for item in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    for value in (*graph.graph.input, *graph.graph.output):
        value.ClearField("metadata_props")
    graph.producer_name, graph.producer_version = "lid_toolkit", record.toolkit
    for key, value in record.to_metadata().items():
        graph.metadata_props.add(key=key, value=value)
    with write_whole(output, "wb") as stream:
        stream.write(graph.SerializeToString(deterministic=True))


def cosines_of(model: LidModel, languages: int) -> Cosines | None:
    """Return the classifier of a model for normalised embeddings; None if it needs others."""
    if not isinstance(model.loss, CosineLoss):
        return None
    centres_sd = F.normalize(model.loss.weight.detach().float())
    return Cosines(float(model.loss.scale), centres_sd.numpy(), languages)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what torch says to its developers while it exports."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
