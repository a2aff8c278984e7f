"""Matrix products of an exported model in 8-bit integers, by onnxruntime's quantization.

Some products stay in float32, because they are a small part of the work and errors matter most there: the
spectrum and the mel filters, whose errors reach everything, and those whose results are exponentiated, which
are the classifier and the weights of attentive pooling. Weights get a scale for each output channel and use 7
of their 8 bits: x86 processors without VNNI add two products of 8-bit numbers in 16 bits, which 8-bit weights
would overflow.

Shapes: b utterances, t samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lid_toolkit.package.onnx_format import INPUTS, OnnxRecord
from lid_toolkit.package.onnx_write import quiet, write_graph

Int8 = Literal["dynamic", "static"]
PRODUCTS = ("MatMul", "Gemm", "Conv")
SOFTMAX = ("Softmax", "LogSoftmax")
LEAST_WEIGHTS = 4096
"""Products with fewer weights stay in float32: there is nothing to win."""


def quantize(
    path: Path, record: OnnxRecord, kind: Int8, waves: Sequence[npt.NDArray[np.float32]]
) -> OnnxRecord:
    """Replace an exported model by one whose large matrix products are in 8 bits.

    Args:
        path: the file, which is replaced.
        record: what it says about itself.
        kind: ``dynamic`` finds the range of the inputs of each product anew for each batch, ``static`` finds
            it once.
        waves: waveforms (samples,) for ``static``.

    Returns:
        What the new file says about itself.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="lid-") as name, quiet():
        ready, made = Path(name) / "ready.onnx", Path(name) / "made.onnx"
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        prepared = onnx.load(ready)
        names = products(prepared.graph)
        split_gemms(prepared.graph, names)
        chosen: dict[str, Any] = {"nodes_to_quantize": names, "per_channel": True, "reduce_range": True}
        onnx.save(prepared, ready)
        if kind == "dynamic":
            quantize_dynamic(ready, made, weight_type=QuantType.QInt8, **chosen)
        else:
            quantize_static(
                ready,
                made,
                Waves(waves),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                **chosen,
            )
        graph = onnx.load(made)
    changed = replace(record, numbers=f"int8 {kind}")
    del graph.metadata_props[:]
    write_graph(graph, changed, path)
    return changed


class Waves:
    """Gives onnxruntime the waveforms one by one."""

    def __init__(self, waves: Sequence[npt.NDArray[np.float32]]) -> None:
        self._waves: Iterator[npt.NDArray[np.float32]] = iter(waves)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """Return the inputs of the graph for the next waveform; None after the last."""
        wave = next(self._waves, None)
        if wave is None:
            return None
        return dict(zip(INPUTS, (wave[None], np.array([len(wave)])), strict=True))


def products(graph: Any) -> list[str]:
    """Return the names of the products of a graph that become 8-bit: those with many weights.

    Products before the first logarithm make the features. They and the exponentiated ones are left out.
    """
    sizes = {item.name: int(np.prod(item.dims)) for item in graph.initializer}
    nodes = list(graph.node)
    first = next((place for place, node in enumerate(nodes) if node.op_type == "Log"), 0)
    found = [node for node in nodes[first:] if node.op_type in PRODUCTS and node.input[1] in sizes]
    left_out = exponentiated(nodes)
    return [
        node.name for node in found if node.name not in left_out and sizes[node.input[1]] >= LEAST_WEIGHTS
    ]


def exponentiated(nodes: Sequence[Any]) -> set[str]:
    """Return the names of the products that a softmax reads, with no other product between."""
    makers = {name: node for node in nodes for name in node.output}
    waiting = [name for node in nodes if node.op_type in SOFTMAX for name in node.input]
    seen, found = set(waiting), set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in PRODUCTS:
            found.add(node.name)
            continue
        waiting += [name for name in node.input if name not in seen]
        seen.update(node.input)
    return found


def split_gemms(graph: Any, names: Collection[str]) -> None:
    """Replace ``Gemm``, x W' + b, by ``MatMul`` and ``Add``: only these are quantized dynamically.

    Args:
        graph: it is changed.
        names: the nodes to replace; others, and those with factors, stay.
    """
    from onnx import helper, numpy_helper

    weights = {item.name: item for item in graph.initializer}
    nodes = []
    for node in graph.node:
        settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA")
        if node.op_type != "Gemm" or node.name not in names or not plain:
            nodes.append(node)
            continue
        x, w, *bias = node.input
        if settings.get("transB", 0):
            turned = numpy_helper.from_array(numpy_helper.to_array(weights[w]).T.copy(), f"{w}_T")
            if turned.name not in weights:
                weights[turned.name] = turned
                graph.initializer.append(turned)
            w = turned.name
        product = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(helper.make_node("MatMul", [x, w], [product], node.name))
        if bias:
            nodes.append(helper.make_node("Add", [product, bias[0]], [node.output[0]], f"{node.name}_bias"))
    graph.ClearField("node")
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    graph.ClearField("initializer")
    graph.initializer.extend(kept)
