"""One small network in every graph format: the mean of each colour, fully connected, softmax.

Its weights are numbers that a test computes the scores from, whatever the runtime.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bundle.formats import FLUID, ONNX, PDMODEL, PIR, GraphFormat
from tests.patience import PATIENCE_S

CLASSES, SIZE = 5, 8
_RANDOM = np.random.default_rng(7)
WEIGHT = _RANDOM.normal(size=(3, CLASSES)).astype(np.float32)
BIAS = _RANDOM.normal(size=CLASSES).astype(np.float32)

# "fixed2" takes two images a run; "ids" gives class numbers, then scores.
KINDS = ("plain", "fixed1", "fixed2", "ids", "float16")
# What this machine can make, and the packages that make it.
MAKERS = {PIR: ("paddle",), PDMODEL: ("paddle",), FLUID: ("paddle",), ONNX: ("onnx", "onnxruntime")}

_EXPORT = """
import sys
import numpy as np
import paddle
from paddle.static import InputSpec

class Net(paddle.nn.Layer):
    def __init__(self, kind, weight, bias):
        super().__init__()
        self.kind, self.dense = kind, paddle.nn.Linear(*weight.shape)
        self.dense.weight.set_value(weight)
        self.dense.bias.set_value(bias)

    def forward(self, x):
        pooled = paddle.mean(x, axis=[2, 3])
        if self.kind.startswith("fixed"):
            pooled = paddle.reshape(pooled, [int(self.kind[5:]), 3])
        scores = paddle.nn.functional.softmax(self.dense(pooled))
        if self.kind == "ids":
            # not argmax, which Paddle 3.3 cannot export without PIR
            return paddle.topk(scores, 1)[1], scores
        return paddle.cast(scores, "float16") if self.kind == "float16" else scores

weights = np.load(sys.argv[1] + "/weights.npz")
for kind in sys.argv[3:]:
    batch = int(kind[5:]) if kind.startswith("fixed") else -1
    spec = [InputSpec([batch, 3, 8, 8], "float32", name="x")]
    paddle.jit.save(Net(kind, **weights), f"{sys.argv[2]}/{kind}/inference", input_spec=spec)
"""


def expected(batch: np.ndarray) -> np.ndarray:
    """The scores of the network, float64 [N, CLASSES]."""
    logits = batch.astype(np.float64).mean(axis=(2, 3)) @ WEIGHT + BIAS
    powers = np.exp(logits)
    scores: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return scores


def make_exports(graph_format: GraphFormat, folder: Path) -> None:
    """Write folder/KIND for each kind of KINDS."""
    if graph_format is ONNX:
        for kind in KINDS:
            (folder / kind).mkdir()
            _write_onnx(folder / kind / "inference.onnx", kind)
        return
    _export_with_paddle(folder, pir=graph_format is PIR)
    if graph_format is FLUID:  # the same ProgramDesc under its older names
        for kind in KINDS:
            (folder / kind / "inference.pdmodel").rename(folder / kind / "__model__")
            (folder / kind / "inference.pdiparams").rename(folder / kind / "__params__")


def _export_with_paddle(folder: Path, *, pir: bool) -> None:
    np.savez(folder / "weights.npz", weight=WEIGHT, bias=BIAS)
    # a file: Paddle reads the source of what it exports
    (folder / "export.py").write_text(_EXPORT, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-W", "ignore", "export.py", ".", ".", *KINDS],
        cwd=folder,
        env={**os.environ, "FLAGS_enable_pir_api": str(int(pir))},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE_S,
    )


def _write_onnx(file: Path, kind: str) -> None:
    import onnx

    helper, types = onnx.helper, onnx.TensorProto
    batch = int(kind[5:]) if kind.startswith("fixed") else "N"
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["means", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    outputs = [helper.make_tensor_value_info("scores", types.FLOAT, [batch, CLASSES])]
    if kind == "ids":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["ids"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("ids", types.INT64, [batch]))
    if kind == "float16":
        nodes.append(helper.make_node("Cast", ["scores"], ["halves"], to=types.FLOAT16))
        outputs = [helper.make_tensor_value_info("halves", types.FLOAT16, [batch, CLASSES])]
    feed = helper.make_tensor_value_info("x", types.FLOAT, [batch, 3, SIZE, SIZE])
    stored = [
        onnx.numpy_helper.from_array(value, name)
        for name, value in (("weight", WEIGHT), ("bias", BIAS))
    ]
    graph = helper.make_graph(nodes, "tiny", [feed], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(file))


def copy_of(bundle: Path, target: Path) -> Path:
    """A copy of a bundle that may be damaged; its record is left out."""
    shutil.copytree(bundle, target)
    (target / "bundle.yml").unlink()
    return target


def images(count: int, seed: int = 3) -> np.ndarray:
    """Prepared images, float32 [count, 3, SIZE, SIZE]."""
    batch: Any = np.random.default_rng(seed).standard_normal((count, 3, SIZE, SIZE))
    prepared: np.ndarray = batch.astype(np.float32)
    return prepared
