"""Images of many sizes do not fill the memory: what a runtime keeps of each shape is bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.predictors.registry import RUNTIMES
from tests.patience import PATIENCE_S

onnx = pytest.importorskip("onnx", reason="the graph is made with onnx")

_RUN = """
import json, random, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from bundle.formats import ONNX
from pipeline.predictors.predictor import PredictorOptions
from pipeline.predictors.registry import RUNTIMES, _predictor_class

file = Path(sys.argv[2])
feed = SimpleNamespace(name="x", alias="x", dtype="float32", shape=(3, -1, -1), is_lod=False)
fetch = SimpleNamespace(name="y", alias="y", dtype="float32", shape=(-1,), is_lod=False)
config = SimpleNamespace(feeds=[feed], fetches=[fetch], answering=0)
bundle = SimpleNamespace(
    path=file.parent, model_file=file, server_dir=file.parent, params_file=None,
    model_config=config, fixed_batch=None, graph_format=ONNX,
)
predictor = _predictor_class(RUNTIMES[sys.argv[1]])(bundle, PredictorOptions())
sizes = random.Random(1)

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

predictor.predict(np.zeros((1, 3, 96, 96), np.float32))
found = [resident_mib()]
for number in range(300):
    height, width = sizes.randint(32, 96), sizes.randint(32, 96)
    predictor.predict(np.zeros((1, 3, height, width), np.float32))
    if number in (59, 299):
        found.append(resident_mib())
print(json.dumps(found))
"""


def _graph(file: Path, layers: int = 24) -> None:
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes, weights, last, inputs = [], [], "x", 3
    for layer in range(layers):
        channels = 8 + layer  # no layer is as another one, so each has a plan of its own
        shape = (channels, inputs, 3, 3)
        values = [0.01] * (channels * inputs * 9)
        weights.append(helper.make_tensor(f"w{layer}", kinds.FLOAT, shape, values))
        nodes.append(helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        last, inputs = f"r{layer}", channels
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["p"]))
    nodes.append(helper.make_node("Flatten", ["p"], ["y"]))
    image = helper.make_tensor_value_info("x", kinds.FLOAT, ["N", 3, "H", "W"])
    scores = helper.make_tensor_value_info("y", kinds.FLOAT, ["N", inputs])
    graph = helper.make_graph(nodes, "sizes", [image], [scores], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(file))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_images_of_many_sizes_leave_memory_flat(name: str, root: Path, tmp_path: Path) -> None:
    if not RUNTIMES[name].installed():
        pytest.skip(f"{name} is not installed")
    _graph(tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", _RUN, name, str(tmp_path / "model.onnx")],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, after_60, after_300 = map(float, done.stdout.strip("[]\n").split(","))
    assert after_300 < 1.15 * after_60
