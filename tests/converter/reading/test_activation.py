"""What a graph ends in: found in the forms that exporters write, and true of what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.reading.activation import Maker, activation_of
from converter.reading.exported_model import read_export
from converter.reading.onnx_graph import read_graph

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

Node = tuple[str, list[str], dict[str, Any]]


def node(kind: str, *inputs: str, **attributes: Any) -> Node:
    return kind, list(inputs), attributes


SOFTMAX = node("Softmax", "x", axis=1)
EXP = node("Exp", "x")
SUM = node("ReduceSum", "0", "one", keepdims=1)

# name -> (what is found, operators; a number is the result of that operator, x the logits)
ENDINGS: dict[str, tuple[str, list[Node]]] = {
    "softmax": ("softmax", [SOFTMAX]),
    "softmax identity": ("softmax", [SOFTMAX, node("Identity", "0")]),
    "softmax reshape squeeze": (
        "softmax",
        [SOFTMAX, node("Unsqueeze", "0", "two"), node("Squeeze", "1", "two")],
    ),
    "softmax cast": ("softmax", [SOFTMAX, node("Cast", "0", to=11), node("Cast", "1", to=1)]),
    "softmax quantized": (
        "softmax",
        [SOFTMAX, node("QuantizeLinear", "0", "step"), node("DequantizeLinear", "1", "step")],
    ),
    "softmax clip": ("softmax", [SOFTMAX, node("Clip", "0", "low", "high")]),
    "softmax dropout": ("softmax", [SOFTMAX, node("Dropout", "0")]),
    "softmax transposed twice": (
        "softmax",
        [SOFTMAX, node("Transpose", "0", perm=[1, 0]), node("Transpose", "1", perm=[1, 0])],
    ),
    "softmax over the batch": ("none", [node("Softmax", "x", axis=0)]),
    "exp of log-softmax": ("softmax", [node("LogSoftmax", "x", axis=1), node("Exp", "0")]),
    "exp over its sum": ("softmax", [EXP, SUM, node("Div", "0", "1")]),
    "exp over its sum, shifted": (
        "softmax",
        [
            node("ReduceMax", "x", axes=[1], keepdims=1),
            node("Sub", "x", "0"),
            node("Exp", "1"),
            node("ReduceSum", "2", "one", keepdims=1),
            node("Div", "2", "3"),
        ],
    ),
    "exp by the reciprocal of its sum": (
        "softmax",
        [EXP, SUM, node("Reciprocal", "1"), node("Mul", "2", "0")],
    ),
    "sigmoid shares": (
        "softmax",
        [
            node("Sigmoid", "x"),
            node("ReduceL1", "0", axes=[1], keepdims=1),
            node("Clip", "1", "low"),
            node("Expand", "2", "shape"),
            node("Div", "0", "3"),
        ],
    ),
    "exp over the sum of something else": (
        "none",
        [EXP, node("ReduceSum", "x", "one", keepdims=1), node("Div", "0", "1")],
    ),
    "logits over their sum": (
        "none",
        [node("ReduceSum", "x", "one", keepdims=1), node("Div", "x", "0")],
    ),
    "mean of two softmaxes": (
        "softmax",
        [SOFTMAX, node("Softmax", "double", axis=1), node("Mean", "0", "1")],
    ),
    "mean of views": (
        "softmax",
        [
            SOFTMAX,
            node("Unsqueeze", "0", "two"),
            node("Concat", "1", "1", axis=2),
            node("ReduceMean", "2", axes=[2], keepdims=0),
        ],
    ),
    "sum of two softmaxes": ("none", [SOFTMAX, SOFTMAX, node("Add", "0", "1")]),
    "sigmoid": ("sigmoid", [node("Sigmoid", "x"), node("Flatten", "0")]),
    "hard sigmoid": ("sigmoid", [node("HardSigmoid", "x")]),
    "two heads": (
        "sigmoid",
        [SOFTMAX, node("Softmax", "double", axis=1), node("Concat", "0", "1", axis=1)],
    ),
    "p and 1 - p": (
        "sigmoid",
        [node("Sigmoid", "x"), node("Sub", "unit", "0"), node("Concat", "1", "0", axis=1)],
    ),
    "gated": ("sigmoid", [SOFTMAX, node("Sigmoid", "x"), node("Mul", "0", "1")]),
    "softmax gates features": ("none", [SOFTMAX, node("Mul", "0", "x")]),
    "softmax times a number": ("none", [SOFTMAX, node("Mul", "0", "hundred")]),
    "softmax times one": ("softmax", [SOFTMAX, node("Mul", "unit", "0")]),
    "softmax plus nothing": ("softmax", [SOFTMAX, node("Add", "0", "zero")]),
    "softmax less nothing": ("softmax", [SOFTMAX, node("Sub", "0", "zero")]),
    "softmax by one": ("softmax", [SOFTMAX, node("Div", "0", "unit")]),
    "one by softmax": ("none", [SOFTMAX, node("Div", "unit", "0")]),
    "log-softmax": ("log_softmax", [node("LogSoftmax", "x", axis=1), node("Flatten", "0")]),
    "log of softmax": ("log_softmax", [SOFTMAX, node("Log", "0")]),
    "log of softmax, written out": (
        "log_softmax",
        [node("ReduceLogSumExp", "x", axes=[1], keepdims=1), node("Sub", "x", "0")],
    ),
    "log of softmax, all of it written out": (
        "log_softmax",
        [EXP, SUM, node("Log", "1"), node("Sub", "x", "2")],
    ),
    "log of sigmoid": ("log_sigmoid", [node("Sigmoid", "x"), node("Log", "0")]),
    "logits": ("none", [node("Add", "x", "x")]),
    "relu": ("none", [node("Relu", "x")]),
    "tanh": ("none", [node("Tanh", "x")]),
}


def write(path: Path, operators: list[Node]) -> None:
    """A graph of `x` [N, 3] and 2x; the result is that of the last operator."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "step": np.array(1 / 256, np.float32),
        "low": np.array(1e-7, np.float32),
        "high": np.array(1 - 1e-7, np.float32),
        "hundred": np.array(100, np.float32),
        "unit": np.array(1, np.float32),
        "zero": np.array(0, np.float32),
        "shape": np.array([1, 3], np.int64),
    }
    nodes = [helper.make_node("Add", ["x", "x"], ["double"])]
    for number, (kind, inputs, attributes) in enumerate(operators):
        last = number == len(operators) - 1
        nodes.append(helper.make_node(kind, inputs, ["out" if last else str(number)], **attributes))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["N", None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))


