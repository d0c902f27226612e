"""What is Paddle's own; test_contract.py has what every runtime does.

In a process of its own as in service: Paddle may crash, and it prints.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from tests.patience import PATIENCE_S
from tests.python_process import answer_of

pytest.importorskip("paddle", reason="needs the extra cpu or gpu")

PREDICT = """
import json, sys
from pathlib import Path
import numpy as np
from bundle import BundleError, load_bundle
from pipeline.predictors import PredictorError, PredictorOptions, create_predictor

folder, options, shapes = json.loads(sys.argv[1])
try:
    predictor = create_predictor(load_bundle(Path(folder)), "paddle", PredictorOptions(**options))
    rows = []
    for shape in shapes:
        batch = np.random.default_rng(3).standard_normal((8, *shape[1:])).astype("float32")
        rows.append(predictor.predict(batch[: shape[0]]).tolist())
    print(json.dumps({"rows": rows, "name": predictor.name}))
except (BundleError, PredictorError) as error:
    print(json.dumps({"error": str(error), "kind": type(error).__name__}))
"""


def predict(root: Path, bundle: Path, shapes: list[list[int]], **options: Any) -> dict[str, Any]:
    return answer_of(root, PREDICT, json.dumps([str(bundle), options, shapes]))


@pytest.fixture
def waste(root: Path, tmp_path: Path) -> Path:
    """A copy of the embedded bundle that may be damaged; its record is left out."""
    shutil.copytree(root / "serving_model" / "waste", tmp_path / "waste")
    (tmp_path / "waste" / "bundle.yml").unlink()
    return tmp_path / "waste"


def assert_one_line(answer: dict[str, Any], text: str) -> None:
    assert text in answer["error"]
    assert "\n" not in answer["error"]
    assert len(answer["error"]) < 600


def test_parameters_of_another_model(root: Path, waste: Path, shared: Path) -> None:
    foreign = shared / "models" / "PP-LCNet_x1_0_doc_ori" / "inference.pdiparams"
    shutil.copy(foreign, waste / "serving_server" / "inference.pdiparams")
    assert_one_line(predict(root, waste, []), "are graph and parameters from the same export?")


def test_a_graph_that_is_none(root: Path, waste: Path) -> None:
    graph = waste / "serving_server" / "inference.json"
    graph.write_bytes(graph.read_bytes()[:1000])
    assert_one_line(predict(root, waste, []), "inference.json")


@pytest.mark.slow
def test_a_build_for_the_cpu_says_so(root: Path) -> None:
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle is built for GPUs; tests/e2e/test_gpu.py has its cases")
    waste = root / "serving_model" / "waste"
    assert_one_line(predict(root, waste, [], device="gpu"), "this Paddle is built for the CPU")


DESCRIPTION = "- ResizeImage: {size: 8}\n- NormalizeImage: {order: ''}\n- ToCHWImage:\n"
EXPORT = """
import sys, paddle

class Net(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.dense = paddle.nn.Linear(3, 3)  # without any parameters Paddle writes no file of them

    def forward(self, x):
        # as ConvNeXt does it, between its stages
        mean = paddle.mean(x, axis=1, keepdim=True)
        spread = paddle.mean((x - mean).pow(2), axis=1, keepdim=True)
        x = (x - mean) / paddle.sqrt(spread + 1e-6)
        return paddle.nn.functional.softmax(self.dense(paddle.mean(x, axis=[2, 3])))

spec = [paddle.static.InputSpec([-1, 3, 8, 8], "float32", name="x")]
paddle.jit.save(Net(), f"{sys.argv[1]}/inference", input_spec=spec)
"""


@pytest.mark.slow
def test_onednn_overwrites_no_value_that_is_still_needed(root: Path, tmp_path: Path) -> None:
    """Paddle 3.3 with oneDNN does, unless a pass is deleted; it also prints, which is hidden."""
    # a file: Paddle reads the source of what it exports
    (tmp_path / "export.py").write_text(EXPORT, encoding="utf-8")
    export = [sys.executable, "-W", "ignore", str(tmp_path / "export.py"), str(tmp_path / "export")]
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
    (tmp_path / "ops.yml").write_text(DESCRIPTION)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    overrides = Overrides(tmp_path / "labels.txt", str(tmp_path / "ops.yml"))
    convert(ConvertOptions(tmp_path / "export", tmp_path / "net", overrides))
    plain, fast = (
        predict(root, tmp_path / "net", [[5, 3, 8, 8]], onednn=onednn)["rows"][0]
        for onednn in (False, True)
    )
    for row, expected in zip(fast, plain, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)
