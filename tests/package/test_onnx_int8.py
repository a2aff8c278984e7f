"""The products of a graph that become 8-bit, and the ones that do not."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lid_toolkit.package.onnx_format import OnnxRecord  # noqa: E402
from lid_toolkit.package.onnx_int8 import LEAST_WEIGHTS, products, quantize, split_gemms  # noqa: E402

SIZE = 64
assert SIZE * SIZE >= LEAST_WEIGHTS


def graph():
    """Return a graph of products: before the logarithm, two large, weights, a small one, a classifier."""
    draw = np.random.default_rng(0)
    weights = {
        "filters": draw.standard_normal((SIZE, SIZE)),
        "first": draw.standard_normal((SIZE, SIZE)),
        "bias": draw.standard_normal(SIZE),
        "second": draw.standard_normal((SIZE, SIZE)),
        "weigh": draw.standard_normal((SIZE, SIZE)),
        "small": draw.standard_normal((SIZE, 2)),
        "classes": draw.standard_normal((2, SIZE * SIZE)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "filters"], ["a"], "filters"),
        helper.make_node("Abs", ["a"], ["b"], "abs"),
        helper.make_node("Log", ["b"], ["c"], "log"),
        helper.make_node("Gemm", ["c", "first", "bias"], ["d"], "first", transB=1),
        helper.make_node("Gemm", ["d", "second"], ["e"], "second", alpha=0.5),
        helper.make_node("MatMul", ["e", "weigh"], ["scores"], "weigh"),
        helper.make_node("Tanh", ["scores"], ["bounded"], "tanh"),
        helper.make_node("Softmax", ["bounded"], ["weights"], "softmax"),
        helper.make_node("Mul", ["e", "weights"], ["pooled"], "mul"),
        helper.make_node("MatMul", ["pooled", "small"], ["f"], "small"),
        helper.make_node("MatMul", ["f", "classes"], ["logits"], "classes"),
        helper.make_node("LogSoftmax", ["logits"], ["y"], "log_softmax"),
    ]
    return helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, SIZE * SIZE])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )


def run(made, x):
    import onnxruntime

    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_features_small_products_and_what_is_exponentiated_stay():
    assert products(graph()) == ["first", "second"]


def test_a_gemm_becomes_a_product_and_a_sum_with_the_same_result():
    made = graph()
    x = np.random.default_rng(1).standard_normal((3, SIZE)).astype(np.float32)
    before = run(made, x)
    split_gemms(made, products(made))
    kinds = [node.op_type for node in made.node][:7]
    # the second one has a factor, so it stays
    assert kinds == ["MatMul", "Abs", "Log", "MatMul", "Add", "Gemm", "MatMul"]
    assert np.allclose(run(made, x), before, rtol=1e-4, atol=1e-3 * np.abs(before).max())
    assert "first" not in {item.name for item in made.initializer}  # no copy of its weights is left


def test_weights_use_seven_bits(tmp_path):
    """Without VNNI, two products are added in 16 bits: 2 * 255 * 127 is too large, 2 * 255 * 64 is not."""
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph(), opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    quantize(path, OnnxRecord("1", ("a", "b"), 16000, 2, "float32", {}, "other"), "dynamic", [])
    stored = [numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer]
    eight = [each for each in stored if each.dtype == np.int8 and each.ndim == 2]
    assert [np.abs(each.astype(int)).max() for each in eight] == [64]  # of the one without a factor