@pytest.mark.parametrize("name", ENDINGS)
def test_what_an_onnx_graph_ends_in(tmp_path: Path, name: str) -> None:
    expected, operators = ENDINGS[name]
    write(tmp_path / "net.onnx", operators)
    assert read_graph(tmp_path / "net.onnx").activations == (expected,)
    logits = np.random.default_rng(3).normal(0, 4, (5, 3)).astype(np.float32)
    session = ort.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    check(expected, session.run(None, {"x": logits})[0])


def check(activation: str, scores: np.ndarray) -> None:
    """What is found holds of the numbers."""
    if activation.startswith("log_"):
        scores = np.exp(scores)
    if activation != "none":
        assert scores.min() >= 0
        assert scores.max() <= 1 + 1e-6
    if activation.endswith("softmax"):
        assert scores.sum(axis=1) == pytest.approx(np.ones(len(scores)), abs=0.02)
    if activation == "none":
        whole = scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3)
        assert not whole or scores.max() > 1


@pytest.mark.parametrize(
    ("transform", "kind", "expected"),
    [
        ("SOFTMAX", "LinearClassifier", "softmax"),
        ("LOGISTIC", "LinearClassifier", "sigmoid"),
        ("NONE", "LinearClassifier", "none"),
    ],
)
def test_classifiers_of_scikit_learn(
    tmp_path: Path, transform: str, kind: str, expected: str
) -> None:
    """The label comes first, then the scores; often a Normalizer behind makes shares of them."""
    helper = onnx.helper
    for shares in (False, True):
        nodes = [
            helper.make_node(
                kind,
                ["x"],
                ["label", "shares" if shares else "out"],
                domain="ai.onnx.ml",
                coefficients=[1.0, 0, 0, 0, 1, 0, 0, 0, 1],
                intercepts=[0.0, 0, 0],
                classlabels_ints=[0, 1, 2],
                multi_class=1,
                post_transform=transform,
            )
        ]
        if shares:
            nodes.append(
                helper.make_node("Normalizer", ["shares"], ["out"], domain="ai.onnx.ml", norm="L1")
            )
        outputs = [
            helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["N", 3]),
        ]
        feed = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])
        model = helper.make_model(
            helper.make_graph(nodes, "g", [feed], outputs),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        )
        model.ir_version = 8
        onnx.save(model, str(tmp_path / "net.onnx"))
        wanted = "softmax" if shares and transform != "NONE" else expected
        assert read_graph(tmp_path / "net.onnx").activations == ("none", wanted)
        logits = np.random.default_rng(3).normal(0, 4, (5, 3)).astype(np.float32)
        session = ort.InferenceSession(str(tmp_path / "net.onnx"))
        check(wanted, session.run(["out"], {"x": logits})[0])


def test_a_graph_that_leads_back_to_itself() -> None:
    makers = {
        "a": Maker("Reshape", ("b",)),
        "b": Maker("Concat", ("a", "c")),
        "c": Maker("Softmax", ("x",)),
    }
    assert activation_of("a", makers.get) == "none"
    deep = {number: Maker("Identity", (number + 1,)) for number in range(5000)}
    assert activation_of(0, deep.get) == "none"


# of `export_endings.py`
PADDLE_ENDINGS = {
    "softmax": "softmax",
    "softmax_moved": "softmax",
    "softmax_times_one": "softmax",
    "softmax_out": "softmax",
    "exp_of_log": "softmax",
    "mean_of_views": "softmax",
    "dropout": "softmax",
    "sigmoid": "sigmoid",
    "two_heads": "sigmoid",
    "rest": "sigmoid",
    "log_softmax": "log_softmax",
    "log_of_softmax": "log_softmax",
    "logits": "none",
    "twice": "none",
    "gated": "none",
    "over_batch": "none",
}


# Paddle 3.3 cannot write an exp or a sigmoid in the old format
PIR_ONLY = {"exp_of_log", "log_of_softmax", "rest", "sigmoid", "softmax_out", "two_heads"}


@pytest.mark.parametrize("graph_format", ["pir", "pdmodel"])
def test_what_a_paddle_graph_ends_in(run_paddle: Any, tmp_path: Path, graph_format: str) -> None:
    pir = graph_format == "pir"
    names = [name for name in PADDLE_ENDINGS if pir or name not in PIR_ONLY]
    run_paddle("export_endings.py", str(tmp_path), *names, pir_api=pir)
    found = {name: read_export(tmp_path / name).graph.activations[0] for name in names}
    assert found == {name: PADDLE_ENDINGS[name] for name in names}
    for name, activation in found.items():
        check(activation, np.load(tmp_path / name / "scores.npy"))
