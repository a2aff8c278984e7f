"""The products of a graph that become 8-bit, and the ones that do not."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lid_toolkit.package.onnx_int8 import LEAST_WEIGHTS, products, split_gemms  # noqa: E402

SIZE = 64
assert SIZE * SIZE >= LEAST_WEIGHTS


def graph():
    """Return a graph: a product before the logarithm, two large ones, a small one, and a classifier."""
    draw = np.random.default_rng(0)
    weights = {
        "filters": draw.standard_normal((SIZE, SIZE)),
        "first": draw.standard_normal((SIZE, SIZE)),
        "bias": draw.standard_normal(SIZE),
        "second": draw.standard_normal((SIZE, SIZE)),
        "small": draw.standard_normal((SIZE, 2)),
        "classes": draw.standard_normal((2, SIZE * SIZE)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "filters"], ["a"], "filters"),
        helper.make_node("Abs", ["a"], ["b"], "abs"),
        helper.make_node("Log", ["b"], ["c"], "log"),
        helper.make_node("Gemm", ["c", "first", "bias"], ["d"], "first", transB=1),
        helper.make_node("Gemm", ["d", "second"], ["e"], "second", alpha=0.5),
        helper.make_node("MatMul", ["e", "small"], ["f"], "small"),
        helper.make_node("MatMul", ["f", "classes"], ["y"], "classes"),
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


def test_features_the_classifier_and_small_products_stay():
    assert products(graph()) == ["first", "second"]


def test_a_gemm_becomes_a_product_and_a_sum_with_the_same_result():
    made = graph()
    x = np.random.default_rng(1).standard_normal((3, SIZE)).astype(np.float32)
    before = run(made, x)
    split_gemms(made, products(made))
    kinds = [node.op_type for node in made.node]
    # the second one has a factor, so it stays
    assert kinds == ["MatMul", "Abs", "Log", "MatMul", "Add", "Gemm", "MatMul", "MatMul"]
    assert np.allclose(run(made, x), before, rtol=1e-4, atol=1e-3 * np.abs(before).max())
    assert "first" not in {item.name for item in made.initializer}  # no copy of its weights is left
